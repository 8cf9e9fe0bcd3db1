//! Who may ask Stripe for what was missed, and until where all is known: one row for all processes.
//!
//! A round is claimed for a while, and belongs to whoever claimed it last; no transaction is open
//! meanwhile. A process that dies in its round leaves a lease that ends. What a round does is left to
//! [`crate::recovery`].

pub mod postgres;
pub mod sqlite;

use sqlx::FromRow;

use super::{Session, StoreError, statements};

/// Where the rounds stand. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct RoundsRecord {
    /// Until when all is known, in Unix seconds of Stripe's clock; `None` before the first round.
    pub watermark: Option<i64>,
    /// When the next one is due; `None` at once.
    pub next_at: Option<i64>,
    /// When the last one came to its end.
    pub succeeded_at: Option<i64>,
}

/// A round that this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Round {
    /// Which one it is.
    pub claim: i64,
    /// Until when all is known.
    pub watermark: Option<i64>,
}

statements! {
    /// Where the rounds stand.
    rounds() -> RoundsRecord;
    /// Claims a round that is due and nobody else's, until then.
    claim_round(now: i64, until: i64) -> Option<Round>;
    /// Claims it for longer; tells whether it is still ours.
    extend_round(claim: i64, until: i64) -> u64;
    /// Ends a round that read all until this watermark; tells whether it was still ours.
    finish_round(claim: i64, watermark: Option<i64>, now: i64, next_at: i64) -> u64;
    /// Gives a round back that came to no end; another is due then.
    release_round(claim: i64, next_at: i64) -> u64;
}
