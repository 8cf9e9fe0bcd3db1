//! The outbox, seen from the other side: what is due, who has claimed it, what became of it.
//!
//! The rows are written with the change that they tell of ([`super::transaction`]). Here they are
//! claimed, each for a while, and settled by whoever holds the newest claim. Neither needs a lock that
//! outlasts its statement, so any number of processes share the work. Sending is left to
//! [`crate::notify`].

pub mod postgres;
pub mod sqlite;

use sqlx::FromRow;

use super::{Session, StoreError, statements};

/// A delivery that this process alone may send, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Claim {
    /// The delivery.
    pub id: i64,
    /// Which claim of it this is. Only the newest may settle.
    pub claim: i64,
}

/// What there is to tell, as of its change, and to whom. Amounts are in minor units, times in
/// milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Telling {
    /// The delivery.
    pub id: i64,
    /// Whose change.
    pub order_id: String,
    /// Which change.
    pub version: i64,
    /// Attempts so far, with the one that this is for.
    pub attempts: i64,
    /// When the delivery was written.
    pub created_at: i64,
    /// What changed, separated by spaces.
    pub kinds: String,
    /// The status before; `None` for a new order.
    pub from_status: Option<String>,
    /// The status since.
    pub to_status: String,
    /// The most pressing dispute since.
    pub dispute: Option<String>,
    /// All disputes since, as [`super::records::disputes_of`] reads them.
    pub disputes: Option<String>,
    /// The problem since.
    pub problem: Option<String>,
    /// Received until then.
    pub amount_received: i64,
    /// Refunded until then.
    pub amount_refunded: i64,
    /// Withdrawn by disputes then.
    pub amount_disputed: i64,
    /// Of the amounts.
    pub currency: Option<String>,
    /// The event that brought the change.
    pub event_id: Option<String>,
    /// When it was committed.
    pub at: i64,
    /// What the shop says is due.
    pub amount_due: Option<i64>,
    /// Of what is due.
    pub due_currency: Option<String>,
    /// Why it failed, if that is still the newest change.
    pub failure_code: Option<String>,
    /// The same, in words.
    pub failure_message: Option<String>,
    /// The address, as the order has it now.
    pub customer_email: Option<String>,
    /// Whether this destination was told of a later change of the order already.
    pub is_overtaken: bool,
}

/// How a delivery is to be left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The claim under which it was tried.
    pub claim: Claim,
    /// What became of it.
    pub end: End,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was told.
    Sent,
    /// There is nobody to tell, for this reason.
    Skipped(String),
    /// It is to be tried again then, in milliseconds; with what went wrong.
    Again(i64, String),
    /// It was not tried at all; whoever can may do so from then on.
    Released(i64),
    /// It is given up, with what went wrong.
    Dead(String),
}

/// An [`End`] as the columns that it sets.
struct Columns<'a> {
    status: &'static str,
    /// `None` if it is settled.
    next_attempt_at: Option<i64>,
    /// `None` leaves what stands there.
    error: Option<&'a str>,
    /// What the claim counted as an attempt and was none.
    untried: i64,
}

impl End {
    fn columns(&self) -> Columns<'_> {
        let (status, next_attempt_at, error, untried) = match self {
            Self::Sent => ("sent", None, Some(""), 0),
            Self::Skipped(why) => ("skipped", None, Some(why.as_str()), 0),
            Self::Again(at, why) => ("waiting", Some(*at), Some(why.as_str()), 0),
            Self::Released(at) => ("waiting", Some(*at), None, 1),
            Self::Dead(why) => ("dead", None, Some(why.as_str()), 0),
        };
        Columns { status, next_attempt_at, error, untried }
    }
}

/// A delivery for people to look at. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeliveryRecord {
    /// Its number.
    pub id: i64,
    /// Whose change.
    pub order_id: String,
    /// Which change.
    pub version: i64,
    /// What changed, separated by spaces.
    pub kinds: String,
    /// Who is to be told.
    pub destination: String,
    /// `waiting`, `sent`, `skipped` or `dead`.
    pub status: String,
    /// Attempts so far.
    pub attempts: i64,
    /// When it is due; while an attempt runs, when its lease ends.
    pub next_attempt_at: i64,
    /// When the running attempt began.
    pub claimed_at: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: i64,
    /// When it was sent, skipped or given up.
    pub settled_at: Option<i64>,
}

/// How many deliveries of a destination have a status.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Tally {
    /// Its name.
    pub destination: String,
    /// `waiting`, `sent`, `skipped` or `dead`.
    pub status: String,
    /// How many.
    pub count: i64,
    /// When the oldest of them was written, in milliseconds.
    pub oldest_at: i64,
}

/// A destination that nothing is sent to until an operator says so.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Disabled {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds.
    pub disabled_at: i64,
}

statements! {
    /// Begins a transaction in which claims are made and settled, beside whoever folds.
    begin_outbox() -> ();
    /// Which of these destinations have something due, and are not disabled.
    due_destinations(names: &[&str], now: i64) -> Vec<String>;
    /// Claims what is due for one destination, the longest due first, at most so many.
    claim_deliveries(destination: &str, limit: i64, now: i64, until: i64) -> Vec<Claim>;
    /// What there is to tell in these deliveries.
    tellings(ids: &[i64]) -> Vec<Telling>;
    /// Settles attempts; tells the deliveries that it did it for. The others have a newer claim.
    settle_deliveries(settlements: &[Settlement], now: i64) -> Vec<i64>;
    /// Sends nothing more to a destination.
    disable_destination(name: &str, reason: &str, now: i64) -> ();
    /// Sends to it again; tells whether it was disabled.
    enable_destination(name: &str) -> u64;
    /// The names of all destinations that have something waiting, whoever they are.
    waiting_destinations() -> Vec<String>;
    /// All destinations that are disabled.
    disabled_destinations() -> Vec<Disabled>;
    /// Since when each of these destinations has been waiting; those that are not, are left out.
    oldest_waiting(names: &[&str]) -> Vec<(String, i64)>;
    /// Deletes what was settled before (milliseconds), at most so many; tells how many.
    prune_deliveries(until: i64, limit: i64) -> u64;

    /// One delivery.
    delivery(id: i64) -> Option<DeliveryRecord>;
    /// The newest deliveries, of one status, of one destination.
    deliveries(status: Option<&str>, destination: Option<&str>, limit: i64) -> Vec<DeliveryRecord>;
    /// How many there are, by destination and status.
    tallies() -> Vec<Tally>;
    /// Makes a delivery due as if it were new, unless an attempt runs; tells whether it did.
    retry_delivery(id: i64, now: i64) -> u64;
    /// The same for all that are dead, of one destination or all; tells how many.
    retry_dead(destination: Option<&str>, now: i64) -> u64;
}
