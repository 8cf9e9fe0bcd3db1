//! Every answer that is not a success, and the one place where it becomes HTTP.
//!
//! All of them are JSON of one shape, `{"error":"<code>","message":"<sentence>"}`, and constant:
//! nothing of the request, the secrets or the database can leak through them. What is worth
//! knowing about a refusal goes to the metrics, by [`HttpError::reason`], and to the log, where a
//! [`Sampler`] keeps a flood of bad calls from becoming a flood of lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use metrics::counter;

use crate::domain::event::NotAnEvent;
use crate::domain::signature::Rejected;
use crate::ingest::Unavailable;

/// What `Retry-After` says with a 503.
pub const RETRY_AFTER_SECONDS: u32 = 5;
/// How many warnings about refused requests are logged per second; the rest are counted.
pub const WARNINGS_PER_SECOND_MAX: u64 = 10;
const RETRY_AFTER_VALUE: HeaderValue = HeaderValue::from_static("5");

/// Every reason of `paidup_refusals_total`. A counter that first appears with its first refusal shows no
/// increase to Prometheus, so an alarm would miss that one: all of them exist from the start.
pub const REASONS: [&str; 34] = [
    // The signature, and the event.
    "missing",
    "too_large",
    "malformed",
    "no_match",
    "too_old",
    "too_new",
    "not_json",
    "no_id_or_type",
    // The writer.
    "queue_full",
    "database",
    "timed_out",
    "event_refused",
    "order_held",
    "shutting_down",
    // The request.
    "length_required",
    "body_too_large",
    "body_too_slow",
    "body_broken",
    "bodies_too_many",
    "method_not_allowed",
    "not_found",
    "panicked",
    // The connection.
    "head_malformed",
    "head_too_large",
    "head_too_slow",
    "reader_too_slow",
    "connections_too_many",
    // The operators' listener.
    "token_missing",
    "token_wrong",
    "tokens_too_many",
    "login_refused",
    "logins_too_many",
    "host_unknown",
    "form_foreign",
];

/// Makes the counters of all refusals, at 0. Call this after the metrics recorder is installed.
pub(super) fn register_refusals() {
    for reason in REASONS {
        counter!("paidup_refusals_total", "reason" => reason).increment(0);
    }
}

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The call is not proven to be Stripe's. The caller is not told which proof failed.
    #[error("the call is not proven to be Stripe's: {0}")]
    InvalidSignature(#[from] Rejected),
    /// Stripe signed it, but it is no event.
    #[error("the call is signed, but it is not a Stripe event: {0}")]
    NotAnEvent(#[from] NotAnEvent),
    /// The event could not be recorded now. Stripe sends it again.
    #[error("the event could not be recorded: {0}")]
    Unavailable(#[from] Unavailable),
    /// A head that does not say in one way where its body ends: a POST with neither `Content-Length`
    /// nor chunks, both of them, or another coding.
    #[error("the request does not say in one way how long its body is")]
    LengthRequired,
    /// A body longer than we take. It was not read.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body did not come in time.
    #[error("the body did not come in time")]
    BodyTooSlow,
    /// The connection ended within the body, and this answer reaches nobody; or its chunks are none.
    #[error("the body broke off, or its chunks are malformed")]
    BodyBroken,
    /// Large bodies on their way hold all the memory that is set aside for them, and this one came last or was the
    /// slowest.
    #[error("too many large bodies are on their way")]
    BodiesTooMany,
    /// The path is right, the method is not.
    #[error("the method is not allowed here; it is {0}")]
    MethodNotAllowed(Allowed),
    /// There is nothing at this path.
    #[error("there is nothing at this path")]
    NotFound,
    /// A handler panicked: a bug of ours.
    #[error("the handler panicked")]
    Panicked,
}

/// The methods that a path has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Only `POST`: the webhook.
    Post,
    /// Only `GET` (and `HEAD`): health and metrics.
    Get,
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Post => "POST",
            Self::Get => "GET,HEAD",
        })
    }
}

/// The text of an answer. It is made by the compiler, so that an answer costs no formatting.
macro_rules! text {
    ($code:literal, $message:literal) => {
        concat!(r#"{"error":""#, $code, r#"","message":""#, $message, r#""}"#)
    };
}

impl HttpError {
    /// A word for `paidup_refusals_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidSignature(rejected) => rejected.reason(),
            Self::NotAnEvent(reason) => reason.reason(),
            Self::Unavailable(reason) => reason.reason(),
            Self::LengthRequired => "length_required",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::BodiesTooMany => "bodies_too_many",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NotFound => "not_found",
            Self::Panicked => "panicked",
        }
    }

    /// The status and the text that the caller sees.
    fn told(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidSignature(_) => (
                StatusCode::BAD_REQUEST,
                text!(
                    "invalid_signature",
                    "The Stripe-Signature header does not prove that Stripe sent this body to this endpoint."
                ),
            ),
            Self::NotAnEvent(_) => (
                StatusCode::BAD_REQUEST,
                text!(
                    "not_an_event",
                    "The body is signed, but it is not a Stripe event: JSON with an id and a type."
                ),
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                text!("unavailable", "The event could not be recorded now. Send it again later."),
            ),
            Self::BodiesTooMany => (
                StatusCode::SERVICE_UNAVAILABLE,
                text!(
                    "unavailable",
                    "Too many large bodies are on their way. Send it again later."
                ),
            ),
            Self::LengthRequired => (
                StatusCode::LENGTH_REQUIRED,
                text!(
                    "length_required",
                    "Send the length of the body in Content-Length, or else the body in chunks."
                ),
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                text!("body_too_large", "The body is larger than any Stripe event."),
            ),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                text!("body_too_slow", "The body did not come in time."),
            ),
            Self::BodyBroken => (
                StatusCode::BAD_REQUEST,
                text!("body_broken", "The body broke off, or its chunks are malformed."),
            ),
            Self::MethodNotAllowed(Allowed::Post) => (
                StatusCode::METHOD_NOT_ALLOWED,
                text!(
                    "method_not_allowed",
                    "This is the webhook: Stripe must POST its events here."
                ),
            ),
            Self::MethodNotAllowed(Allowed::Get) => (
                StatusCode::METHOD_NOT_ALLOWED,
                text!("method_not_allowed", "This can only be read, with GET."),
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                text!("not_found", "There is nothing here. The webhook is at /webhook/stripe."),
            ),
            Self::Panicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                text!("internal", "This is a bug in paidup. Its log says more."),
            ),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let (status, text) = self.told();
        let mut response = json(status, text);
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_VALUE);
        }
        if let Self::MethodNotAllowed(allowed) = self {
            headers.insert(
                ALLOW,
                match allowed {
                    Allowed::Post => HeaderValue::from_static("POST"),
                    Allowed::Get => HeaderValue::from_static("GET,HEAD"),
                },
            );
        }
        response
    }
}

