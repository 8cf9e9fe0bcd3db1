//! The rows that a fold reads and writes, as the rules see them.

use std::collections::BTreeSet;

use super::delta::Reading;
use super::event::Event;
use super::order::{Due, OrderSnapshot, Status};
use super::outcome::{IgnoredReason, Outcome};
use super::payment::Facts;
use super::payment::claim::Claim;
use super::summary::Summary;

/// A row of `payments`; its key is in its facts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The order that it counts for.
    pub order_id: Option<String>,
    /// Its page among that order's payments.
    pub page: i64,
    /// What is known of it.
    pub facts: Facts,
}

impl Payment {
    /// The id that names it; empty only for a payment without any id, which no event makes.
    #[must_use]
    pub fn key(&self) -> &str {
        self.facts.key().map_or("", |key| key.id.as_str())
    }
}

/// A row of `payment_links`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Link {
    /// The payment that goes by this id too.
    pub payment_key: Option<String>,
    /// The order that this subscription belongs to.
    pub claim: Option<Claim>,
}

/// A row of `order_pages`: a page of an order with many payments, added up. The first page has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Whose.
    pub order_id: String,
    /// Its number, from 1.
    pub page: i64,
    /// What its payments add up to.
    pub summary: Summary,
}

/// A row of `orders`, but for `updated_at`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Order {
    /// What the shop said is due.
    pub due: Option<Due>,
    /// Whether the row was weighed since the shop last wrote it.
    pub is_weighed: bool,
    /// What is recorded and notified.
    pub snapshot: OrderSnapshot,
    /// While failed or canceled.
    pub failure_code: Option<String>,
    /// While failed or canceled.
    pub failure_message: Option<String>,
    /// The shop's, or else the payments'.
    pub customer_email: Option<String>,
    /// The address that paidup wrote there; if another one stands there, it is the shop's.
    pub email_written: Option<String>,
    /// Unix seconds.
    pub paid_at: Option<i64>,
    /// Unix seconds.
    pub failed_at: Option<i64>,
    /// Unix seconds.
    pub refunded_at: Option<i64>,
    /// Unix seconds; the earliest of the row's insertion and the events that name the order.
    pub created_at: i64,
    /// How many changes were recorded.
    pub version: i64,
    /// What was received when the order was last announced as paid; `None`: it never was.
    pub announced: Option<i64>,
}

/// What must be loaded before events can be applied.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Ids to look up in `payment_links`.
    pub links: BTreeSet<String>,
    /// Ids to look up as keys of `payments`.
    pub payments: BTreeSet<String>,
    /// Subscriptions all of whose payments are needed.
    pub subscriptions: BTreeSet<String>,
    /// Orders that are needed, each with the payments of its first page and the sums of the others.
    pub orders: BTreeSet<String>,
    /// Further pages of orders, all of whose payments are needed.
    pub pages: BTreeSet<(String, i64)>,
}

impl Needs {
    /// Nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.payments.is_empty()
            && self.subscriptions.is_empty()
            && self.orders.is_empty()
            && self.pages.is_empty()
    }

    pub(super) fn without(mut self, loaded: &Self) -> Self {
        self.links.retain(|id| !loaded.links.contains(id));
        self.payments.retain(|key| !loaded.payments.contains(key));
        self.subscriptions.retain(|id| !loaded.subscriptions.contains(id));
        self.orders.retain(|id| !loaded.orders.contains(id));
        self.pages.retain(|page| !loaded.pages.contains(page));
        self
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.links.append(&mut other.links);
        self.payments.append(&mut other.payments);
        self.subscriptions.append(&mut other.subscriptions);
        self.orders.append(&mut other.orders);
        self.pages.append(&mut other.pages);
    }
}

/// What is there of what was needed. What is not among it does not exist.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The links of the ids.
    pub links: Vec<(String, Link)>,
    /// The payments by key, by order, by page and by subscription. One may be there several times.
    pub payments: Vec<Payment>,
    /// The orders.
    pub orders: Vec<(String, Order)>,
    /// The pages of the orders.
    pub pages: Vec<Page>,
}

/// What is recorded beside an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOutcome {
    /// What became of it.
    pub outcome: Outcome,
    /// What changed, or why nothing did.
    pub reason: String,
    /// Why it counts for no order.
    pub ignored: Option<IgnoredReason>,
    /// Its payment, or the subscription that it is about.
    pub payment_key: Option<String>,
    /// Its order.
    pub order_id: Option<String>,
}

impl EventOutcome {
    /// The outcome of an event that counts for no order, with the payment and the order that it
    /// names: they show why the order is as it is.
    #[must_use]
    pub fn ignored(event: &Event, reason: IgnoredReason) -> Self {
        let payment = match event.reading() {
            Reading::Relevant(delta) => delta.facts.key(),
            Reading::Ignored(_) => None,
        };
        Self {
            outcome: Outcome::Ignored,
            reason: reason.to_string(),
            ignored: Some(reason),
            payment_key: payment.map(|key| key.id.clone()),
            order_id: event.order_id().map(str::to_owned),
        }
    }
}

/// One recorded change of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub order_id: String,
    /// Counts up from 1.
    pub version: i64,
    /// What there is to notify, e.g. `order.paid`.
    pub kinds: Vec<&'static str>,
    /// `None` for an order that this change made.
    pub from: Option<Status>,
    /// The state that it led to.
    pub to: OrderSnapshot,
    /// The last event that had a part in it; `None` if it was the shop's own change.
    pub event_id: Option<String>,
}

/// Parked events that an event has given an order to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unparked {
    /// All ids under which the payment's events may have been recorded.
    pub payment_keys: Vec<String>,
    /// The order.
    pub order_id: String,
    /// Whether the order has a row; else they stay parked until it has one.
    pub is_settled: bool,
    /// The event that names the order.
    pub event_id: String,
}

/// What is to be written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// What became of each event, in the order in which they were applied.
    pub outcomes: Vec<EventOutcome>,
    /// Payments to insert.
    pub new_payments: Vec<Payment>,
    /// Payments to update.
    pub payments: Vec<Payment>,
    /// Keys of payments that became part of another.
    pub merged: Vec<String>,
    /// Links to insert.
    pub new_links: Vec<(String, Link)>,
    /// Links to update.
    pub links: Vec<(String, Link)>,
    /// Orders to insert.
    pub new_orders: Vec<(String, Order)>,
    /// Orders to update.
    pub orders: Vec<(String, Order)>,
    /// Pages to insert or update.
    pub pages: Vec<Page>,
    /// Changes to record.
    pub changes: Vec<Change>,
    /// Orders whose parked events are settled: they have their row now.
    pub taken_up: Vec<String>,
    /// Parked events to settle.
    pub unparked: Vec<Unparked>,
}
