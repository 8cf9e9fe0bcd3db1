//! Orders: one, all by id, the newest, found by what people have in hand; waited for, and registered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use utoipa::{IntoParams, ToSchema};

use super::super::problem::{Problem, ProblemView};
use super::super::views::{ChangeView, EventView, HistoryView, OrderPage, OrderView};
use super::{Api, answer, cursor, page_rows, query};
use crate::domain::order::{self, Status};
use crate::domain::text::{is_email_address, is_order_id};
use crate::store::archive::events_of_order;
use crate::store::reads::{Cursor, OrderFilter, Page, ProblemFilter, orders_page};
use crate::store::register::{Registered, Registration, register};
use crate::store::{OrderRecord, StoreError};

/// The longest that a caller may wait for a status.
pub const WAIT_SECONDS_MAX: u64 = 60;
const WAIT_SECONDS_DEFAULT: u64 = 30;
/// The most callers that wait at once.
pub const WAITERS_MAX: usize = 64;
/// How often a waiter looks.
pub const WAIT_LOOK_MILLISECONDS: u64 = 1000;
/// The most orders that a search finds.
pub const FOUND_ORDERS_MAX: i64 = 100;

/// An order id as it may be; one from the path is decoded already.
fn order_id(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Ok(Path(id)) = path else { return Err(Problem::Malformed("The order id is no text.")) };
    if is_order_id(&id) {
        Ok(id)
    } else {
        Err(Problem::Malformed("An order id has 1 to 500 bytes and no control characters."))
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Where the page begins: the `next` of the page before, of the same list.
    after: Option<String>,
    /// At most so many, 500 at most.
    limit: Option<i64>,
    /// `id`, or `newest` for the last made first, as with `status` and `problem`.
    sort: Option<String>,
    /// Only those of this status.
    status: Option<String>,
    /// Only those with this problem; `any` for any.
    problem: Option<String>,
    /// Instead of all these: an order id, the id of a payment (PaymentIntent, charge, Checkout Session,
    /// invoice, subscription), or an e-mail address in any case.
    search: Option<String>,
}

/// Which list is asked for.
enum Listing {
    ById(String),
    Newest(OrderFilter, Option<Cursor>),
    Found(String),
}

impl ListQuery {
    fn listing(self) -> Result<Listing, Problem> {
        let Self { after, limit, sort, status, problem, search } = self;
        if let Some(search) = search {
            let alone = (&after, &sort, &status, &problem) == (&None, &None, &None, &None)
                && limit.is_none();
            let malformed = Problem::Malformed("A search goes with no other parameter.");
            return if alone { Ok(Listing::Found(search)) } else { Err(malformed) };
        }
        let is_filtered = status.is_some() || problem.is_some();
        match sort.as_deref() {
            None | Some("id") if !is_filtered => {
                return Ok(Listing::ById(after.unwrap_or_default()));
            }
            None | Some("newest") => {}
            Some("id") => return Err(Problem::Malformed("What is filtered is sorted by newest.")),
            Some(_) => return Err(Problem::Malformed("sort is id or newest.")),
        }
        let status = status.as_deref().map(named_status).transpose()?;
        let problem = problem.as_deref().map(named_problem).transpose()?;
        Ok(Listing::Newest(OrderFilter { status, problem }, cursor(after.as_deref())?))
    }
}

fn named_status(name: &str) -> Result<Status, Problem> {
    let found = Status::ALL.into_iter().find(|status| status.name() == name);
    found.ok_or(Problem::Malformed("There is no such status."))
}

fn named_problem(name: &str) -> Result<ProblemFilter, Problem> {
    if name == "any" {
        return Ok(ProblemFilter::Any);
    }
    let found = order::Problem::ALL.into_iter().find(|problem| problem.name() == name);
    found.map(ProblemFilter::Is).ok_or(Problem::Malformed("There is no such problem."))
}

/// Orders by id, or the newest, or those that are found. `next` is the `after` of the next page; null on
/// the last one.
#[utoipa::path(
    get,
    path = "/api/v1/orders",
    params(ListQuery),
    responses(
        (status = 200, body = OrderPage, description = "A page of orders"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn list_orders(
    State(api): State<Api>,
    list: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let list = query(list)?;
    let limit = page_rows(list.limit)?;
    let (orders, next) = match list.listing()? {
        Listing::ById(after) => by_id(&api, after, limit).await?,
        Listing::Newest(filter, after) => {
            let page = api.readers.run(move |session| {
                Box::pin(async move { orders_page(session, filter, after.as_ref(), limit).await })
            });
            let page = page.await?;
            (page.rows, page.next.map(|next| next.to_string()))
        }
        Listing::Found(term) => {
            let found = api.readers.run(move |session| {
                Box::pin(async move { session.orders_found(&term, FOUND_ORDERS_MAX).await })
            });
            (found.await?, None)
        }
    };
    let orders: Vec<OrderView> = orders.into_iter().map(OrderView::from).collect();
    Ok(answer(StatusCode::OK, &OrderPage { orders, next }))
}

/// The list that misses nothing and repeats nothing however orders change while it is read.
async fn by_id(
    api: &Api,
    after: String,
    limit: i64,
) -> Result<(Vec<OrderRecord>, Option<String>), Problem> {
    let rows = api
        .readers
        .run(move |session| Box::pin(async move { session.orders_after(&after, limit + 1).await }));
    let Page { rows, next } = Page::of(rows.await?, limit, |last| last.id.clone());
    Ok((rows, next))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct WaitQuery {
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
pub(in crate::http) async fn get_order(
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
    let wanted = named_status(wanted)?;
    let seconds = timeout.unwrap_or(WAIT_SECONDS_DEFAULT);
    if seconds > WAIT_SECONDS_MAX {
        return Err(Problem::Malformed("The timeout is at most 60 seconds."));
    }
    let _place = api.waiters.try_acquire().map_err(|_| Problem::Busy)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let record = one_order(api, id).await?;
        let is_there = record.as_ref().is_some_and(|record| record.order.snapshot.status == wanted);
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
pub(in crate::http) struct PutOrder {
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
    if !order.customer_email.as_deref().is_none_or(is_email_address) {
        return Err(Problem::Malformed("customer_email is no address."));
    }
    let (amount_due, customer_email) = (order.amount_due, order.customer_email);
    Ok(Registration { id, amount_due, currency, customer_email })
}

/// Registers an order, or changes what is due: 201 if it is new, else 200. The order is weighed at once.
#[utoipa::path(
    put,
    path = "/api/v1/orders/{id}",
    params(("id" = String, Path, description = "The order's id, percent-encoded")),
    request_body = PutOrder,
    responses(
        (status = 201, body = OrderView, description = "It is new"),
        (status = 200, body = OrderView, description = "It was there, and has this amount now"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn put_order(
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
    };
    // What was parked may have changed it.
    api.ingest.tell_changes();
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
pub(in crate::http) async fn get_history(
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
