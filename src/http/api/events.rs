//! Events: one with its body, the newest, and one folded once more.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Problem, ProblemView};
use super::super::views::{EventPage, EventView, ReplayView, WholeEvent};
use super::{Api, answer, cursor, page_rows, query};
use crate::domain::outcome::Outcome;
use crate::store::archive::events_of_order;
use crate::store::reads::{EventFilter, events_page};
use crate::store::replay::{Keep, replay};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Only those of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only those of which this became: `applied`, `unchanged`, `parked`, `ignored`.
    outcome: Option<String>,
    /// Only those of this order, all on one page; not with `after` and `limit`.
    order: Option<String>,
    /// Where the page begins: the `next` of the page before, of the same list.
    after: Option<String>,
    /// At most so many, 500 at most.
    limit: Option<i64>,
}

/// Events, the last received first. `next` is the `after` of the next page; null on the last one.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(ListQuery),
    responses(
        (status = 200, body = EventPage, description = "A page of events"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn list_events(
    State(api): State<Api>,
    list: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let ListQuery { kind, outcome, order, after, limit } = query(list)?;
    let outcome = outcome.as_deref().map(named_outcome).transpose()?;
    let filter = EventFilter { kind, outcome };
    let Some(order) = order else {
        let (after, limit) = (cursor(after.as_deref())?, page_rows(limit)?);
        let page = api.readers.run(move |session| {
            Box::pin(async move { events_page(session, &filter, after.as_ref(), limit).await })
        });
        let page = page.await?;
        let events: Vec<EventView> = page.rows.into_iter().map(EventView::from).collect();
        let next = page.next.map(|next| next.to_string());
        return Ok(answer(StatusCode::OK, &EventPage { events, next }));
    };
    if after.is_some() || limit.is_some() {
        return Err(Problem::Malformed("An order's events come on one page."));
    }
    let events = api.readers.run(move |session| {
        Box::pin(async move {
            let changes = session.order_changes(&order).await?;
            Ok(events_of_order(session, &order, &changes).await?.1)
        })
    });
    let mut events = events.await?;
    events.retain(|event| {
        filter.kind.as_ref().is_none_or(|kind| *kind == event.kind)
            && filter.outcome.is_none_or(|outcome| outcome.name() == event.outcome)
    });
    let events: Vec<EventView> = events.into_iter().rev().map(EventView::from).collect();
    Ok(answer(StatusCode::OK, &EventPage { events, next: None }))
}

fn named_outcome(name: &str) -> Result<Outcome, Problem> {
    Outcome::named(name).ok_or(Problem::Malformed("There is no such outcome."))
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
pub(in crate::http) async fn get_event(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = event_id(id)?;
    let event = api.readers.run(move |session| Box::pin(async move { session.event(&id).await }));
    let event = event.await?.ok_or(Problem::NotFound)?;
    let body = event.body.and_then(|body| serde_json::from_slice(&body).ok());
    Ok(answer(StatusCode::OK, &WholeEvent { event: event.event.into(), body }))
}

/// An event's id from the path. No recorded one has a NUL, and Postgres takes none in a query.
fn event_id(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.ok().map(|Path(id)| id).filter(|id| !id.contains('\0')).ok_or(Problem::NotFound)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ReplayQuery {
    /// Tells what would change, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Folds one event once more. What was folded already changes nothing; a change that comes of it is
/// recorded and told as any other.
#[utoipa::path(
    post,
    path = "/api/v1/events/{id}/replay",
    params(("id" = String, Path, description = "The event's id"), ReplayQuery),
    responses(
        (status = 200, body = ReplayView, description = "What it came to, or would come to"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 404, body = ProblemView, content_type = "application/problem+json", description = "There is no such thing"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn replay_event(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    how: Result<Query<ReplayQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let id = event_id(id)?;
    let ReplayQuery { dry_run } = query(how)?;
    let keep = if dry_run { Keep::DryRun } else { Keep::Commit };
    let (rules, now) = (Arc::clone(&api.rules), (api.now)());
    let replayed = api.readers.run(move |session| {
        Box::pin(async move { replay(session, &rules, &[id], now, keep).await })
    });
    let mut replayed = replayed.await?;
    let event = replayed.events.pop().ok_or(Problem::NotFound)?;
    if !dry_run {
        api.ingest.tell_changes();
    }
    Ok(answer(StatusCode::OK, &ReplayView::new(event, replayed.changes, dry_run)))
}
