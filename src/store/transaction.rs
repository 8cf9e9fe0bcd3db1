//! The one way that anything is written: begin, load, fold, write, commit.
//!
//! [`record`] does it for events, [`take_up`] for orders that the shop has inserted since. Each is one
//! transaction; on an error nothing of it is written, and the session is to be rolled back or dropped.

use std::collections::{HashMap, HashSet};

use super::console::counts;
use super::inserts::NewRows;
use super::records::{NewDelivery, NewEvent};
use super::{Recorded, Session, StoreError};
use crate::domain::event::Event;
use crate::domain::ledger::{Ledger, Outcome, Policy, UnknownOrders, Verdict, Writes};

/// The most orders that one [`take_up`] takes.
pub const TAKE_UP_ORDERS_MAX: i64 = 100;

/// Whom to tell of changes. A row of the outbox is written for each change that one wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The kinds of change that it wants, e.g. `order.paid`.
    pub wants: Vec<String>,
}

/// How to fold, and whom to tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The operator's choices.
    pub policy: Policy,
    /// Whom to tell.
    pub destinations: Vec<Destination>,
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Landed {
    /// It is recorded now.
    New(Verdict),
    /// It was recorded before.
    Duplicate {
        /// It says something else than the first one under its id, which counts.
        differs: bool,
    },
}

/// Records events in one transaction, and answers for each what it came to. `now` is in milliseconds.
///
/// # Errors
/// Any [`StoreError`]. Only after `Ok` is anything written, and then all of it is.
pub async fn record(
    session: &mut Session,
    rules: &Rules,
    events: &[&Event],
    now: i64,
) -> Result<Vec<Landed>, StoreError> {
    session.begin().await?;
    record_and_commit(session, rules, events, now).await
}

/// The same in a transaction that has begun: what is recorded can be chosen when no other holds it up.
///
/// # Errors
/// As for [`record`].
pub async fn record_and_commit(
    session: &mut Session,
    rules: &Rules,
    events: &[&Event],
    now: i64,
) -> Result<Vec<Landed>, StoreError> {
    let ids: Vec<&str> = events.iter().map(|event| event.id()).collect();
    let mut ledger = Ledger::new(rules.policy);
    // What those need that are recorded already comes along: they are few, and it is one round trip.
    let needs = ledger.needs(events.iter().copied(), []);
    let found = session.find(&ids, &needs).await?;
    let sorted = Sorted::of(events, &found.recorded);
    ledger.load(needs, found.links, found.payments, found.orders);
    load(session, &mut ledger, &[], &[]).await?;
    let outcomes: Vec<Outcome> = sorted.new.iter().map(|event| ledger.apply(event)).collect();
    let rows = sorted.new.iter().zip(&outcomes);
    let rows: Vec<NewEvent<'_>> =
        rows.map(|(event, outcome)| NewEvent { event, outcome }).collect();
    write(session, rules, &rows, &ledger.finish(), now).await?;
    if !sorted.conflicts.is_empty() {
        session.count_conflicts(&sorted.conflicts).await?;
    }
    let mut verdicts = outcomes.iter().map(|outcome| outcome.verdict);
    let landed = sorted.landed.into_iter();
    let landed: Vec<Landed> = landed
        .filter_map(|duplicate| duplicate.or_else(|| verdicts.next().map(Landed::New)))
        .collect();
    session.count_and_commit(&counts(&landed), now).await?;
    Ok(landed)
}

/// Takes up orders that parked events wait for, once their rows are there; says which.
///
/// # Errors
/// As for [`record`].
pub async fn take_up(
    session: &mut Session,
    rules: &Rules,
    now: i64,
) -> Result<Vec<String>, StoreError> {
    let may_create = rules.policy.unknown_orders == UnknownOrders::Create;
    // Mostly there are none, and then nobody need wait for the lock.
    if session.held_orders(may_create, 1).await?.is_empty() {
        return Ok(Vec::new());
    }
    session.begin().await?;
    let orders = session.held_orders(may_create, TAKE_UP_ORDERS_MAX).await?;
    let mut ledger = Ledger::new(rules.policy);
    load(session, &mut ledger, &[], &orders).await?;
    for order in &orders {
        ledger.take_up(order);
    }
    write(session, rules, &[], &ledger.finish(), now).await?;
    session.settle_held(&orders, "applied when the order had its row").await?;
    session.commit().await?;
    Ok(orders)
}

