//! Folds what is recorded once more, in the same kind of transaction as what comes.
//!
//! Joining facts is idempotent, so an event that was folded already changes nothing. One that this
//! paidup reads better than the one that recorded it, or that another setting let pass, now has its
//! effect; its change is recorded and told as any other. What stands beside an event only rises, from
//! ignored over parked and unchanged to applied: that it once changed its order stays true.

use std::collections::HashMap;

use bytes::Bytes;

use super::archive::{NewOutcome, StoredEvent};
use super::transaction::{Rules, load, write};
use super::{Session, StoreError};
use crate::domain::event::Event;
use crate::domain::order_ids::OrderIdRules;
use crate::domain::origin::Stored;
use crate::domain::outcome::Outcome;
use crate::domain::rows::{Change, EventOutcome};
use crate::domain::working_set::WorkingSet;

/// The most events of one transaction.
pub const REPLAY_EVENTS_MAX: usize = 64;

/// Whether to keep what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Commit it.
    Commit,
    /// Take it back, after a look at it.
    DryRun,
}

/// What a recorded event came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// It is as it was.
    Same,
    /// Something else became of it than before.
    Moved {
        /// What stood beside it.
        was: String,
        /// What stands there now.
        is: &'static str,
        /// Why.
        reason: String,
    },
    /// Its body was pruned.
    NoBody,
    /// Its body cannot be read any more. Only another program can have written it.
    Unreadable,
}

/// One event of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedEvent {
    /// Its id.
    pub id: String,
    /// Stripe's type.
    pub kind: String,
    /// What it came to.
    pub again: Again,
}

/// What a transaction did, or would do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The events, in the order of their ids. What is not recorded is not among them.
    pub events: Vec<ReplayedEvent>,
    /// The changes of orders.
    pub changes: Vec<Change>,
}

/// Folds these events once more, in one transaction. `now` is in milliseconds.
///
/// # Errors
/// Any [`StoreError`]; nothing is written then.
pub async fn replay(
    session: &mut Session,
    rules: &Rules,
    ids: &[String],
    now: i64,
    keep: Keep,
) -> Result<Replayed, StoreError> {
    session.begin().await?;
    let stored = session.stored_events(ids).await?;
    let read: HashMap<&str, Event> = stored
        .iter()
        .filter_map(|stored| {
            Some((stored.id.as_str(), read_again(stored, &rules.policy.order_ids)?))
        })
        .collect();
    let events: Vec<&Event> = stored.iter().filter_map(|one| read.get(one.id.as_str())).collect();

    let mut working_set = WorkingSet::new(rules.policy.clone());
    load(session, &mut working_set, &events, &[]).await?;
    for event in &events {
        working_set.apply(event);
    }
    let changes = working_set.finish();
    let mut replayed = Replayed::default();
    let mut outcomes = Vec::new();
    let mut applied = changes.outcomes.iter();
    for stored in &stored {
        let is_read = read.contains_key(stored.id.as_str());
        let outcome = if is_read { applied.next() } else { None };
        let again = again(stored, outcome);
        if let (Again::Moved { .. }, Some(outcome)) = (&again, outcome) {
            outcomes.push(new_outcome(stored, outcome.clone()));
        }
        let (id, kind) = (stored.id.clone(), stored.kind.clone());
        replayed.events.push(ReplayedEvent { id, kind, again });
    }
    replayed.changes.clone_from(&changes.changes);
    if keep == Keep::DryRun {
        session.rollback().await?;
        return Ok(replayed);
    }
    if !outcomes.is_empty() {
        session.update_outcomes(&outcomes).await?;
    }
    write(session, rules, &[], &changes, now).await?;
    session.commit().await?;
    Ok(replayed)
}

fn read_again(stored: &StoredEvent, order_ids: &OrderIdRules) -> Option<Event> {
    let body = Bytes::copy_from_slice(stored.body.as_deref()?);
    let body = Stored::in_our_table_of_events(body, stored.received_at.div_euclid(1000));
    Event::read_again(&body, order_ids).ok()
}

fn again(stored: &StoredEvent, outcome: Option<&EventOutcome>) -> Again {
    match outcome {
        None if stored.body.is_none() => Again::NoBody,
        None => Again::Unreadable,
        Some(outcome) if Some(outcome.outcome) > Outcome::named(&stored.outcome) => Again::Moved {
            was: stored.outcome.clone(),
            is: outcome.outcome.name(),
            reason: outcome.reason.clone(),
        },
        Some(_) => Again::Same,
    }
}

fn new_outcome(stored: &StoredEvent, outcome: EventOutcome) -> NewOutcome {
    NewOutcome {
        event_id: stored.id.clone(),
        outcome: outcome.outcome.name(),
        reason: outcome.reason,
        payment_key: outcome.payment_key,
        order_id: outcome.order_id,
    }
}
