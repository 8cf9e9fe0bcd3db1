//! The one way that anything is written: begin, load, fold, write, commit.
//!
//! [`record`] does it for events, [`weigh`] for orders that the shop has written since. Each is one
//! transaction; on an error nothing of it is written, and the session is to be rolled back or dropped.

use std::collections::{HashMap, HashSet};

use super::console::counts;
use super::inserts::NewRows;
use super::records::{NewDelivery, NewEvent};
use super::stock::{Start, Stock};
use super::{Recorded, Session, StoreError};
use crate::domain::event::Event;
use crate::domain::outcome::{IgnoredReason, Outcome};
use crate::domain::policy::Policy;
use crate::domain::rows::{ChangeSet, EventOutcome, Loaded, Needs};
use crate::domain::working_set::WorkingSet;

/// The most orders that are weighed in one transaction.
pub const WEIGH_ORDERS_MAX: i64 = 100;

/// Whom to tell of changes. A row of the outbox is written for each change that one wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The kinds of change that it wants, e.g. `order.paid`.
    pub wants: Vec<String>,
}

/// How to fold, and whom to tell.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    /// The operator's choices.
    pub policy: Policy,
    /// Whom to tell.
    pub destinations: Vec<Destination>,
}

/// What became of one delivery of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// A duplicate that says something else than the first body under its id, which counts.
    pub differs: bool,
    /// Why it counts for no order.
    pub ignored: Option<IgnoredReason>,
}

/// Records events in one transaction, and answers for each what it came to. `now` is in milliseconds.
///
/// # Errors
/// Any [`StoreError`]; [`StoreError::Held`] if another session holds an order that is needed. Only after
/// `Ok` is anything written, and then all of it is.
pub async fn record(
    session: &mut Session,
    rules: &Rules,
    events: &[&Event],
    now: i64,
) -> Result<Vec<Answer>, StoreError> {
    session.begin().await?;
    let prepared = Prepared::load(session, rules, events).await?;
    if prepared.is_locked {
        return Err(StoreError::Held);
    }
    commit(session, rules, prepared.working_set, &prepared.sorted, now).await
}

/// How sure it is that no other session is about to insert an order of these events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// Mostly none is. If one is, the transaction fails.
    Trusting,
    /// It is found out, order by order, and the events of such an order are left out too.
    Careful,
}

/// Records those events in a transaction that has begun for which no other session holds an order, and
/// commits it. The others have no answer; nothing of them is recorded.
///
/// # Errors
/// As for [`record`].
pub async fn record_free_and_commit(
    session: &mut Session,
    rules: &Rules,
    events: &[&Event],
    caution: Caution,
    now: i64,
) -> Result<Vec<Option<Answer>>, StoreError> {
    let prepared = Prepared::load(session, rules, events).await?;
    if !prepared.is_locked && caution == Caution::Trusting {
        let answers = commit(session, rules, prepared.working_set, &prepared.sorted, now).await?;
        return Ok(answers.into_iter().map(Some).collect());
    }
    let starts: Vec<Start<'_>> = prepared.sorted.folded().map(Start::Event).collect();
    let mut stock = Stock::load(session, &rules.policy, &starts).await?;
    if caution == Caution::Careful {
        stock.probe(session).await?;
    }
    // One that waits keeps what else came under its id waiting: the first of them counts.
    let waits = |event: &&Event| !stock.is_free(&rules.policy, Start::Event(event));
    let waiting: HashSet<&str> = prepared.sorted.folded().filter(waits).map(Event::id).collect();
    let is_free = |event: &Event| !waiting.contains(event.id());
    let free: Vec<&Event> = events.iter().copied().filter(|event| is_free(event)).collect();
    let mut answers = if free.is_empty() {
        session.rollback().await?;
        Vec::new()
    } else {
        let sorted = Sorted::of(&free, &prepared.recorded, rules);
        let starts: Vec<Start<'_>> = sorted.folded().map(Start::Event).collect();
        let working_set = stock.working_set(&rules.policy, &starts).ok_or(StoreError::Held)?;
        commit(session, rules, working_set, &sorted, now).await?
    }
    .into_iter();
    Ok(events.iter().map(|event| if is_free(event) { answers.next() } else { None }).collect())
}

/// Events, and all the rows that they need.
struct Prepared<'a> {
    working_set: WorkingSet,
    sorted: Sorted<'a>,
    /// Those of the events that are recorded already.
    recorded: Vec<Recorded>,
    /// Whether another session holds an order that is needed.
    is_locked: bool,
}

