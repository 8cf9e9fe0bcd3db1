//! The API's refusals, as RFC 9457 writes them: `application/problem+json`, in one place.
//!
//! The texts are constant: nothing of the request or the database is repeated in them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::attempts::ATTEMPTS_SECONDS;
use super::error::RETRY_AFTER_SECONDS;
use super::token::Stranger;
use crate::store::StoreError;

/// A refusal, as RFC 9457 writes it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemView {
    /// `urn:paidup:problem:…`, of which the last word tells what it is.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// A sentence for people.
    detail: &'static str,
}

/// Why the API does not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not let in.
    Stranger(Stranger),
    /// The question cannot be understood, for this reason.
    Malformed(&'static str),
    /// There is no such thing.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// An attempt to send the notification runs.
    BeingSent,
    /// All places are taken; come again.
    Busy,
    /// The database does not answer.
    Database,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Held | StoreError::Conflict => Self::Busy,
            _ => Self::Database,
        }
    }
}

impl Problem {
    /// The status, a word for the `type`, and a sentence.
    fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Stranger(Stranger::Unknown) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Send the admin token as Authorization: Bearer.",
            ),
            Self::Stranger(Stranger::TooMany) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "That is not the admin token, and too many wrong ones came from this address. Try again in a minute.",
            ),
            Self::Malformed(why) => (StatusCode::BAD_REQUEST, "malformed", why),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path has no such method.",
            ),
            Self::BeingSent => (
                StatusCode::CONFLICT,
                "being_sent",
                "The notification is being sent right now. Look again in half a minute.",
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Come again in a moment."),
            Self::Database => (
                StatusCode::SERVICE_UNAVAILABLE,
                "database",
                "The database does not answer. Come again in a moment.",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, word, detail) = self.told();
        let title = status.canonical_reason().unwrap_or_default();
        let kind = format!("urn:paidup:problem:{word}");
        let body = ProblemView { kind, title, status: status.as_u16(), detail };
        let mut response =
            Response::new(Body::from(serde_json::to_string(&body).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(ATTEMPTS_SECONDS));
            }
            _ => {}
        }
        response
    }
}
