//! The rows as they are written and read, and how they become the types of [`crate::domain`].

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{Failure, StoreError};
use crate::domain::event::Event;
use crate::domain::order::{Due, OrderSnapshot, Problem, Status};
use crate::domain::payment::Facts;
use crate::domain::payment::dispute::{Dispute, DisputeStatus};
use crate::domain::rows::{EventOutcome, Link, Loaded, Order, Page, Payment};

/// The columns of an order but for its id and its times, of a row that `$row` names.
macro_rules! order_columns_but_times {
    ($row:literal) => {
        concat!(
            $row,
            ".status, ",
            $row,
            ".amount_due, ",
            $row,
            ".currency, ",
            $row,
            ".amount_received, ",
            $row,
            ".amount_refunded, ",
            $row,
            ".amount_disputed, ",
            $row,
            ".failure_code, ",
            $row,
            ".failure_message, ",
            $row,
            ".dispute, ",
            $row,
            ".disputes, ",
            $row,
            ".problem, ",
            $row,
            ".renewals, ",
            $row,
            ".refunds_failed, ",
            $row,
            ".customer_email, ",
            $row,
            ".email_written, ",
            $row,
            ".version, ",
            $row,
            ".announced, ",
            $row,
            ".weighed, ",
            $row,
            ".weighed_due, ",
            $row,
            ".weighed_currency, ",
            $row,
            ".currency_written",
        )
    };
}
pub(super) use order_columns_but_times;

/// Disputes by id.
pub type Disputes = BTreeMap<String, Dispute>;

/// An event to record, with what became of it.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// The event.
    pub event: &'a Event,
    /// What became of it.
    pub outcome: &'a EventOutcome,
}

/// One row of the outbox to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Whose change.
    pub order_id: String,
    /// Which change.
    pub version: i64,
    /// Who is to be told.
    pub destination: String,
}

/// An event that is recorded already.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Recorded {
    /// Its id.
    pub id: String,
    /// The bytes as they came; `None` once pruned.
    pub body: Option<Vec<u8>>,
}

/// What is there of some events and of what they need.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// The events that are recorded already.
    pub recorded: Vec<Recorded>,
    /// The orders that another session holds locked; they are not among the rows.
    pub locked: Vec<String>,
    /// The rows that the fold needs.
    pub loaded: Loaded,
}

/// An order for people to look at. Times are Unix seconds, `updated_at` milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRecord {
    /// The shop's id.
    pub id: String,
    /// The order.
    pub order: Order,
    /// When paidup last wrote it.
    pub updated_at: i64,
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ChangeRecord {
    /// Counts up from 1.
    pub version: i64,
    /// What there was to tell, separated by spaces.
    pub kinds: String,
    /// `None` for a new order.
    pub from_status: Option<String>,
    /// The status that it led to.
    pub to_status: String,
    /// The most pressing dispute, if any.
    pub dispute: Option<String>,
    /// All disputes, as [`disputes_of`] reads them.
    pub disputes: Option<String>,
    /// The problem, if any.
    pub problem: Option<String>,
    /// Minor units.
    pub amount_received: i64,
    /// Minor units.
    pub amount_refunded: i64,
    /// Minor units.
    pub amount_disputed: i64,
    /// Of the amounts.
    pub currency: Option<String>,
    /// The event that brought it.
    pub event_id: Option<String>,
    /// When it was committed, in milliseconds since 1970.
    pub at: i64,
}

/// A recorded event, without its body.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct EventRecord {
    /// `evt_…`
    pub id: String,
    /// Stripe's type.
    #[sqlx(rename = "type")]
    pub kind: String,
    /// The API version of its body.
    pub api_version: Option<String>,
    /// Live or test.
    pub livemode: bool,
    /// Stripe's time, in Unix seconds.
    pub created: Option<i64>,
    /// The payment that it spoke of when it came.
    pub payment_key: Option<String>,
    /// Its order.
    pub order_id: Option<String>,
    /// `applied`, `unchanged`, `parked` or `ignored`.
    pub outcome: String,
    /// What it changed, or why it did not.
    pub reason: Option<String>,
    /// How often another content came under its id.
    pub conflicts: i64,
    /// When it came, in milliseconds since 1970.
    pub received_at: i64,
}

/// A row of `payments`.
#[derive(Debug, FromRow)]
pub(super) struct PaymentRow {
    pub order_id: Option<String>,
    pub page: i64,
    pub facts: String,
}

/// A row of `payment_links`.
#[derive(Debug, FromRow)]
pub(super) struct LinkRow {
    pub id: String,
    pub payment_key: Option<String>,
    pub order_claim: Option<String>,
}

/// A row of `order_pages`.
#[derive(Debug, FromRow)]
pub(super) struct PageRow {
    pub order_id: String,
    pub page: i64,
    pub summary: String,
}

/// A row of `orders`.
#[derive(Debug, FromRow)]
pub(super) struct OrderRow {
    pub id: String,
    pub status: String,
    pub amount_due: Option<i64>,
    pub currency: Option<String>,
    pub amount_received: i64,
    pub amount_refunded: i64,
    pub amount_disputed: i64,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub dispute: Option<String>,
    pub disputes: Option<String>,
    pub problem: Option<String>,
    pub renewals: i64,
    pub refunds_failed: i64,
    pub customer_email: Option<String>,
    pub email_written: Option<String>,
    pub version: i64,
    pub announced: Option<i64>,
    pub weighed: bool,
    pub weighed_due: Option<i64>,
    pub weighed_currency: Option<String>,
    pub currency_written: Option<String>,
    pub paid_at: Option<i64>,
    pub failed_at: Option<i64>,
    pub refunded_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Refused(Failure::new(format!("{what} holds what paidup cannot read")))
}

