//! What is recorded, as programs outside see it: in the export, and wherever JSON is answered.
//!
//! Amounts are whole numbers of the currency's minor unit. Times are texts, in UTC. A field without a
//! value is null, never left out, so that every order has the same shape.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::rows::Change;
use crate::store::outbox::DeliveryRecord;
use crate::store::reads::StreamedChange;
use crate::store::replay::{Again, ReplayedEvent};
use crate::store::{ChangeRecord, EventRecord, OrderRecord};

/// An order. The fields are the columns of the table `orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OrderView {
    /// The shop's id.
    pub id: String,
    /// `pending`, `processing`, `authorized`, `paid`, `partially_refunded`, `refunded`, `failed` or
    /// `canceled`.
    pub status: &'static str,
    /// What the shop said is due.
    pub amount_due: Option<i64>,
    /// Of all the amounts.
    pub currency: Option<String>,
    /// Received so far.
    pub amount_received: i64,
    /// Given back so far.
    pub amount_refunded: i64,
    /// Withdrawn by disputes that are open or lost.
    pub amount_disputed: i64,
    /// `underpaid`, `wrong_currency` or `overpaid`.
    pub problem: Option<&'static str>,
    /// The most pressing one: `inquiry`, `open`, `won`, `lost`, `prevented` or `unknown`.
    pub dispute: Option<&'static str>,
    /// Paid renewals of its subscription.
    pub renewals: i64,
    /// Refunds that failed.
    pub refunds_failed: i64,
    /// While failed: Stripe's code. While canceled: `canceled`, `expired` or `voided`.
    pub failure_code: Option<String>,
    /// While failed or canceled: Stripe's words.
    pub failure_message: Option<String>,
    /// The shop's, or else the payment's.
    pub customer_email: Option<String>,
    /// Counts the recorded changes.
    pub version: i64,
    /// The earliest event that says so.
    pub paid_at: Option<String>,
    /// The earliest event that says so.
    pub failed_at: Option<String>,
    /// The earliest event that says so.
    pub refunded_at: Option<String>,
    /// The earliest that is known of it.
    pub created_at: String,
    /// When paidup last wrote it.
    pub updated_at: String,
}

impl OrderView {
    /// The names of the fields, in their order.
    pub const NAMES: [&'static str; 20] = [
        "id",
        "status",
        "amount_due",
        "currency",
        "amount_received",
        "amount_refunded",
        "amount_disputed",
        "problem",
        "dispute",
        "renewals",
        "refunds_failed",
        "failure_code",
        "failure_message",
        "customer_email",
        "version",
        "paid_at",
        "failed_at",
        "refunded_at",
        "created_at",
        "updated_at",
    ];
}

impl From<OrderRecord> for OrderView {
    fn from(record: OrderRecord) -> Self {
        let OrderRecord { id, order, updated_at } = record;
        let snapshot = order.snapshot;
        Self {
            id,
            status: snapshot.status.name(),
            amount_due: order.due.map(|due| due.amount),
            currency: snapshot.currency,
            amount_received: snapshot.amount_received,
            amount_refunded: snapshot.amount_refunded,
            amount_disputed: snapshot.amount_disputed,
            problem: snapshot.problem.map(|problem| problem.name()),
            dispute: snapshot.dispute.map(|dispute| dispute.name()),
            renewals: snapshot.renewals,
            refunds_failed: snapshot.refunds_failed,
            failure_code: order.failure_code,
            failure_message: order.failure_message,
            customer_email: order.customer_email,
            version: order.version,
            paid_at: order.paid_at.map(seconds),
            failed_at: order.failed_at.map(seconds),
            refunded_at: order.refunded_at.map(seconds),
            created_at: seconds(order.created_at),
            updated_at: milliseconds(updated_at),
        }
    }
}

