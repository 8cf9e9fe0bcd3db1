//! Asks Stripe's API: lists, a page at a time, patient with it, and with our key.
//!
//! Only reads, and only what a restricted key allows. A page is taken as it is: each element keeps its
//! bytes, so that an event goes the way of a webhook's body. No `Stripe-Version` is sent: events in a
//! list are rendered with the version that they were made with, as their webhooks are.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Where Stripe's API is, unless `STRIPE_API_BASE` says otherwise.
pub const STRIPE_API_BASE_DEFAULT: &str = "https://api.stripe.com";
/// The most elements of a page, which is Stripe's limit too.
pub const PAGE_ELEMENTS_MAX: usize = 100;
/// The largest page that is read.
pub const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a page is asked for before it is given up.
pub const ATTEMPTS_MAX: u32 = 6;
/// The longest pause that `Retry-After` may ask for.
pub const RETRY_AFTER_SECONDS_MAX: u64 = 60;
/// The longest that Stripe may be silent.
pub const SILENCE_SECONDS_MAX: u64 = 30;
const PAUSE_MILLISECONDS: u64 = 500;

/// A key of the API, never shown.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a secret (`sk_…`) or a restricted (`rk_…`) key; `None` if it is neither.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_key = ["sk_", "rk_"].iter().any(|begin| text.starts_with(begin))
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_key.then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Where Stripe's API is. Over TLS, or on this machine: what it answers is taken as proven, and it
/// gets the key.
#[derive(Debug, Clone)]
pub struct ApiBase(Url);

impl ApiBase {
    /// Reads an address; `None` if it is none, or if it is neither https nor of this machine.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok()?;
        let is_here = ["127.0.0.1", "[::1]", "localhost"].contains(&url.host_str()?);
        (url.scheme() == "https" || (url.scheme() == "http" && is_here)).then_some(Self(url))
    }
}

/// Why Stripe did not answer as it should. Nothing of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no client.
    #[error("no HTTPS client can be made; are there certificate authorities on this machine?")]
    NoClient,
    /// 401.
    #[error("Stripe does not know the key in STRIPE_API_KEY")]
    KeyUnknown,
    /// 403.
    #[error(
        "the key in STRIPE_API_KEY may not read this; a restricted key needs read access to Events, \
         and for `paidup doctor` to Webhook Endpoints"
    )]
    KeyForbidden,
    /// Any other refusal.
    #[error("Stripe answered {0}")]
    Answered(u16),
    /// Still away, or too busy, after all attempts.
    #[error("Stripe could not be reached, or was too busy, {ATTEMPTS_MAX} times in a row")]
    Away,
    /// Not a list of what was asked for.
    #[error("Stripe answered with something that is no list of the kind that was asked for")]
    Malformed,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The elements, byte for byte.
    pub elements: Vec<Bytes>,
    /// Whether there are more after these.
    pub has_more: bool,
}

#[derive(Deserialize)]
struct RawPage<'a> {
    object: &'a str,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    has_more: bool,
}

/// Asks Stripe's API.
#[derive(Debug, Clone)]
pub struct StripeApi {
    http: Client,
    base: Url,
}

enum Attempt {
    Done(Bytes),
    Again(Option<u64>),
}

