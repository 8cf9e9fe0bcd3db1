//! What operators and their machines ask: is it alive, is it ready, how is it doing.
//!
//! `/metrics` is only on the operators' listener. `/healthz` and `/readyz` are on both, because a
//! load balancer sees only the webhook's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{self, Api};
use super::console::{self, Console};
use super::error::{Allowed, HttpError, json};
use crate::ingest::Ingest;

/// How long an answer of the database stands, so that a flood of `/readyz` is no flood of queries.
pub const READINESS_MILLISECONDS: u64 = 1000;

/// The routes of the operators' listener.
pub fn router(
    prometheus_handle: PrometheusHandle,
    ingest: Ingest,
    api: Api,
    console: Console,
) -> Router {
    let metrics = get(move || async move { metrics(&prometheus_handle) }).fallback(get_only);
    Router::new()
        .route("/metrics", metrics)
        .merge(health(ingest))
        .merge(api::router(api))
        .merge(console::router(console))
        .fallback(nothing_here)
}

/// The routes of both listeners.
pub(super) fn health(ingest: Ingest) -> Router {
    let readiness = Arc::new(Readiness { ingest, database: Mutex::new(None) });
    Router::new()
        .route("/healthz", get(alive).fallback(get_only))
        .route("/readyz", get(ready).fallback(get_only))
        .with_state(readiness)
}

async fn nothing_here() -> HttpError {
    HttpError::NotFound
}

async fn get_only() -> HttpError {
    HttpError::MethodNotAllowed(Allowed::Get)
}

fn metrics(handle: &PrometheusHandle) -> Response {
    let mut response = Response::new(Body::from(handle.render()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn alive() -> Response {
    json(StatusCode::OK, r#"{"alive":true}"#)
}

struct Readiness {
    ingest: Ingest,
    /// What the database last did, and when. The lock is held while it is asked: one question at
    /// a time is enough for everybody.
    database: Mutex<Option<(Instant, bool)>>,
}

impl Readiness {
    async fn database_answers(&self) -> bool {
        let mut last = self.database.lock().await;
        if let Some((at, answers)) = *last
            && at.elapsed() < Duration::from_millis(READINESS_MILLISECONDS)
        {
            return answers;
        }
        let answers = self.ingest.database_answers().await;
        *last = Some((Instant::now(), answers));
        answers
    }
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let queue_is_full = readiness.ingest.queue_is_full();
    let database_answers = readiness.database_answers().await;
    match (database_answers, queue_is_full) {
        (true, false) => {
            json(StatusCode::OK, r#"{"ready":true,"database":"answers","queue":"open"}"#)
        }
        (true, true) => not_ready(r#"{"ready":false,"database":"answers","queue":"full"}"#),
        (false, false) => not_ready(r#"{"ready":false,"database":"away","queue":"open"}"#),
        (false, true) => not_ready(r#"{"ready":false,"database":"away","queue":"full"}"#),
    }
}

fn not_ready(text: &'static str) -> Response {
    json(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
