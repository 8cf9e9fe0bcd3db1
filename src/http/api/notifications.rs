//! Notifications: the newest, and one sent again.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::problem::{Problem, ProblemView};
use super::super::views::{NotificationPage, NotificationView};
use super::{Api, answer, page_rows, query};
use crate::store::reads::{DeliveryFilter, deliveries_page};

/// What a notification may be.
const STATUSES: [&str; 4] = ["waiting", "sent", "skipped", "dead"];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Only those that are `waiting`, `sent`, `skipped` or `dead`.
    status: Option<String>,
    /// Only those to this destination of NOTIFY_CONFIG.
    destination: Option<String>,
    /// Where the page begins: the `next` of the page before, of the same list.
    after: Option<i64>,
    /// At most so many, 500 at most.
    limit: Option<i64>,
}

/// Notifications, the last written first. `next` is the `after` of the next page; null on the last one.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    params(ListQuery),
    responses(
        (status = 200, body = NotificationPage, description = "A page of notifications"),
        (status = 400, body = ProblemView, content_type = "application/problem+json", description = "The question cannot be understood"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn list_notifications(
    State(api): State<Api>,
    list: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let ListQuery { status, destination, after, limit } = query(list)?;
    let limit = page_rows(limit)?;
    if status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(Problem::Malformed("A notification is waiting, sent, skipped or dead."));
    }
    let filter = DeliveryFilter { status, destination };
    let page = api.readers.run(move |session| {
        Box::pin(async move { deliveries_page(session, &filter, after, limit).await })
    });
    let page = page.await?;
    let notifications = page.rows.into_iter().map(NotificationView::from).collect();
    Ok(answer(StatusCode::OK, &NotificationPage { notifications, next: page.next }))
}

/// Makes a notification due as if it were new, whatever became of it.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/{id}/retry",
    params(("id" = i64, Path, description = "The notification's number")),
    responses(
        (status = 200, body = NotificationView, description = "It is due"),
        (status = 404, body = ProblemView, content_type = "application/problem+json", description = "There is no such thing"),
        (status = 409, body = ProblemView, content_type = "application/problem+json", description = "It is being sent right now"),
        (status = 401, body = ProblemView, content_type = "application/problem+json", description = "No token, or a wrong one"),
        (status = 429, body = ProblemView, content_type = "application/problem+json", description = "Too many wrong tokens came"),
        (status = 503, body = ProblemView, content_type = "application/problem+json", description = "Come again in a moment"),
    ),
    security(("token" = []))
)]
pub(in crate::http) async fn retry_notification(
    State(api): State<Api>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path(id)) = id else { return Err(Problem::NotFound) };
    let now = (api.now)();
    let retried = api.readers.run(move |session| {
        Box::pin(async move {
            let is_due = session.retry_delivery(id, now).await? > 0;
            Ok((is_due, session.delivery(id).await?))
        })
    });
    let (is_due, notification) = retried.await?;
    let notification = notification.ok_or(Problem::NotFound)?;
    if !is_due {
        return Err(Problem::BeingSent);
    }
    api.ingest.tell_changes();
    Ok(answer(StatusCode::OK, &NotificationView::from(notification)))
}
