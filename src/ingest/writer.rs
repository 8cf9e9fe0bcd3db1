//! The task that writes: a batch, one transaction, its answers.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::batch::{BatchLimit, Taking, drop_abandoned, fill};
use super::held::Held;
use super::readiness::LastWrite;
use super::retention::{Pruning, Retention};
use super::{Listeners, Queued, TRANSACTION_SECONDS_MAX, Unavailable};
use crate::domain::event::Event;
use crate::domain::outcome::Outcome;
use crate::domain::policy::UnknownOrders;
use crate::store::connection::{Connection, IDLE_WORK_SECONDS_MAX, Pace};
use crate::store::error::SessionState;
use crate::store::transaction::{self, Answer, Caution, Rules, WEIGH_ORDERS_MAX};
use crate::store::{Failure, Session, Store, StoreError};
use crate::unix_milliseconds;

/// How often a transaction is tried again because another came in between.
pub const CONFLICT_RETRIES_MAX: u32 = 3;
/// How often to look for orders that the shop has inserted; also the sign of life that a quiet
/// connection gives.
pub const SWEEP_SECONDS: u64 = 3;

const DATABASE_AWAY: &str = "events are answered 503 until it is back";

/// Whom the writer tells what it did.
pub(super) struct Signals {
    /// Told after each commit that may have filled the outbox.
    pub listeners: Listeners,
    /// Told whether the last attempt to write worked.
    pub last_write: Arc<LastWrite>,
    /// The runtime of those who wait for answers.
    pub callers: Handle,
}

