//! What operators look at: lists of orders, events and deliveries that begin at the newest, a search, and
//! the stream of changes.
//!
//! A page begins where the last one ended, by the place of its last row and never by count. And a list
//! costs what its page does, however many rows fit and however few: it is merged from the newest of each
//! kind of row that fits, and an index leads to each. How that is shown is left to [`crate::http`].

pub mod postgres;
pub mod sqlite;

use sqlx::FromRow;

use super::outbox::DeliveryRecord;
use super::records::OrderRow;
use super::{ChangeRecord, EventRecord, OrderRecord, Session, StoreError, statements};
use crate::domain::order::{Problem, Status};
use crate::domain::outcome::Outcome;

/// The most rows of a page.
pub const PAGE_ROWS_MAX: i64 = 500;

/// The place of a row in its list; a page begins after it. One that no page gave finds something or
/// nothing, and does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time, as exactly as the database has it.
    at: String,
    /// Its id.
    id: String,
}

impl Cursor {
    /// Reads what [`Self::to_string`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('~')?;
        Some(Self { at: at.to_owned(), id: id.to_owned() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}", self.at, self.id)
    }
}

/// A page, the newest row first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C = Cursor> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Of rows of which one more was asked for than the page has: that one tells that there is a next page.
    pub(crate) fn of(mut rows: Vec<T>, limit: i64, place: impl FnOnce(&T) -> C) -> Self {
        let has_more = rows.len() as u64 > limit.unsigned_abs();
        if has_more {
            rows.pop();
        }
        let next = rows.last().filter(|_| has_more).map(place);
        Self { rows, next }
    }
}

/// Which orders to list. `None` fits all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OrderFilter {
    /// Of this status.
    pub status: Option<Status>,
    /// With this problem.
    pub problem: Option<ProblemFilter>,
}

/// Which problem an order is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemFilter {
    /// Any.
    Any,
    /// This one.
    Is(Problem),
}

/// Which events to list. `None` fits all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this type.
    pub kind: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
}

/// Which deliveries to list. `None` fits all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// `waiting`, `sent`, `skipped` or `dead`.
    pub status: Option<String>,
    /// To this one.
    pub destination: Option<String>,
}

/// An outcome and a type that events have.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct EventKind {
    /// What became of them.
    pub outcome: String,
    /// Stripe's type.
    #[sqlx(rename = "type")]
    pub kind: String,
}

/// A status and a destination that deliveries have.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeliveryKind {
    /// `waiting`, `sent`, `skipped` or `dead`.
    pub status: String,
    /// Its name.
    pub destination: String,
}

/// An event with its body.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct EventWithBody {
    /// What is recorded beside the body.
    #[sqlx(flatten)]
    pub event: EventRecord,
    /// The bytes as they came; `None` once pruned.
    pub body: Option<Vec<u8>>,
}

/// A change with its place among all changes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StreamedChange {
    /// Counts up in the order of the commits. Numbers may be left out, and are never filled in later.
    pub sequence: i64,
    /// Whose change.
    pub order_id: String,
    /// The change.
    #[sqlx(flatten)]
    pub change: ChangeRecord,
}

/// A row with its place in the list.
#[derive(Debug)]
pub struct Listed<T> {
    row: T,
    cursor: Cursor,
}

#[derive(Debug, FromRow)]
struct ListedOrderRow {
    #[sqlx(flatten)]
    order: OrderRow,
    cursor_at: String,
}

impl TryFrom<ListedOrderRow> for Listed<OrderRecord> {
    type Error = StoreError;

    fn try_from(row: ListedOrderRow) -> Result<Self, StoreError> {
        let cursor = Cursor { at: row.cursor_at, id: row.order.id.clone() };
        Ok(Self { row: row.order.try_into()?, cursor })
    }
}

#[derive(Debug, FromRow)]
struct ListedEventRow {
    #[sqlx(flatten)]
    event: EventRecord,
    cursor_at: String,
}

impl From<ListedEventRow> for Listed<EventRecord> {
    fn from(row: ListedEventRow) -> Self {
        let cursor = Cursor { at: row.cursor_at, id: row.event.id.clone() };
        Self { row: row.event, cursor }
    }
}