impl TryFrom<PaymentRow> for Payment {
    type Error = StoreError;

    fn try_from(row: PaymentRow) -> Result<Self, StoreError> {
        let facts = serde_json::from_str(&row.facts).map_err(|_| unreadable("payments.facts"))?;
        Ok(Self { order_id: row.order_id, page: row.page, facts })
    }
}

impl TryFrom<LinkRow> for (String, Link) {
    type Error = StoreError;

    fn try_from(row: LinkRow) -> Result<Self, StoreError> {
        let claim = row.order_claim.as_deref().map(serde_json::from_str).transpose();
        let claim = claim.map_err(|_| unreadable("payment_links.order_claim"))?;
        Ok((row.id, Link { payment_key: row.payment_key, claim }))
    }
}

impl TryFrom<PageRow> for Page {
    type Error = StoreError;

    fn try_from(row: PageRow) -> Result<Self, StoreError> {
        let summary = serde_json::from_str(&row.summary);
        let summary = summary.map_err(|_| unreadable("order_pages.summary"))?;
        Ok(Self { order_id: row.order_id, page: row.page, summary })
    }
}

impl OrderRow {
    /// Whether the row was weighed since the shop last wrote it.
    fn is_weighed(&self) -> bool {
        self.weighed
            && self.amount_due == self.weighed_due
            && self.currency == self.currency_written
    }

    /// What the shop says is due. The currency in the row is what paidup wrote there, if the shop wrote
    /// none since: all money may have come in another one than the one due.
    fn due(&self) -> Option<Due> {
        let amount = self.amount_due?;
        let is_paidups = self.currency == self.currency_written;
        let written = self.weighed_currency.as_ref().filter(|_| is_paidups);
        let currency = written.or(self.currency.as_ref())?.clone();
        Some(Due { amount, currency })
    }
}

impl TryFrom<OrderRow> for OrderRecord {
    type Error = StoreError;

    fn try_from(row: OrderRow) -> Result<Self, StoreError> {
        let status = Status::ALL.into_iter().find(|status| status.name() == row.status);
        let dispute = named(row.dispute.as_deref(), DisputeStatus::ALL, DisputeStatus::name);
        let problem = named(row.problem.as_deref(), Problem::ALL, Problem::name);
        let (due, is_weighed) = (row.due(), row.is_weighed());
        let snapshot = OrderSnapshot {
            status: status.ok_or_else(|| unreadable("orders.status"))?,
            dispute: dispute.map_err(|()| unreadable("orders.dispute"))?,
            problem: problem.map_err(|()| unreadable("orders.problem"))?,
            amount_received: row.amount_received,
            amount_refunded: row.amount_refunded,
            amount_disputed: row.amount_disputed,
            // Of the amounts above; the shop may have written another one since.
            currency: row.currency_written.or(row.currency),
            disputes: disputes_of(row.disputes.as_deref())?,
            renewals: row.renewals,
            refunds_failed: row.refunds_failed,
        };
        let order = Order {
            due,
            is_weighed,
            snapshot,
            failure_code: row.failure_code,
            failure_message: row.failure_message,
            customer_email: row.customer_email,
            email_written: row.email_written,
            paid_at: row.paid_at,
            failed_at: row.failed_at,
            refunded_at: row.refunded_at,
            created_at: row.created_at,
            version: row.version,
            announced: row.announced,
        };
        Ok(Self { id: row.id, order, updated_at: row.updated_at })
    }
}

/// The disputes of an order, as the column holds them.
///
/// # Errors
/// If another program wrote what is there.
pub fn disputes_of(text: Option<&str>) -> Result<Disputes, StoreError> {
    let Some(text) = text else { return Ok(Disputes::new()) };
    serde_json::from_str(text).map_err(|_| unreadable("orders.disputes"))
}

/// The same to be written; `None` if there are none.
pub(super) fn disputes_text(disputes: &Disputes) -> Result<Option<String>, StoreError> {
    let text = (!disputes.is_empty()).then(|| serde_json::to_string(disputes)).transpose();
    text.map_err(|_| unreadable("a dispute"))
}

/// A page's summary as it is kept.
pub(super) fn summary_text(page: &Page) -> Result<String, StoreError> {
    serde_json::to_string(&page.summary).map_err(|_| unreadable("a page"))
}

fn named<T: Copy, const N: usize>(
    text: Option<&str>,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, ()> {
    let Some(text) = text else { return Ok(None) };
    all.into_iter().find(|one| name(*one) == text).map(Some).ok_or(())
}

/// Facts as they are kept. They are made of texts and numbers, which always can be written.
pub(super) fn facts_text(facts: &Facts) -> Result<String, StoreError> {
    serde_json::to_string(facts).map_err(|_| unreadable("a payment"))
}

/// A link's claim as it is kept.
pub(super) fn claim_text(link: &Link) -> Result<Option<String>, StoreError> {
    link.claim.as_ref().map(serde_json::to_string).transpose().map_err(|_| unreadable("a link"))
}