pub(super) struct Writer {
    receiver: mpsc::Receiver<Queued>,
    connection: Connection,
    rules: Rules,
    batch_limit: BatchLimit,
    held: Held,
    /// How far the parked events of before were looked through; `None` at the end.
    parked_after: Option<String>,
    weighing: Weighing,
    /// Why the last sweep that failed did.
    sweep_failure: Option<Failure>,
    pruning: Pruning,
    meters: Meters,
    signals: Signals,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        receiver: mpsc::Receiver<Queued>,
        rules: Rules,
        retention: Retention,
        signals: Signals,
    ) -> Self {
        Self {
            receiver,
            connection: Connection::new(store, DATABASE_AWAY),
            parked_after: (rules.policy.unknown_orders == UnknownOrders::Create).then(String::new),
            rules,
            batch_limit: BatchLimit::new(),
            held: Held::default(),
            weighing: Weighing::default(),
            sweep_failure: None,
            pruning: Pruning::new(retention),
            meters: Meters::new(),
            signals,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (mut next_weighing, mut next_upkeep) = (Instant::now(), Instant::now());
        loop {
            let next = next_weighing.min(next_upkeep);
            let wake = self.held.due().map_or(next, |held| held.min(next));
            let is_open = !self.receiver.is_closed();
            let taking = timeout_at(wake, self.receiver.recv());
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if is_open => {
                    // Takes no more, and goes on with what is there.
                    self.receiver.close();
                    continue;
                }
                first = taking => first,
            };
            match first {
                Ok(Some(first)) if self.held.tables_are_locked => self.held.push(first),
                Ok(Some(first)) => {
                    self.land(vec![first], Taking::AllThatWaits, Caution::Trusting).await;
                }
                Ok(None) if self.held.is_empty() => break,
                _ => {}
            }
            if self.receiver.is_closed() || self.held.due().is_some_and(|due| Instant::now() >= due)
            {
                self.retry_held().await;
            }
            if !is_open {
                continue;
            }
            let pause = Duration::from_secs(SWEEP_SECONDS);
            if Instant::now() >= next_weighing && !self.weigh_changed().await {
                next_weighing = Instant::now() + pause;
            }
            if Instant::now() >= next_upkeep {
                self.weigh_parked().await;
                self.pruning.step(&mut self.connection).await;
                next_upkeep = Instant::now() + pause;
            }
        }
        self.connection.close().await;
    }

    /// Commits a batch, in halves if the database refuses it, until the culprits stand alone.
    async fn land(&mut self, batch: Vec<Queued>, mut taking: Taking, mut caution: Caution) {
        let mut pending = vec![batch];
        // An event at which the server said that it cannot work, while it may be able to for others: a
        // trigger of the shop's can raise that too.
        let mut has_suspect = false;
        while let Some(mut batch) = pending.pop() {
            drop_abandoned(&mut batch);
            if batch.is_empty() {
                continue;
            }
            if batch.len() > self.batch_limit.events() {
                pending.push(batch.split_off(self.batch_limit.events()));
            }
            let limit = self.batch_limit;
            match self.commit(&mut batch, &mut taking, caution).await {
                Ok(answers) => {
                    has_suspect = false;
                    // Of those without an answer nothing was written.
                    if answers.iter().any(Option::is_some) {
                        self.connection.note_back();
                        self.signals.last_write.note(true);
                    }
                    self.answer(batch, answers);
                }
                // A row that nobody sees yet, a table, or a short wait for paidup's own upkeep.
                Err(StoreError::Held) if caution == Caution::Trusting => {
                    caution = Caution::Careful;
                    pending.push(batch);
                    if self.tables_are_locked().await {
                        self.signals.last_write.note(false);
                        self.held.extend(pending.drain(..).flatten());
                    }
                }
                Err(error) if batch.len() > 1 && error.may_be_of_one_event() => {
                    pending.push(batch.split_off(batch.len() / 2));
                    pending.push(batch);
                }
                // Alone it may take as long as the session lets it: then it lands, if too late for its caller.
                Err(StoreError::TooSlow(_)) if limit.events() > 1 => pending.push(batch),
                Err(StoreError::Held) => self.held.extend(batch),
                Err(StoreError::Refused(failure) | StoreError::TooSlow(failure)) => {
                    self.signals.last_write.note(false);
                    refuse(batch, &failure, Unavailable::Refused);
                }
                Err(StoreError::Away(failure))
                    if !failure.is_before_begin
                        && failure.code.is_some()
                        && !pending.is_empty()
                        && !std::mem::replace(&mut has_suspect, true) =>
                {
                    self.signals.last_write.note(false);
                    refuse(batch, &failure, Unavailable::Database);
                }
                Err(error) => {
                    self.connection.note(&error);
                    self.signals.last_write.note(false);
                    batch.extend(pending.drain(..).flatten());
                    batch.into_iter().for_each(|one| one.answer(Err(Unavailable::Database)));
                }
            }
        }
    }

    /// Tries those that wait for what another session holds.
    async fn retry_held(&mut self) {
        let were_locked = self.held.tables_are_locked;
        let events = self.held.take(self.receiver.is_closed());
        if events.is_empty() {
            self.held.tables_are_locked = false;
        } else if were_locked && self.tables_are_locked().await {
            self.held.extend(events);
        } else {
            let caution = if were_locked { Caution::Trusting } else { Caution::Careful };
            self.land(events, Taking::NoMore, caution).await;
        }
    }

    async fn tables_are_locked(&mut self) -> bool {
        let ask = async |session: &mut Session| session.tables_are_free().await;
        let are_free = self.connection.ask(IDLE_WORK_SECONDS_MAX, ask).await;
        // What is wrong else shows at the next transaction.
        self.held.tables_are_locked = !are_free.unwrap_or(true);
        self.held.tables_are_locked
    }

    /// Commits a batch. What else waits is taken into it when the transaction has begun: it may have
    /// waited for other processes, and the more share a commit, the less each costs.
    async fn commit(
        &mut self,
        batch: &mut Vec<Queued>,
        taking: &mut Taking,
        caution: Caution,
    ) -> Result<Vec<Option<Answer>>, StoreError> {
        let started = Instant::now();
        // To wait for another process that folds is not the batch's fault.
        let mut begun = None;
        let mut retries = 0;
        let pace = if self.batch_limit.events() > 1 { Pace::Batch } else { Pace::Patient };
        let result = loop {
            let work = async |session: &mut Session| {
                begun = Some(Instant::now());
                if std::mem::replace(taking, Taking::NoMore) == Taking::AllThatWaits {
                    fill(batch, &mut self.receiver, self.batch_limit);
                    self.meters.queue.set(self.receiver.len() as f64);
                }
                let events: Vec<&Event> = batch.iter().map(|queued| &queued.event).collect();
                let now = unix_milliseconds();
                transaction::record_free_and_commit(session, &self.rules, &events, caution, now)
                    .await
            };
            match self.connection.transact(TRANSACTION_SECONDS_MAX, pace, work).await {
                Err(StoreError::Conflict) if retries < CONFLICT_RETRIES_MAX => retries += 1,
                result => break result,
            }
        };
        if *taking == Taking::AllThatWaits {
            // None could begin: all that waits is told so now, and need not wait for as long.
            fill(batch, &mut self.receiver, self.batch_limit);
        }
        match (&result, begun) {
            (Ok(_), Some(begun)) => self.batch_limit.learn(batch.len(), begun.elapsed()),
            (Err(StoreError::TooSlow(_)), _) => self.batch_limit.shrink(batch.len()),
            (Err(StoreError::Away(failure)), Some(_))
                if failure.session == SessionState::Silent =>
            {
                self.batch_limit.shrink(batch.len());
            }
            _ => {}
        }
        let answers = result?;
        let recorded = answers.iter().flatten().count();
        if recorded > 0 {
            self.meters.batch_events.record(recorded as f64);
            self.meters.commit_seconds.record(started.elapsed());
        }
        if answers.iter().flatten().any(|answer| answer.outcome == Outcome::Applied) {
            self.signals.listeners.tell_changes();
        }
        Ok(answers)
    }

    /// Tells callers, and drops their events, beside the next batch and not before it. Those without an
    /// answer wait for an order that another session holds.
    fn answer(&mut self, mut batch: Vec<Queued>, mut answers: Vec<Option<Answer>>) {
        if answers.iter().any(Option::is_none) {
            let mut has_answer = answers.iter().map(Option::is_some);
            let (done, held) =
                batch.into_iter().partition(|_| has_answer.next().unwrap_or_default());
            batch = done;
            self.held.extend(held);
            answers.retain(Option::is_some);
        }
        let conflicts = self.meters.conflicts.clone();
        self.signals.callers.spawn(async move {
            for (queued, answer) in batch.into_iter().zip(answers.into_iter().flatten()) {
                if answer.differs {
                    conflicts.increment(1);
                    let event = queued.event.id();
                    warn!(
                        event,
                        "another content came under the id of a recorded event; the first counts"
                    );
                }
                queued.answer(Ok(answer));
            }
        });
    }

    /// Weighs some of the orders that the shop has written since they were last weighed. Says whether
    /// there are more to weigh at once; events that wait go first.
    async fn weigh_changed(&mut self) -> bool {
        let Weighing { after, orders_max } = self.weighing.clone();
        let look = async |session: &mut Session| session.orders_to_weigh(&after, orders_max).await;
        let orders = match self.connection.ask(IDLE_WORK_SECONDS_MAX, look).await {
            Ok(orders) => orders,
            Err(error) => {
                self.note_sweep(&error, None);
                return false;
            }
        };
        // Mostly there are none, and then nobody need wait for the lock.
        let Some(last) = orders.last() else {
            self.weighing = Weighing::default();
            return false;
        };
        let work = async |session: &mut Session| {
            transaction::weigh(session, &self.rules, &orders, unix_milliseconds()).await
        };
        let is_alone = orders.len() == 1;
        let pace = if is_alone { Pace::Patient } else { Pace::Batch };
        match self.connection.transact(TRANSACTION_SECONDS_MAX, pace, work).await {
            Ok(weighed) => {
                if weighed > 0 {
                    self.signals.listeners.tell_changes();
                    info!(orders = weighed, "orders that the shop wrote were weighed anew");
                }
                self.weighing.pass(last, orders.len())
            }
            Err(error) if is_of_the_orders(&error) && !is_alone => {
                self.weighing.halve(orders.len());
                true
            }
            Err(error) => {
                self.note_sweep(&error, Some(last));
                // The next round tries it again.
                let goes_on = is_of_the_orders(&error) && self.weighing.pass(last, orders.len());
                goes_on && matches!(error, StoreError::Refused(_) | StoreError::TooSlow(_))
            }
        }
    }

    /// One step through the parked events of orders without a row: those of before `UNKNOWN_ORDERS` was
    /// `create`. Once through all is enough, since no such event is parked any more.
    async fn weigh_parked(&mut self) {
        let Some(after) = self.parked_after.clone() else { return };
        let work = async |session: &mut Session| {
            transaction::weigh_parked(session, &self.rules, &after, unix_milliseconds()).await
        };
        match self.connection.run(TRANSACTION_SECONDS_MAX, work).await {
            Ok(orders) => {
                if !orders.is_empty() {
                    self.signals.listeners.tell_changes();
                }
                self.parked_after = orders.into_iter().last();
            }
            Err(error) => {
                // Some can be done, and others be held.
                self.signals.listeners.tell_changes();
                self.note_sweep(&error, None);
            }
        }
    }

    /// A database that is away is told once; what it refuses to a sweep, each time that it says another thing.
    fn note_sweep(&mut self, error: &StoreError, order: Option<&str>) {
        self.connection.note(error);
        if let StoreError::Refused(failure) | StoreError::TooSlow(failure) = error
            && self.sweep_failure.as_ref() != Some(failure)
        {
            let advice = failure.advice();
            warn!(
                order,
                "orders that the shop wrote could not be weighed anew: {failure}. {advice}"
            );
            self.sweep_failure = Some(failure.clone());
        }
    }
}