statements! {
    /// Orders of any of these statuses, the last made first, after this place.
    listed_orders(statuses: &[&str], after: Option<&Cursor>, limit: i64) -> Vec<Listed<OrderRecord>>;
    /// The same of those with any of these problems.
    listed_problems(problems: &[&str], statuses: &[&str], after: Option<&Cursor>, limit: i64) -> Vec<Listed<OrderRecord>>;
    /// The orders that have this id, or a payment with it (PaymentIntent, charge, Checkout Session,
    /// invoice, subscription), or this address, in small letters or large ones. The order of that id
    /// stands first, then the last made.
    orders_found(term: &str, limit: i64) -> Vec<OrderRecord>;
    /// Which outcomes and types events have, in their order.
    event_kinds() -> Vec<EventKind>;
    /// Events of any of these kinds, the last received first, after this place.
    listed_events(kinds: &[EventKind], after: Option<&Cursor>, limit: i64) -> Vec<Listed<EventRecord>>;
    /// One event with its body.
    event(id: &str) -> Option<EventWithBody>;
    /// Which statuses and destinations deliveries have, in their order.
    delivery_kinds() -> Vec<DeliveryKind>;
    /// Deliveries of any of these kinds, the last written first, those with a smaller number than this.
    listed_deliveries(kinds: &[DeliveryKind], after: Option<i64>, limit: i64) -> Vec<DeliveryRecord>;
    /// The deliveries of an order, as they were written.
    order_deliveries(id: &str) -> Vec<DeliveryRecord>;
    /// The changes after this one, in the order of their commits, at most so many.
    changes_after(sequence: i64, limit: i64) -> Vec<StreamedChange>;
    /// The number of the last change; 0 if there is none.
    last_change() -> i64;
}

/// A page of orders, the last made first. Of `limit` rows, [`PAGE_ROWS_MAX`] at most.
///
/// # Errors
/// Any [`StoreError`].
pub async fn orders_page(
    session: &mut Session,
    filter: OrderFilter,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Page<OrderRecord>, StoreError> {
    let statuses: Vec<&str> = match filter.status {
        Some(status) => vec![status.name()],
        None => Status::ALL.map(Status::name).to_vec(),
    };
    let problems: Vec<&str> = match filter.problem {
        None => Vec::new(),
        Some(ProblemFilter::Any) => Problem::ALL.map(Problem::name).to_vec(),
        Some(ProblemFilter::Is(problem)) => vec![problem.name()],
    };
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let rows = if problems.is_empty() {
        session.listed_orders(&statuses, after, limit + 1).await?
    } else {
        session.listed_problems(&problems, &statuses, after, limit + 1).await?
    };
    Ok(page(rows, limit))
}

/// A page of events, the last received first. Of `limit` rows, [`PAGE_ROWS_MAX`] at most.
///
/// # Errors
/// Any [`StoreError`].
pub async fn events_page(
    session: &mut Session,
    filter: &EventFilter,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Page<EventRecord>, StoreError> {
    let outcome = filter.outcome.map(Outcome::name);
    let mut kinds: Vec<EventKind> = match &filter.kind {
        Some(kind) => {
            let outcomes = Outcome::RECORDED.map(Outcome::name).into_iter();
            outcomes
                .map(|outcome| EventKind { outcome: outcome.to_owned(), kind: kind.clone() })
                .collect()
        }
        None => session.event_kinds().await?,
    };
    kinds.retain(|kind| outcome.is_none_or(|outcome| kind.outcome == outcome));
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    Ok(page(session.listed_events(&kinds, after, limit + 1).await?, limit))
}

/// A page of deliveries, the last written first. Of `limit` rows, [`PAGE_ROWS_MAX`] at most.
///
/// # Errors
/// Any [`StoreError`].
pub async fn deliveries_page(
    session: &mut Session,
    filter: &DeliveryFilter,
    after: Option<i64>,
    limit: i64,
) -> Result<Page<DeliveryRecord, i64>, StoreError> {
    let fits =
        |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let mut kinds = session.delivery_kinds().await?;
    kinds.retain(|kind| {
        fits(&filter.status, &kind.status) && fits(&filter.destination, &kind.destination)
    });
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let rows = session.listed_deliveries(&kinds, after, limit + 1).await?;
    Ok(Page::of(rows, limit, |last| last.id))
}

fn page<T>(listed: Vec<Listed<T>>, limit: i64) -> Page<T> {
    let Page { rows, next } = Page::of(listed, limit, |last| last.cursor.clone());
    Page { rows: rows.into_iter().map(|listed| listed.row).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for (at, id) in [("1795452931123000", "O~1"), ("2026-11-23T16:55:31Z", ""), ("", "x")] {
            let cursor = Cursor { at: at.to_owned(), id: id.to_owned() };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor), "{at} {id}");
        }
        assert_eq!(Cursor::parse("O1"), None);
    }
}