/// A time of Stripe's.
#[must_use]
pub fn seconds(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// A time of ours.
#[must_use]
pub fn milliseconds(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

/// A change of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangeView {
    /// Counts up from 1.
    pub version: i64,
    /// What there was to tell, e.g. `order.paid`.
    pub kinds: Vec<String>,
    /// The status before; null for a new order.
    pub from_status: Option<String>,
    /// The status since.
    pub to_status: String,
    /// The dispute since.
    pub dispute: Option<String>,
    /// The problem since.
    pub problem: Option<String>,
    /// Received until then.
    pub amount_received: i64,
    /// Given back until then.
    pub amount_refunded: i64,
    /// Withdrawn by disputes then.
    pub amount_disputed: i64,
    /// Of the amounts.
    pub currency: Option<String>,
    /// The event that brought it; null if none did.
    pub event_id: Option<String>,
    /// When it was committed.
    pub at: String,
}

impl From<ChangeRecord> for ChangeView {
    fn from(record: ChangeRecord) -> Self {
        Self {
            version: record.version,
            kinds: record.kinds.split_whitespace().map(str::to_owned).collect(),
            from_status: record.from_status,
            to_status: record.to_status,
            dispute: record.dispute,
            problem: record.problem,
            amount_received: record.amount_received,
            amount_refunded: record.amount_refunded,
            amount_disputed: record.amount_disputed,
            currency: record.currency,
            event_id: record.event_id,
            at: milliseconds(record.at),
        }
    }
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventView {
    /// `evt_…`
    pub id: String,
    /// Stripe's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The API version of its body.
    pub api_version: Option<String>,
    /// Live or test.
    pub livemode: bool,
    /// Stripe's time.
    pub created: Option<String>,
    /// Its order.
    pub order_id: Option<String>,
    /// `applied`, `unchanged`, `parked` or `ignored`.
    pub outcome: String,
    /// What it changed, or why it did not.
    pub reason: Option<String>,
    /// How often another content came under its id.
    pub conflicts: i64,
    /// When it came.
    pub received_at: String,
}

impl From<EventRecord> for EventView {
    fn from(record: EventRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind,
            api_version: record.api_version,
            livemode: record.livemode,
            created: record.created.map(seconds),
            order_id: record.order_id,
            outcome: record.outcome,
            reason: record.reason,
            conflicts: record.conflicts,
            received_at: milliseconds(record.received_at),
        }
    }
}

/// A page of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OrderPage {
    /// In the order that was asked for.
    pub orders: Vec<OrderView>,
    /// The `after` of the next page; null on the last one.
    pub next: Option<String>,
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryView {
    /// In the order they were made.
    pub changes: Vec<ChangeView>,
    /// As they came.
    pub events: Vec<EventView>,
}

/// An event with its body.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WholeEvent {
    /// What is recorded beside the body.
    pub event: EventView,
    /// The body as Stripe sent it, to the letter; null once it was pruned.
    #[schema(value_type = Option<Object>)]
    pub body: Option<Box<RawValue>>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventPage {
    /// The last received first.
    pub events: Vec<EventView>,
    /// The `after` of the next page; null on the last one.
    pub next: Option<String>,
}

/// A change with its place among all changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StreamedChangeView {
    /// Counts up in the order of the commits; numbers may be left out.
    pub sequence: i64,
    /// Whose change.
    pub order_id: String,
    /// The change.
    #[serde(flatten)]
    pub change: ChangeView,
}

impl From<StreamedChange> for StreamedChangeView {
    fn from(streamed: StreamedChange) -> Self {
        let StreamedChange { sequence, order_id, change } = streamed;
        Self { sequence, order_id, change: change.into() }
    }
}

/// What folding an event once more came to, or would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplayView {
    /// The event.
    pub event_id: String,
    /// Stripe's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// `same`: it is as it was; `moved`: another outcome stands beside it; `no_body`: its body was pruned;
    /// `unreadable`: its body is none that paidup could have written.
    pub result: &'static str,
    /// If it moved: the outcome before.
    pub was: Option<String>,
    /// If it moved: the outcome since.
    pub is: Option<&'static str>,
    /// If it moved: why.
    pub reason: Option<String>,
    /// The changes of orders, each as an order's state before and after.
    pub changes: Vec<ReplayedChangeView>,
}