/// A round over the orders that the shop wrote, in steps.
#[derive(Debug, Clone)]
struct Weighing {
    /// The last order of the step before.
    after: String,
    /// How many orders a step takes: fewer where one of them cannot be weighed, until it stands alone.
    orders_max: i64,
}

impl Default for Weighing {
    fn default() -> Self {
        Self { after: String::new(), orders_max: WEIGH_ORDERS_MAX }
    }
}

impl Weighing {
    /// Goes on behind this order. Says whether there may be more; else the round is over.
    fn pass(&mut self, last: &str, orders: usize) -> bool {
        let was_full = i64::try_from(orders).is_ok_and(|orders| orders >= self.orders_max);
        if was_full {
            last.clone_into(&mut self.after);
            self.orders_max = (self.orders_max * 2).min(WEIGH_ORDERS_MAX);
        } else {
            *self = Self::default();
        }
        was_full
    }

    fn halve(&mut self, orders: usize) {
        self.orders_max = i64::try_from(orders / 2).unwrap_or(1).max(1);
    }
}

/// Whether one of the orders may be to blame, or their number.
fn is_of_the_orders(error: &StoreError) -> bool {
    let is_slow =
        |failure: &Failure| failure.session == SessionState::Silent && !failure.is_before_begin;
    error.may_be_of_one_event() || matches!(error, StoreError::Away(failure) if is_slow(failure))
}

/// The event that the database refuses. Stripe sends it again, and shows its owner that it fails.
fn refuse(batch: Vec<Queued>, failure: &Failure, unavailable: Unavailable) {
    for queued in batch {
        let event = queued.event.id();
        let advice = failure.advice();
        error!(
            event,
            "the database refuses this event: {failure}. {advice}. Stripe will send it again"
        );
        queued.answer(Err(unavailable));
    }
}

struct Meters {
    queue: Gauge,
    batch_events: Histogram,
    commit_seconds: Histogram,
    conflicts: Counter,
}

impl Meters {
    fn new() -> Self {
        Self {
            queue: gauge!("paidup_queue_events"),
            batch_events: histogram!("paidup_batch_events"),
            commit_seconds: histogram!("paidup_commit_seconds"),
            conflicts: counter!("paidup_event_conflicts_total"),
        }
    }
}
