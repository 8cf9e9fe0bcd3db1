//! `/api/v1`: orders, events and notifications as JSON, on the operators' listener, for whoever has the
//! token.
//!
//! Here are the routes and what they share; [`orders`], [`events`], [`notifications`] and [`stream`] answer.
//! Reading and writing go by way of [`super::readers`], never by the writer's session.

pub mod events;
pub mod notifications;
pub mod orders;
pub mod stream;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Peer;
use super::audit;
use super::changes::Changes;
use super::nul;
use super::openapi;
use super::problem::Problem;
use super::readers::Readers;
use super::token::{Doorkeeper, Stranger};
use crate::ingest::Ingest;
use crate::store::reads::{Cursor, PAGE_ROWS_MAX};
use crate::store::transaction::Rules;

/// Where it is.
const PATH: &str = "/api/v1";
const PAGE_ROWS_DEFAULT: i64 = 100;

/// What the routes share.
#[derive(Clone)]
pub struct Api {
    readers: Readers,
    rules: Arc<Rules>,
    door: Doorkeeper,
    ingest: Ingest,
    changes: Changes,
    waiters: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
    now: fn() -> i64,
}

impl Api {
    /// `stop` ends waiting and streams; `now` is the time in milliseconds.
    #[must_use]
    pub fn new(
        readers: Readers,
        rules: Rules,
        door: Doorkeeper,
        ingest: Ingest,
        changes: Changes,
        stop: CancellationToken,
        now: fn() -> i64,
    ) -> Self {
        let waiters = Arc::new(Semaphore::new(orders::WAITERS_MAX));
        let streams = Arc::new(Semaphore::new(stream::STREAMS_MAX));
        let rules = Arc::new(rules);
        Self { readers, rules, door, ingest, changes, waiters, streams, stop, now }
    }
}

/// The routes, all of them behind the token.
pub fn router(api: Api) -> Router {
    let door = api.door.clone();
    let routes = Router::new()
        .route("/orders", get(orders::list_orders).fallback(no_such_method))
        .route(
            "/orders/{id}",
            get(orders::get_order).put(orders::put_order).fallback(no_such_method),
        )
        .route("/orders/{id}/history", get(orders::get_history).fallback(no_such_method))
        .route("/events", get(events::list_events).fallback(no_such_method))
        .route("/events/{id}", get(events::get_event).fallback(no_such_method))
        .route("/events/{id}/replay", post(events::replay_event).fallback(no_such_method))
        .route("/notifications", get(notifications::list_notifications).fallback(no_such_method))
        .route(
            "/notifications/{id}/retry",
            post(notifications::retry_notification).fallback(no_such_method),
        )
        .route("/stream", get(stream::stream_changes).fallback(no_such_method))
        .fallback(nothing_here)
        .with_state(api)
        .layer(from_fn_with_state(door, guard));
    let document = get(|| async { answer(StatusCode::OK, &openapi::document()) });
    Router::new().nest(PATH, routes).route("/api/openapi.json", document.fallback(no_such_method))
}

async fn guard(State(door): State<Doorkeeper>, request: Request, next: Next) -> Response {
    let caller = Peer::of(&request);
    let mut response = match door.admit(request.headers(), caller) {
        Ok(()) => match nul::in_query(request.uri().query()) {
            Some(why) => Problem::Malformed(why).into_response(),
            None => run(request, next, caller).await,
        },
        Err(stranger) => {
            let reason = match stranger {
                Stranger::TooMany => "tokens_too_many",
                Stranger::Unknown if request.headers().contains_key(AUTHORIZATION) => "token_wrong",
                Stranger::Unknown => "token_missing",
            };
            audit::token_refused(reason, caller);
            Problem::Stranger(stranger).into_response()
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Runs a call that was let in. One that may change something is logged.
async fn run(request: Request, next: Next, caller: Option<IpAddr>) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let call = format!("{} {PATH}{path}", request.method());
    let response = next.run(request).await;
    audit::changed(&call, "", caller, response.status());
    response
}

async fn nothing_here() -> Problem {
    Problem::NotFound
}

async fn no_such_method() -> Problem {
    Problem::MethodNotAllowed
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    // Texts and numbers can always be written.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// How many rows a page is to have.
fn page_rows(limit: Option<i64>) -> Result<i64, Problem> {
    let limit = limit.unwrap_or(PAGE_ROWS_DEFAULT);
    let is_allowed = (1..=PAGE_ROWS_MAX).contains(&limit);
    is_allowed.then_some(limit).ok_or(Problem::Malformed("The limit is a number from 1 to 500."))
}

/// Where a page is to begin.
fn cursor(after: Option<&str>) -> Result<Option<Cursor>, Problem> {
    let Some(after) = after else { return Ok(None) };
    let malformed = Problem::Malformed("after is the next of the page before, of the same list.");
    Cursor::parse(after).map(Some).ok_or(malformed)
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(query)| query)
        .map_err(|_| Problem::Malformed("The query cannot be understood."))
}