/// Events by what is to be done with them.
struct Sorted<'a> {
    /// Not recorded yet, each id once.
    new: Vec<&'a Event>,
    /// For each event given: `None` if it is among the new ones.
    landed: Vec<Option<Landed>>,
    /// The ids under which something else came.
    conflicts: Vec<&'a str>,
}

impl<'a> Sorted<'a> {
    fn of(events: &[&'a Event], recorded: &[Recorded]) -> Self {
        let recorded: HashMap<&str, Option<&[u8]>> =
            recorded.iter().map(|known| (known.id.as_str(), known.body.as_deref())).collect();
        let mut sorted = Self { new: Vec::new(), landed: Vec::new(), conflicts: Vec::new() };
        let mut firsts: HashMap<&str, &Event> = HashMap::new();
        for event in events {
            let differs = if let Some(body) = recorded.get(event.id()) {
                // A body that was pruned cannot be compared any more.
                body.is_some_and(|body| !event.says_the_same_as(body))
            } else if let Some(first) = firsts.get(event.id()) {
                !event.says_the_same_as(first.body())
            } else {
                firsts.insert(event.id(), event);
                sorted.new.push(event);
                sorted.landed.push(None);
                continue;
            };
            if differs {
                sorted.conflicts.push(event.id());
            }
            sorted.landed.push(Some(Landed::Duplicate { differs }));
        }
        sorted
    }
}

/// Loads what the fold needs, and what that turns out to need.
pub(super) async fn load(
    session: &mut Session,
    ledger: &mut Ledger,
    events: &[&Event],
    orders: &[String],
) -> Result<(), StoreError> {
    let mut needs = ledger.needs(events.iter().copied(), orders.iter().map(String::as_str));
    while !needs.is_empty() {
        let found = session.find(&[], &needs).await?;
        ledger.load(needs, found.links, found.payments, found.orders);
        // What the events and orders need is there now.
        needs = ledger.needs([], []);
    }
    Ok(())
}

/// Writes what a fold came to, and the events that it was for.
pub(super) async fn write(
    session: &mut Session,
    rules: &Rules,
    events: &[NewEvent<'_>],
    writes: &Writes,
    now: i64,
) -> Result<(), StoreError> {
    if !writes.merged.is_empty() {
        session.delete_payments(&writes.merged).await?;
    }
    if !writes.payments.is_empty() {
        session.update_payments(&writes.payments).await?;
    }
    if !writes.links.is_empty() {
        session.update_links(&writes.links).await?;
    }
    if !writes.orders.is_empty() {
        session.update_orders(&writes.orders, now).await?;
    }
    let deliveries = deliveries(rules, writes);
    let rows = NewRows {
        events,
        payments: &writes.new_payments,
        links: &writes.new_links,
        orders: &writes.new_orders,
        changes: &writes.changes,
        deliveries: &deliveries,
    };
    if !rows.is_empty() {
        session.insert(&rows, now).await?;
    }
    if !writes.joins.is_empty() {
        session.join_parked(&writes.joins).await?;
    }
    Ok(())
}

/// One row for each change and each destination that wants it.
fn deliveries(rules: &Rules, writes: &Writes) -> Vec<NewDelivery> {
    let mut deliveries = Vec::new();
    for change in &writes.changes {
        let kinds: HashSet<&str> = change.kinds.iter().copied().collect();
        for destination in &rules.destinations {
            if destination.wants.iter().any(|wanted| kinds.contains(wanted.as_str())) {
                deliveries.push(NewDelivery {
                    order_id: change.order_id.clone(),
                    version: change.version,
                    destination: destination.name.clone(),
                });
            }
        }
    }
    deliveries
}