impl<'a> Prepared<'a> {
    async fn load(
        session: &mut Session,
        rules: &Rules,
        events: &[&'a Event],
    ) -> Result<Self, StoreError> {
        let ids: Vec<&str> = events.iter().map(|event| event.id()).collect();
        let mut working_set = WorkingSet::new(rules.policy.clone());
        // What those need that are recorded already comes along: they are few, and it is one round trip.
        let needs = working_set.needs(events.iter().copied(), []);
        let found = session.find(&ids, &needs).await?;
        let sorted = Sorted::of(events, &found.recorded, rules);
        working_set.load(needs, found.loaded);
        let of_subscriptions =
            events.iter().copied().filter(|event| event.names_a_subscriptions_order());
        let needs = working_set.needs(of_subscriptions, []);
        let locked = load_around_locks(session, &mut working_set, events, needs).await?;
        let is_locked = !found.locked.is_empty() || !locked.is_empty();
        Ok(Self { working_set, sorted, recorded: found.recorded, is_locked })
    }
}

/// Folds the events, writes what that comes to, and commits.
async fn commit(
    session: &mut Session,
    rules: &Rules,
    mut working_set: WorkingSet,
    sorted: &Sorted<'_>,
    now: i64,
) -> Result<Vec<Answer>, StoreError> {
    for event in &sorted.new {
        working_set.apply(event);
    }
    for event in &sorted.conflicts {
        working_set.apply_links(event);
    }
    let changes = working_set.finish();
    let rows = sorted.new.iter().zip(&changes.outcomes);
    let rows: Vec<NewEvent<'_>> =
        rows.map(|(event, outcome)| NewEvent { event, outcome }).collect();
    write(session, rules, &rows, &changes, now).await?;
    if !sorted.conflicts.is_empty() {
        let ids: Vec<&str> = sorted.conflicts.iter().map(|event| event.id()).collect();
        session.count_conflicts(&ids).await?;
    }
    let answers = sorted.answers(&changes.outcomes);
    session.count_and_commit(&counts(&answers), now).await?;
    Ok(answers)
}

/// Makes the rows of orders that only parked events know, after this id: `UNKNOWN_ORDERS` was `hold`
/// before, and is `create` now. Says which were looked at; none is the end.
///
/// # Errors
/// As for [`record`].
pub async fn weigh_parked(
    session: &mut Session,
    rules: &Rules,
    after: &str,
    now: i64,
) -> Result<Vec<String>, StoreError> {
    let orders = session.parked_orders(after, WEIGH_ORDERS_MAX).await?;
    if !orders.is_empty() {
        session.begin().await?;
        if weigh(session, rules, &orders, now).await? < orders.len() {
            // Those that are done are so; the others must not be passed over.
            return Err(StoreError::Held);
        }
    }
    Ok(orders)
}

/// Weighs orders in a transaction that has begun, but for those that another session holds, and commits it.
/// Says how many.
///
/// # Errors
/// As for [`record`].
pub async fn weigh(
    session: &mut Session,
    rules: &Rules,
    orders: &[String],
    now: i64,
) -> Result<usize, StoreError> {
    let mut working_set = WorkingSet::new(rules.policy.clone());
    let mut free: Vec<&str> = orders.iter().map(String::as_str).collect();
    let needs = working_set.needs([], free.iter().copied());
    if !load_around_locks(session, &mut working_set, &[], needs).await?.is_empty() {
        let starts: Vec<Start<'_>> = free.iter().copied().map(Start::Order).collect();
        let stock = Stock::load(session, &rules.policy, &starts).await?;
        free.retain(|order| stock.is_free(&rules.policy, Start::Order(order)));
        let starts: Vec<Start<'_>> = free.iter().copied().map(Start::Order).collect();
        working_set = stock.working_set(&rules.policy, &starts).ok_or(StoreError::Held)?;
    }
    for order in &free {
        working_set.take_up(order);
    }
    write(session, rules, &[], &working_set.finish(), now).await?;
    session.commit().await?;
    Ok(free.len())
}

/// Events by what is to be done with them.
struct Sorted<'a> {
    /// Not recorded yet, each id once.
    new: Vec<&'a Event>,
    /// For each event given: whether it differs, if it was recorded before; `None` if it is new.
    duplicates: Vec<Option<bool>>,
    /// Those under whose ids something else came.
    conflicts: Vec<&'a Event>,
}