/// A change that a replay made, or would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplayedChangeView {
    /// Whose change.
    pub order_id: String,
    /// Counts up from 1.
    pub version: i64,
    /// What there is to tell, e.g. `order.paid`.
    pub kinds: Vec<&'static str>,
    /// The status before; null for a new order.
    pub from_status: Option<&'static str>,
    /// The status since.
    pub to_status: &'static str,
    /// The dispute since.
    pub dispute: Option<&'static str>,
    /// The problem since.
    pub problem: Option<&'static str>,
    /// Received until then.
    pub amount_received: i64,
    /// Given back until then.
    pub amount_refunded: i64,
    /// Withdrawn by disputes then.
    pub amount_disputed: i64,
    /// Of the amounts.
    pub currency: Option<String>,
}

impl From<Change> for ReplayedChangeView {
    fn from(change: Change) -> Self {
        let to = change.to;
        Self {
            order_id: change.order_id,
            version: change.version,
            kinds: change.kinds,
            from_status: change.from.map(|from| from.name()),
            to_status: to.status.name(),
            dispute: to.dispute.map(|dispute| dispute.name()),
            problem: to.problem.map(|problem| problem.name()),
            amount_received: to.amount_received,
            amount_refunded: to.amount_refunded,
            amount_disputed: to.amount_disputed,
            currency: to.currency,
        }
    }
}

impl ReplayView {
    /// What became of the event, and of orders.
    #[must_use]
    pub fn new(event: ReplayedEvent, changes: Vec<Change>, dry_run: bool) -> Self {
        let (result, was, is, reason) = match event.again {
            Again::Same => ("same", None, None, None),
            Again::Moved { was, is, reason } => ("moved", Some(was), Some(is), Some(reason)),
            Again::NoBody => ("no_body", None, None, None),
            Again::Unreadable => ("unreadable", None, None, None),
        };
        let changes = changes.into_iter().map(ReplayedChangeView::from).collect();
        let (event_id, kind) = (event.id, event.kind);
        Self { event_id, kind, dry_run, result, was, is, reason, changes }
    }
}

/// A notification of one change to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotificationView {
    /// Its number.
    pub id: i64,
    /// Whose change.
    pub order_id: String,
    /// Which change.
    pub version: i64,
    /// What changed, e.g. `order.paid`.
    pub kinds: Vec<String>,
    /// Who is to be told: a name in NOTIFY_CONFIG.
    pub destination: String,
    /// `waiting`, `sent`, `skipped` or `dead`.
    pub status: String,
    /// Whether an attempt runs.
    pub is_being_sent: bool,
    /// Attempts so far.
    pub attempts: i64,
    /// When it is due; null once it is settled.
    pub next_attempt_at: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: String,
    /// When it was sent, skipped or given up.
    pub settled_at: Option<String>,
}

impl From<DeliveryRecord> for NotificationView {
    fn from(record: DeliveryRecord) -> Self {
        let is_waiting = record.status == "waiting";
        Self {
            id: record.id,
            order_id: record.order_id,
            version: record.version,
            kinds: record.kinds.split_whitespace().map(str::to_owned).collect(),
            destination: record.destination,
            status: record.status,
            is_being_sent: record.claimed_at.is_some(),
            attempts: record.attempts,
            next_attempt_at: is_waiting.then(|| milliseconds(record.next_attempt_at)),
            last_error: record.last_error,
            created_at: milliseconds(record.created_at),
            settled_at: record.settled_at.map(milliseconds),
        }
    }
}

/// A page of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotificationPage {
    /// The last written first.
    pub notifications: Vec<NotificationView>,
    /// The `after` of the next page; null on the last one.
    pub next: Option<i64>,
}
