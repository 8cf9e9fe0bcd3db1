//! The HTTP client of all channels: one POST, bounded in time and size, that follows nothing and goes
//! through nobody. Which answer means what is decided here, once.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use tokio::time::timeout;

use super::Outcome;
use super::guard::{Forbidden, Guard, Lookup};

/// The most of an answer that is read, and thrown away: only its status counts.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an answer's body is waited for. It is read only so that the connection can be used again.
pub const ANSWER_MILLISECONDS_MAX: u64 = 500;
/// Idle connections that are kept for the next call.
const IDLE_CONNECTIONS_MAX: usize = 64;
const IDLE_SECONDS_MAX: u64 = 30;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made; are there certificate authorities on this machine?")]
pub struct ClientError;

/// Makes calls.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
}

impl Client {
    /// A client that reaches private addresses only where that is asked for.
    ///
    /// # Errors
    /// [`ClientError`] if the machine has no certificate authorities to trust.
    pub fn new(allow_private: bool, lookup: Lookup) -> Result<Self, ClientError> {
        super::install_tls();
        let guard = Guard::new(allow_private, lookup);
        let http = reqwest::Client::builder()
            .user_agent(concat!("paidup/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(guard.clone())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS_MAX))
            .build()
            .map_err(|_| ClientError)?;
        Ok(Self { http, guard })
    }

    /// Sends a body. The caller bounds the time of it all.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Vec<u8>) -> Outcome {
        if let Err(forbidden) = self.guard.check(url) {
            return Outcome::failed(forbidden.to_string());
        }
        match self.http.post(url.clone()).headers(headers).body(body).send().await {
            Ok(response) => {
                let outcome = judged(&response);
                drain(response).await;
                outcome
            }
            Err(error) => Outcome::failed(told(&error)),
        }
    }
}

fn judged(response: &Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome::Sent;
    }
    let why = if status.is_redirection() {
        format!(
            "answered {}, and redirects are not followed; write the new address",
            status.as_u16()
        )
    } else {
        format!("answered {}", status.as_u16())
    };
    match status {
        StatusCode::GONE => Outcome::Gone(why),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Outcome::Failed {
                why,
                asked_seconds: asked.and_then(asked_seconds),
                is_its_fault: true,
            }
        }
        _ => Outcome::failed(why),
    }
}

/// `Retry-After` in seconds, or as a date.
fn asked_seconds(text: &str) -> Option<u32> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(seconds);
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    let seconds = at.as_second().saturating_sub(jiff::Timestamp::now().as_second());
    Some(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX))
}

/// Reads what is left of a short answer. A long or slow one costs its connection, and nothing else.
async fn drain(mut response: Response) {
    let limit = Duration::from_millis(ANSWER_MILLISECONDS_MAX);
    let _ = timeout(limit, async {
        let mut bytes = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes += chunk.len();
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
        }
    })
    .await;
}

/// Why a call failed, without its URL.
fn told(error: &reqwest::Error) -> String {
    if let Some(tls) = super::tls_failure(error) {
        return format!("TLS failed: {tls}");
    }
    let mut cause = error.source();
    while let Some(this) = cause {
        if let Some(forbidden) = this.downcast_ref::<Forbidden>() {
            return forbidden.to_string();
        }
        if let Some(io) = this.downcast_ref::<std::io::Error>()
            && io.raw_os_error().is_some()
        {
            return format!("cannot be reached: {}", io.kind());
        }
        cause = this.source();
    }
    let what = if error.is_connect() { "cannot be reached" } else { "the connection broke" };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(asked_seconds(" 120 "), Some(120));
        assert_eq!(asked_seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0));
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3600);
        let soon = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&soon);
        let seconds = asked_seconds(&soon.expect("a date")).expect("seconds");
        assert!((3590..=3600).contains(&seconds), "{seconds}");
        assert_eq!(asked_seconds("soon"), None);
    }
}
