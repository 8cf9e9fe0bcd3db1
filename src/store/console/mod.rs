//! What the console keeps and reads that nobody else does: how much came in which minute, what there
//! is of everything, by which secret events were proven, and who is logged in.
//!
//! What is asked again and again costs the same whatever the tables hold: minutes are added up as events
//! are recorded, and what waits is counted only so far. [`Session::order_totals`] alone reads a whole
//! table; how often is left to the console.

pub mod postgres;
pub mod sqlite;

use sqlx::FromRow;

use super::transaction::Answer;
use super::{Session, StoreError, statements};
use crate::domain::outcome::Outcome;

/// Events that were recorded in a span of minutes and came to the same.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Span {
    /// When it began, in spans since 1970.
    pub span: i64,
    /// One of [`Outcome::ALL`].
    pub outcome: String,
    /// How many.
    pub events: i64,
}

/// All orders of one status and currency. Amounts are in minor units.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OrderTotal {
    /// The status.
    pub status: String,
    /// The currency, if one is known.
    pub currency: Option<String>,
    /// How many.
    pub orders: i64,
    /// How many of them have a problem.
    pub problems: i64,
    /// How many of them have a dispute that is neither won nor prevented.
    pub disputes: i64,
    /// Received.
    pub received: i64,
    /// Refunded.
    pub refunded: i64,
    /// Withdrawn by disputes.
    pub disputed: i64,
}

/// How much waits for something, each counted only so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Backlog {
    /// Events that wait for their order.
    pub parked: i64,
    /// Notifications that wait to be sent.
    pub waiting: i64,
    /// Notifications that were given up.
    pub dead: i64,
}

/// When events were last proven by a secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SecretUse {
    /// Its last four characters.
    pub last4: String,
    /// In milliseconds since 1970.
    pub used_at: i64,
}

/// What differs whenever something was recorded or told since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Pulse {
    /// When the newest event was recorded, in milliseconds since 1970.
    pub event_at: Option<i64>,
    /// The events of its minute.
    pub minute_events: Option<i64>,
    /// The number of the last change of an order.
    pub change: Option<i64>,
    /// When a notification was last settled, in milliseconds since 1970.
    pub settled_at: Option<i64>,
}

statements! {
    /// Adds to this minute (`now` is in milliseconds) what events came to, and how many, and commits.
    count_and_commit(counts: &[(&'static str, i64)], now: i64) -> ();
    /// Events from this minute on, in spans of so many minutes, in their order.
    events_by_span(from_minute: i64, minutes: i64) -> Vec<Span>;
    /// What may have changed.
    pulse() -> Pulse;
    /// Forgets the minutes before this one.
    prune_minutes(until_minute: i64) -> u64;
    /// All orders by status and currency. Reads the whole table.
    order_totals() -> Vec<OrderTotal>;
    /// How much waits, each counted up to so many.
    backlog(limit: i64) -> Backlog;
    /// Remembers when secrets (their last four characters) were used, in milliseconds.
    note_secret_uses(uses: &[(&str, i64)]) -> ();
    /// When which secret was used, the latest first.
    secret_uses() -> Vec<SecretUse>;
    /// Opens a session of the console until then (seconds), and forgets those that are over.
    open_console_session(cookie_hash: &[u8], expires_at: i64, now: i64) -> ();
    /// Whether there is such a session.
    console_session_is_open(cookie_hash: &[u8], now: i64) -> bool;
    /// Ends a session.
    close_console_session(cookie_hash: &[u8]) -> ();
}

/// What a batch came to: outcomes, and how many there are of each.
#[must_use]
pub fn counts(answers: &[Answer]) -> Vec<(&'static str, i64)> {
    let count = |outcome: &Outcome| {
        answers.iter().filter(|answer| answer.outcome == *outcome).count() as i64
    };
    let counts = Outcome::ALL.iter().map(|outcome| (outcome.name(), count(outcome)));
    counts.filter(|(_, count)| *count > 0).collect()
}
