//! `/api/v1`: orders and events as JSON, on the operators' listener, for whoever has the token.
//!
//! Reading and registering go by way of [`super::readers`], never by the writer's session.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::openapi;
use super::problem::{Problem, ProblemView};
use super::readers::Readers;
use super::token::Doorkeeper;
use super::views::{ChangeView, EventView, HistoryView, OrderPage, OrderView, WholeEvent};
use crate::domain::event::{EMAIL_BYTES_MAX, is_order_id};
use crate::domain::order::Status;
use crate::store::archive::events_of_order;
use crate::store::register::{Registered, Registration, register};
use crate::store::transaction::Rules;
use crate::store::{OrderRecord, StoreError};

/// The most orders of a page, and the number that is given unless asked.
pub const PAGE_ORDERS_MAX: i64 = 500;
const PAGE_ORDERS_DEFAULT: i64 = 100;
/// The longest that a caller may wait for a status.
pub const WAIT_SECONDS_MAX: u64 = 60;
const WAIT_SECONDS_DEFAULT: u64 = 30;
/// The most callers that wait at once.
pub const WAITERS_MAX: usize = 64;
/// How often a waiter looks.
pub const WAIT_LOOK_MILLISECONDS: u64 = 1000;

/// What the routes share.
#[derive(Clone)]
pub struct Api {
    readers: Readers,
    rules: Arc<Rules>,
    door: Doorkeeper,
    waiters: Arc<Semaphore>,
    stop: CancellationToken,
    now: fn() -> i64,
}

impl Api {
    /// `stop` ends waiting; `now` is the time in milliseconds.
    #[must_use]
    pub fn new(
        readers: Readers,
        rules: Rules,
        door: Doorkeeper,
        stop: CancellationToken,
        now: fn() -> i64,
    ) -> Self {
        let waiters = Arc::new(Semaphore::new(WAITERS_MAX));
        Self { readers, rules: Arc::new(rules), door, waiters, stop, now }
    }
}

/// The routes, all of them behind the token.
pub fn router(api: Api) -> Router {
    let door = api.door.clone();
    let routes = Router::new()
        .route("/orders", get(list_orders).fallback(no_such_method))
        .route("/orders/{id}", get(get_order).put(put_order).fallback(no_such_method))
        .route("/orders/{id}/history", get(get_history).fallback(no_such_method))
        .route("/events/{id}", get(get_event).fallback(no_such_method))
        .fallback(nothing_here)
        .with_state(api)
        .layer(from_fn_with_state(door, guard));
    let document = get(|| async { answer(StatusCode::OK, &openapi::document()) });
    Router::new()
        .nest("/api/v1", routes)
        .route("/api/openapi.json", document.fallback(no_such_method))
}

async fn guard(State(door): State<Doorkeeper>, request: Request, next: Next) -> Response {
    let mut response = match door.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(stranger) => Problem::Stranger(stranger).into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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

/// An order id as it may be; one from the path is decoded already.
fn order_id(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Ok(Path(id)) = path else { return Err(Problem::Malformed("The order id is no text.")) };
    if is_order_id(&id) {
        Ok(id)
    } else {
        Err(Problem::Malformed("An order id has 1 to 500 bytes and no control characters."))
    }
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(query)| query)
        .map_err(|_| Problem::Malformed("The query cannot be understood."))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Begins behind this id.
    #[serde(default)]
    after: String,
    /// At most so many, 500 at most.
    limit: Option<i64>,
}