/// An answer of constant JSON.
pub(super) fn json(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Lets a few lines through each second, so that a flood of bad calls is no flood of log.
#[derive(Debug)]
pub(crate) struct Sampler {
    started: Instant,
    /// The second in the upper half, how many passed in it in the lower one.
    window: AtomicU64,
    suppressed: AtomicU64,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), window: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether to log now; if so, how many lines were suppressed since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_in(self.started.elapsed().as_secs() & 0xffff_ffff)
    }

    fn admit_in(&self, second: u64) -> Option<u64> {
        let next = |window: u64| match window >> 32 == second {
            true if (window & 0xffff_ffff) >= WARNINGS_PER_SECOND_MAX => None,
            true => Some(window + 1),
            false => Some(second << 32 | 1),
        };
        match self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Some(self.suppressed.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_json_of_one_shape_and_tells_no_reason() {
        let errors = [
            HttpError::InvalidSignature(Rejected::NoMatch),
            HttpError::Unavailable(Unavailable::QueueFull),
            HttpError::LengthRequired,
            HttpError::BodyTooLarge,
            HttpError::BodyTooSlow,
            HttpError::BodyBroken,
            HttpError::BodiesTooMany,
            HttpError::MethodNotAllowed(Allowed::Post),
            HttpError::MethodNotAllowed(Allowed::Get),
            HttpError::NotFound,
            HttpError::Panicked,
        ];
        for error in errors {
            let (status, text) = error.told();
            assert!(status.is_client_error() || status.is_server_error(), "{error}");
            let value: serde_json::Value = serde_json::from_str(text).expect(text);
            let object = value.as_object().expect(text);
            assert_eq!(object.len(), 2, "{text}");
            assert!(object["error"].is_string() && object["message"].is_string(), "{text}");
        }
    }

    #[test]
    fn every_reason_is_counted_from_the_start() {
        let signature = [
            Rejected::Missing,
            Rejected::TooLarge,
            Rejected::Malformed,
            Rejected::NoMatch,
            Rejected::TooOld,
            Rejected::TooNew,
        ];
        let writer = [
            Unavailable::QueueFull,
            Unavailable::Database,
            Unavailable::TimedOut,
            Unavailable::Refused,
            Unavailable::OrderHeld,
            Unavailable::ShuttingDown,
        ];
        let request = [
            HttpError::NotAnEvent(NotAnEvent::NotJson),
            HttpError::NotAnEvent(NotAnEvent::NoIdOrType),
            HttpError::LengthRequired,
            HttpError::BodyTooLarge,
            HttpError::BodyTooSlow,
            HttpError::BodyBroken,
            HttpError::BodiesTooMany,
            HttpError::MethodNotAllowed(Allowed::Get),
            HttpError::NotFound,
            HttpError::Panicked,
        ];
        let errors = signature.map(HttpError::from).into_iter();
        let errors = errors.chain(writer.map(HttpError::from)).chain(request);
        for error in errors {
            assert!(REASONS.contains(&error.reason()), "{}", error.reason());
        }
        let mut once = REASONS.to_vec();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), REASONS.len());
    }

    #[test]
    fn all_refused_signatures_look_the_same() {
        let all = [
            Rejected::Missing,
            Rejected::TooLarge,
            Rejected::Malformed,
            Rejected::NoMatch,
            Rejected::TooOld,
            Rejected::TooNew,
        ];
        let told = all.map(|rejected| HttpError::from(rejected).told());
        assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    }

    #[test]
    fn a_503_says_when_to_come_back() {
        assert_eq!(RETRY_AFTER_VALUE, RETRY_AFTER_SECONDS.to_string());
        let response = HttpError::from(Unavailable::Database).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "5");
    }

    #[test]
    fn a_flood_of_warnings_is_counted_instead_of_logged() {
        let sampler = Sampler::new();
        let admitted = (0..1000).filter_map(|_| sampler.admit_in(3)).count();
        assert_eq!(admitted as u64, WARNINGS_PER_SECOND_MAX);
        assert_eq!(sampler.admit_in(4), Some(1000 - WARNINGS_PER_SECOND_MAX));
        assert_eq!(sampler.admit_in(4), Some(0));
    }
}
