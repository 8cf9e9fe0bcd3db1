//! What is recorded, read in pages: to export it, to look through it, and to fold it again.
//!
//! A page begins where the last one ended, by key and never by count, so the last page of ten million
//! rows costs what the first one does. A statement looks at a bounded number of rows, however few of
//! them fit. Folding again is left to [`super::replay`].

pub mod postgres;
pub mod sqlite;

use std::collections::BTreeSet;

use sqlx::FromRow;

use super::{ChangeRecord, EventRecord, OrderRecord, Session, StoreError, statements};
use crate::domain::rows::Payment;

/// An event that a page has passed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Passed {
    /// Its id.
    pub id: String,
    /// Whether it is one of those that were asked for.
    pub fits: bool,
}

/// A recorded event with its body.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredEvent {
    /// Its id.
    pub id: String,
    /// Stripe's type.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// The bytes as they came; `None` once pruned.
    pub body: Option<Vec<u8>>,
    /// `applied`, `unchanged`, `parked` or `ignored`.
    pub outcome: String,
    /// When it came, in milliseconds since 1970.
    pub received_at: i64,
}

/// What stands beside an event from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutcome {
    /// The event.
    pub event_id: String,
    /// What became of it.
    pub outcome: &'static str,
    /// What it changed, or why it did not.
    pub reason: String,
    /// Its payment.
    pub payment_key: Option<String>,
    /// Its order.
    pub order_id: Option<String>,
}

/// How many of the rows that a page has passed are old enough to be pruned.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Prunable<K> {
    /// The last row of the page; `None` if there was none.
    pub last: Option<K>,
    /// Events whose body would be dropped.
    pub bodies: i64,
    /// Events, or settled notifications, that would be deleted.
    pub rows: i64,
}

statements! {
    /// The orders that follow this id, in the order of their ids, at most so many.
    orders_after(id: &str, limit: i64) -> Vec<OrderRecord>;
    /// The events that follow this id, in the order of their ids, at most so many; each told whether
    /// it was received since then (milliseconds) and is of that type.
    events_passed(id: &str, since: i64, kind: Option<&str>, limit: i64) -> Vec<Passed>;
    /// These events with their bodies, in the order of their ids.
    stored_events(ids: &[String]) -> Vec<StoredEvent>;
    /// Writes anew what became of events.
    update_outcomes(outcomes: &[NewOutcome]) -> ();
    /// Of the events that follow this id, in the order of their ids, at most so many: how many bodies,
    /// and how many events, were received before these times (milliseconds).
    prunable_events(id: &str, bodies_until: i64, events_until: i64, limit: i64) -> Prunable<String>;
    /// Of the deliveries that follow this one, at most so many: how many were settled before.
    prunable_deliveries(id: i64, until: i64, limit: i64) -> Prunable<i64>;
    /// Inserts an order as the shop would, or gives one that is there its amount and address.
    register_order(id: &str, amount_due: i64, currency: &str, email: Option<&str>, now: i64) -> ();
}

/// The payments of an order, and all events of these payments and of its changes, as they came.
///
/// # Errors
/// Any [`StoreError`].
pub async fn events_of_order(
    session: &mut Session,
    id: &str,
    changes: &[ChangeRecord],
) -> Result<(Vec<Payment>, Vec<EventRecord>), StoreError> {
    let payments = session.order_payments(id).await?;
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for payment in &payments {
        keys.extend(payment.facts.ids.iter().map(|id| id.id.clone()));
        keys.extend(payment.facts.subscription.clone());
    }
    let keys: Vec<String> = keys.into_iter().collect();
    let event_ids: Vec<String> =
        changes.iter().filter_map(|change| change.event_id.clone()).collect();
    let events = session.events_of(&keys, &event_ids, id).await?;
    Ok((payments, events))
}

/// Why an order that events name has no row.
#[must_use]
pub fn without_row(events: &[EventRecord]) -> &'static str {
    if events.iter().any(|event| event.outcome == "parked") {
        "its events wait until the shop inserts its row."
    } else {
        "it has no row, since its events were ignored. The reasons are below."
    }
}
