//! Notifications: what waits, what was given up and why, and sending again.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::orders::PAGE_ROWS;
use super::shell::{Choice, Shell, Trouble, address, choices, page, see};
use super::words::milliseconds;
use super::{Console, Form, User};
use crate::store::outbox::DeliveryRecord;
use crate::store::reads::{DeliveryFilter, deliveries_page};

const STATUSES: [&str; 4] = ["waiting", "dead", "sent", "skipped"];

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NotificationsQuery {
    status: String,
    to: String,
    after: Option<i64>,
    told: String,
}

struct Row {
    id: i64,
    kinds: String,
    order: String,
    order_address: String,
    destination: String,
    status: String,
    /// When it is due, or was settled.
    when: String,
    attempts: i64,
    error: String,
}

impl From<DeliveryRecord> for Row {
    fn from(delivery: DeliveryRecord) -> Self {
        let when = match (delivery.settled_at, delivery.claimed_at) {
            (Some(at), _) => milliseconds(at),
            (None, Some(_)) => "being sent".to_owned(),
            (None, None) => format!("due {}", milliseconds(delivery.next_attempt_at)),
        };
        Self {
            id: delivery.id,
            kinds: delivery.kinds,
            order_address: address("/console/order", &[("id", &delivery.order_id)]),
            order: delivery.order_id,
            destination: delivery.destination,
            status: delivery.status,
            when,
            attempts: delivery.attempts,
            error: delivery.last_error.unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    shell: Shell,
    statuses: Vec<Choice>,
    to: String,
    status: String,
    rows: Vec<Row>,
    next: Option<String>,
    told: Option<&'static str>,
}

pub(super) async fn list(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Query(query): Query<NotificationsQuery>,
) -> Result<Response, Trouble> {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = DeliveryFilter { status: some(&query.status), destination: some(&query.to) };
    let found = console.run(move |session| {
        Box::pin(async move { deliveries_page(session, &filter, query.after, PAGE_ROWS).await })
    });
    let found = found.await?;
    let next = found.next.map(|next| {
        let next = next.to_string();
        let pairs = [("status", query.status.as_str()), ("to", &query.to), ("after", &next)];
        address("/console/notifications", &pairs)
    });
    let told = match query.told.as_str() {
        "again" => Some("It waits to be sent again."),
        "not" => Some("It is gone, or an attempt runs just now."),
        _ => None,
    };
    page(&NotificationsPage {
        shell: Shell::live(&user, "Notifications"),
        statuses: choices("any", STATUSES, &query.status),
        to: query.to,
        status: query.status,
        rows: found.rows.into_iter().map(Row::from).collect(),
        next,
        told,
    })
}

pub(super) async fn retry(
    State(console): State<Console>,
    Extension(form): Extension<Form>,
) -> Result<Response, Trouble> {
    let id: i64 = form.get("id").parse().map_err(|_| Trouble::Malformed)?;
    let now = console.now();
    let retry =
        console.run(move |session| Box::pin(async move { session.retry_delivery(id, now).await }));
    let told = if retry.await? > 0 { "again" } else { "not" };
    console.0.parts.ingest.tell_changes();
    console.0.live.beat();
    let pairs = [("status", form.get("status")), ("to", form.get("to")), ("told", told)];
    Ok(see(&address("/console/notifications", &pairs)))
}
