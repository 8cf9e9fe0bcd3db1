//! Signed calls after the Standard Webhooks specification (standardwebhooks.com): three headers, of
//! which the signature covers the other two and the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use super::Outcome;
use super::client::Client;
use super::message::Message;
use super::settings::Webhook;

/// The shortest key, as the specification has it.
pub const KEY_BYTES_MIN: usize = 24;
/// The longest.
pub const KEY_BYTES_MAX: usize = 64;

const PREFIX: &str = "whsec_";
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A key to sign with.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// Takes `whsec_` and base64. `None` if it is something else, or too short or long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return None;
        }
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that a receiver that knows any of
/// them is content.
#[must_use]
pub fn signatures(secrets: &[WebhookSecret], id: &str, timestamp: &str, body: &[u8]) -> String {
    let all: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    all.join(" ")
}

/// Tells it. `now` is in milliseconds.
pub async fn send(client: &Client, webhook: &Webhook, message: &Message, now: i64) -> Outcome {
    let body = message.body();
    let timestamp = (now / 1000).to_string();
    let signature = signatures(&webhook.secrets, &message.id, &timestamp, &body);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [(ID, &message.id), (TIMESTAMP, &timestamp), (SIGNATURE, &signature)] {
        let Ok(value) = HeaderValue::from_str(value) else {
            return Outcome::Refused("its headers cannot be written".to_owned());
        };
        headers.insert(name, value);
    }
    client.post(&webhook.url.url, headers, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn it_signs_as_the_published_example() {
        let secret = WebhookSecret::new(KEY).expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let signature = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_long_keys_in_base64_are_secrets() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_one) in [
            (of(24), true),
            (of(64), true),
            (of(23), false),
            (of(65), false),
            (of(32).replace("whsec_", ""), false),
            ("whsec_hunter2!".to_owned(), false),
            ("whsec_".to_owned(), false),
        ] {
            assert_eq!(WebhookSecret::new(&text).is_some(), is_one, "{text}");
        }
        let shown = format!("{:?}", WebhookSecret::new(KEY));
        assert!(!shown.contains("MfKQ"), "{shown}");
    }
}