impl StripeApi {
    /// A client for this key. It costs memory, so it is made where it is used.
    ///
    /// # Errors
    /// [`ApiError::NoClient`].
    pub fn new(base: &ApiBase, key: &ApiKey) -> Result<Self, ApiError> {
        // Whoever comes second finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bearer = HeaderValue::try_from(format!("Bearer {}", key.0));
        let mut bearer = bearer.map_err(|_| ApiError::NoClient)?;
        bearer.set_sensitive(true);
        let silence = Duration::from_secs(SILENCE_SECONDS_MAX);
        let http = Client::builder()
            .user_agent(concat!("paidup/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(silence)
            .read_timeout(silence)
            .build()
            .map_err(|_| ApiError::NoClient)?;
        Ok(Self { http, base: base.0.clone() })
    }

    /// A page of the list at this path.
    ///
    /// # Errors
    /// [`ApiError`]; for what may pass, only after [`ATTEMPTS_MAX`] attempts.
    pub async fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Page, ApiError> {
        let mut url = self.base.join(path).map_err(|_| ApiError::Malformed)?;
        url.query_pairs_mut().extend_pairs(query);
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(&url).await? {
                Attempt::Done(body) => return page(&body),
                Attempt::Again(_) if attempt == ATTEMPTS_MAX => {}
                Attempt::Again(asked) => tokio::time::sleep(pause(attempt, asked)).await,
            }
        }
        Err(ApiError::Away)
    }

    async fn attempt(&self, url: &Url) -> Result<Attempt, ApiError> {
        let Ok(response) = self.http.get(url.clone()).send().await else {
            return Ok(Attempt::Again(None));
        };
        let status = response.status();
        match status {
            StatusCode::OK => Ok(match read(response).await? {
                Some(body) => Attempt::Done(body),
                None => Attempt::Again(None),
            }),
            StatusCode::UNAUTHORIZED => Err(ApiError::KeyUnknown),
            StatusCode::FORBIDDEN => Err(ApiError::KeyForbidden),
            // 409 is a conflict with another call of the same key, which Stripe asks to repeat.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT => {
                Ok(Attempt::Again(asked_seconds(response.headers())))
            }
            _ if status.is_server_error() => Ok(Attempt::Again(asked_seconds(response.headers()))),
            _ => Err(ApiError::Answered(status.as_u16())),
        }
    }
}

/// The body; `None` if the connection broke within it.
async fn read(mut response: Response) -> Result<Option<Bytes>, ApiError> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= PAGE_BYTES_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(ApiError::Malformed),
            Ok(None) => return Ok(Some(body.freeze())),
            Err(_) => return Ok(None),
        }
    }
}

fn page(body: &Bytes) -> Result<Page, ApiError> {
    let raw: RawPage<'_> = serde_json::from_slice(body).map_err(|_| ApiError::Malformed)?;
    // A page that is empty and goes on would be asked for without an end.
    if raw.object != "list" || (raw.data.is_empty() && raw.has_more) {
        return Err(ApiError::Malformed);
    }
    let elements = raw.data.iter().map(|raw| body.slice_ref(raw.get().as_bytes())).collect();
    Ok(Page { elements, has_more: raw.has_more })
}

fn asked_seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// How long to wait after so many attempts: as long as was asked for, else longer each time. A part
/// of a second more or less keeps several processes from coming back at once.
fn pause(attempt: u32, asked_seconds: Option<u64>) -> Duration {
    let least = match asked_seconds {
        Some(seconds) => Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)),
        None => Duration::from_millis(PAUSE_MILLISECONDS << attempt.min(ATTEMPTS_MAX)),
    };
    if least.is_zero() {
        return least;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    least + Duration::from_millis(u64::from(now.subsec_millis()) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_was_asked_for_or_longer_each_time() {
        let quarter = Duration::from_millis(250);
        for (attempt, asked, least_milliseconds) in [
            (1, None, 1000),
            (2, None, 2000),
            (5, None, 16_000),
            (1, Some(7), 7000),
            (5, Some(1), 1000),
            (1, Some(3600), 60_000),
        ] {
            let (paused, least) =
                (pause(attempt, asked), Duration::from_millis(least_milliseconds));
            assert!(paused >= least && paused < least + quarter, "{attempt} {asked:?}: {paused:?}");
        }
        assert_eq!(pause(1, Some(0)), Duration::ZERO);
    }

    #[test]
    fn the_key_goes_only_over_tls_or_to_this_machine() {
        for (base, is_taken) in [
            ("https://api.stripe.com", true),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://localhost:9/", true),
            ("http://api.stripe.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://localhost@example.com", false),
            ("ftp://127.0.0.1", false),
            ("api.stripe.com", false),
            ("", false),
        ] {
            assert_eq!(ApiBase::new(base).is_some(), is_taken, "{base}");
        }
    }

    #[test]
    fn a_key_is_a_secret_or_a_restricted_one_and_is_not_shown() {
        for (key, is_taken) in [
            (" rk_test_hunter2 ", true),
            ("sk_live_hunter2", true),
            ("whsec_hunter2", false),
            ("pk_live_hunter2", false),
            ("rk_test hunter2", false),
            ("", false),
        ] {
            let taken = ApiKey::new(key);
            assert_eq!(taken.is_some(), is_taken, "{key}");
            assert!(!format!("{taken:?}").contains("hunter2"));
        }
    }
}