impl<'a> Sorted<'a> {
    fn of(events: &[&'a Event], recorded: &[Recorded], rules: &Rules) -> Self {
        let recorded: HashMap<&str, Option<&[u8]>> =
            recorded.iter().map(|known| (known.id.as_str(), known.body.as_deref())).collect();
        let mut sorted = Self { new: Vec::new(), duplicates: Vec::new(), conflicts: Vec::new() };
        let mut firsts: HashMap<&str, &Event> = HashMap::new();
        let order_ids = &rules.policy.order_ids;
        for event in events {
            let differs = if let Some(body) = recorded.get(event.id()) {
                // A body that was pruned cannot be compared any more.
                body.is_some_and(|body| !event.says_the_same_as(body, order_ids))
            } else if let Some(first) = firsts.get(event.id()) {
                !event.says_the_same_as(first.body(), order_ids)
            } else {
                firsts.insert(event.id(), event);
                sorted.new.push(event);
                sorted.duplicates.push(None);
                continue;
            };
            if differs {
                sorted.conflicts.push(event);
            }
            sorted.duplicates.push(Some(differs));
        }
        sorted
    }

    /// Those of which something is written.
    fn folded(&self) -> impl Iterator<Item = &'a Event> {
        self.new.iter().chain(&self.conflicts).copied()
    }

    fn answers(&self, outcomes: &[EventOutcome]) -> Vec<Answer> {
        let mut outcomes = outcomes.iter();
        let answer = |duplicate: &Option<bool>| match duplicate {
            Some(differs) => {
                Some(Answer { outcome: Outcome::Duplicate, differs: *differs, ignored: None })
            }
            None => outcomes.next().map(|one| Answer {
                outcome: one.outcome,
                differs: false,
                ignored: one.ignored.clone(),
            }),
        };
        self.duplicates.iter().filter_map(answer).collect()
    }
}

/// Loads what the fold needs, and what that turns out to need.
///
/// # Errors
/// [`StoreError::Held`] if another session holds an order of it.
pub(super) async fn load(
    session: &mut Session,
    working_set: &mut WorkingSet,
    events: &[&Event],
    orders: &[String],
) -> Result<(), StoreError> {
    let needs = working_set.needs(events.iter().copied(), orders.iter().map(String::as_str));
    let locked = load_around_locks(session, working_set, events, needs).await?;
    if locked.is_empty() { Ok(()) } else { Err(StoreError::Held) }
}

/// The same, where these needs are known, but for the orders that another session holds, which it
/// names. What an event needs is known at once, but for the payments of a subscription: those are needed
/// only if its link shows that they go to another order.
async fn load_around_locks(
    session: &mut Session,
    working_set: &mut WorkingSet,
    events: &[&Event],
    mut needs: Needs,
) -> Result<Vec<String>, StoreError> {
    let of_subscriptions: Vec<&Event> =
        events.iter().copied().filter(|event| event.names_a_subscriptions_order()).collect();
    let mut locked = Vec::new();
    while !needs.is_empty() {
        let pages = std::mem::take(&mut needs.pages);
        let mut loaded = Loaded::default();
        if !needs.is_empty() {
            let found = session.find(&[], &needs).await?;
            locked.extend(found.locked);
            loaded = found.loaded;
        }
        if !pages.is_empty() {
            loaded.payments.extend(session.pages(&pages).await?);
        }
        needs.pages = pages;
        working_set.load(needs, loaded);
        needs = working_set.needs(of_subscriptions.iter().copied(), []);
    }
    Ok(locked)
}

/// Writes what a fold came to, and the events that it was for.
pub(super) async fn write(
    session: &mut Session,
    rules: &Rules,
    events: &[NewEvent<'_>],
    changes: &ChangeSet,
    now: i64,
) -> Result<(), StoreError> {
    if !changes.merged.is_empty() {
        session.delete_payments(&changes.merged).await?;
    }
    if !changes.payments.is_empty() {
        session.update_payments(&changes.payments).await?;
    }
    if !changes.links.is_empty() {
        session.update_links(&changes.links).await?;
    }
    if !changes.orders.is_empty() {
        session.update_orders(&changes.orders, now).await?;
    }
    if !changes.pages.is_empty() {
        session.write_pages(&changes.pages).await?;
    }
    let deliveries = deliveries(rules, changes);
    let rows = NewRows {
        events,
        payments: &changes.new_payments,
        links: &changes.new_links,
        orders: &changes.new_orders,
        changes: &changes.changes,
        deliveries: &deliveries,
    };
    if !rows.is_empty() {
        session.insert(&rows, now).await?;
    }
    if !changes.unparked.is_empty() {
        session.settle_unparked(&changes.unparked).await?;
    }
    if !changes.taken_up.is_empty() {
        session.settle_held(&changes.taken_up, "applied when the order had its row").await?;
    }
    Ok(())
}

/// One row for each change and each destination that wants it.
fn deliveries(rules: &Rules, changes: &ChangeSet) -> Vec<NewDelivery> {
    let mut deliveries = Vec::new();
    for change in &changes.changes {
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