/// Orders by id. `next` is the `after` of the next page; null on the last one.
#[utoipa::path(
    get,
    path = "/api/v1/orders",
    params(ListQuery),
    responses(
        (status = 200, body = OrderPage, description = "A page of orders, by id"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(super) async fn list_orders(
    State(api): State<Api>,
    list: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let ListQuery { after, limit } = query(list)?;
    let limit = limit.unwrap_or(PAGE_ORDERS_DEFAULT);
    if !(1..=PAGE_ORDERS_MAX).contains(&limit) {
        return Err(Problem::Malformed("The limit is a number from 1 to 500."));
    }
    // One more, to know whether there are more.
    let page = api
        .readers
        .run(move |session| Box::pin(async move { session.orders_after(&after, limit + 1).await }));
    let mut orders = page.await?;
    let has_more = orders.len() as u64 > limit.unsigned_abs();
    if has_more {
        orders.pop();
    }
    let next = orders.last().filter(|_| has_more).map(|last| last.id.clone());
    let orders: Vec<OrderView> = orders.into_iter().map(OrderView::from).collect();
    Ok(answer(StatusCode::OK, &OrderPage { orders, next }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Answers once the order has this status.
    wait: Option<String>,
    /// Or after so many seconds, 60 at most, as it is.
    timeout: Option<u64>,
}

/// One order; with `wait`, once it has that status, or as it is when the time is over.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{id}",
    params(("id" = String, Path, description = "The order's id, percent-encoded"), WaitQuery),
    responses(
        (status = 200, body = OrderView, description = "The order"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 404, body = ProblemView, content_type = "application/problem+json", description = "There is no such thing"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(super) async fn get_order(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    wait: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let (id, WaitQuery { wait, timeout }) = (order_id(id)?, query(wait)?);
    let record = match wait {
        None => one_order(&api, &id).await?,
        Some(wanted) => wait_for(&api, &id, &wanted, timeout).await?,
    };
    let order = OrderView::from(record.ok_or(Problem::NotFound)?);
    Ok(answer(StatusCode::OK, &order))
}

async fn one_order(api: &Api, id: &str) -> Result<Option<OrderRecord>, Problem> {
    let id = id.to_owned();
    api.readers.run(move |session| Box::pin(async move { session.order(&id).await })).await
}

async fn wait_for(
    api: &Api,
    id: &str,
    wanted: &str,
    timeout: Option<u64>,
) -> Result<Option<OrderRecord>, Problem> {
    let wanted = Status::ALL.into_iter().find(|status| status.name() == wanted);
    let wanted = wanted.ok_or(Problem::Malformed("There is no such status to wait for."))?;
    let seconds = timeout.unwrap_or(WAIT_SECONDS_DEFAULT);
    if seconds > WAIT_SECONDS_MAX {
        return Err(Problem::Malformed("The timeout is at most 60 seconds."));
    }
    let _place = api.waiters.try_acquire().map_err(|_| Problem::Busy)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let record = one_order(api, id).await?;
        let is_there = record.as_ref().is_some_and(|record| record.order.told.status == wanted);
        if is_there || api.stop.is_cancelled() || Instant::now() >= until {
            return Ok(record);
        }
        let next = Instant::now() + Duration::from_millis(WAIT_LOOK_MILLISECONDS);
        // A stop is not held up by those who wait: they get the order as it is.
        tokio::select! {
            () = sleep_until(next.min(until)) => {}
            () = api.stop.cancelled() => {}
        }
    }
}

/// What a shop says of its order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutOrder {
    /// In the currency's minor unit.
    #[schema(minimum = 0)]
    amount_due: i64,
    /// Three letters.
    currency: String,
    /// The customer's address.
    customer_email: Option<String>,
}

fn registration(id: String, body: &[u8]) -> Result<Registration, Problem> {
    let order: PutOrder = serde_json::from_slice(body).map_err(|_| {
        Problem::Malformed(
            "The body is JSON with amount_due, a whole number, currency, and perhaps customer_email.",
        )
    })?;
    if order.amount_due < 0 {
        return Err(Problem::Malformed("amount_due is not below 0."));
    }
    let currency = order.currency.to_ascii_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Problem::Malformed("currency has three letters."));
    }
    let is_address = |email: &String| {
        email.len() <= EMAIL_BYTES_MAX
            && email.contains('@')
            && !email.chars().any(char::is_control)
    };
    if !order.customer_email.as_ref().is_none_or(is_address) {
        return Err(Problem::Malformed("customer_email is no address."));
    }
    let (amount_due, customer_email) = (order.amount_due, order.customer_email);
    Ok(Registration { id, amount_due, currency, customer_email })
}

/// Registers an order: 201 if it is new, 200 if it has this amount and currency, else 409.
#[utoipa::path(
    put,
    path = "/api/v1/orders/{id}",
    params(("id" = String, Path, description = "The order's id, percent-encoded")),
    request_body = PutOrder,
    responses(
        (status = 201, body = OrderView, description = "It is new"),
        (status = 200, body = OrderView, description = "It was there"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 409, body = ProblemView, content_type = "application/problem+json", description = "It is registered with another amount or currency"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(super) async fn put_order(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let registration = registration(order_id(id)?, &body)?;
    let (rules, now) = (Arc::clone(&api.rules), (api.now)());
    let registered = api.readers.run(move |session| {
        Box::pin(async move { register(session, &rules, &registration, now).await })
    });
    let (status, record) = match registered.await? {
        Registered::New(record) => (StatusCode::CREATED, record),
        Registered::Known(record) => (StatusCode::OK, record),
        Registered::Differs => return Err(Problem::Registered),
    };
    Ok(answer(status, &OrderView::from(record)))
}

/// What happened to an order: its changes, and every event with what it changed, or why it did not.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{id}/history",
    params(("id" = String, Path, description = "The order's id, percent-encoded")),
    responses(
        (status = 200, body = HistoryView, description = "What happened to it"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 404, body = ProblemView, content_type = "application/problem+json", description = "There is no such thing"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(super) async fn get_history(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = order_id(id)?;
    let history = api.readers.run(move |session| {
        Box::pin(async move {
            let changes = session.order_changes(&id).await?;
            let (_, events) = events_of_order(session, &id, &changes).await?;
            let is_known = !events.is_empty() || session.order(&id).await?.is_some();
            Ok::<_, StoreError>(is_known.then_some((changes, events)))
        })
    });
    let (changes, events) = history.await?.ok_or(Problem::NotFound)?;
    let changes: Vec<ChangeView> = changes.into_iter().map(ChangeView::from).collect();
    let events: Vec<EventView> = events.into_iter().map(EventView::from).collect();
    Ok(answer(StatusCode::OK, &HistoryView { changes, events }))
}

/// One event with its body: as JSON, null once it was pruned.
#[utoipa::path(
    get,
    path = "/api/v1/events/{id}",
    params(("id" = String, Path, description = "The event's id")),
    responses(
        (status = 200, body = WholeEvent, description = "The event with its body"),
        (status = 404, body = ProblemView, content_type = "application/problem+json", description = "There is no such thing"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(super) async fn get_event(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path(id)) = id else { return Err(Problem::NotFound) };
    let event = api.readers.run(move |session| {
        Box::pin(async move {
            let ids = [id];
            let event = session.events_of(&[], &ids).await?.pop();
            let body = session.stored_events(&ids).await?.pop().and_then(|stored| stored.body);
            Ok::<_, StoreError>(event.map(|event| (event, body)))
        })
    });
    let (event, body) = event.await?.ok_or(Problem::NotFound)?;
    let body: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
    Ok(answer(StatusCode::OK, &WholeEvent { event: event.into(), body }))
}
