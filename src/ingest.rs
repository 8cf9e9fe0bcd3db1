//! The writer: queued events → one transaction → many answers.
//!
//! The HTTP handler submits an event and waits. One task begins a transaction, takes all that is queued
//! then, and commits it; a batch is what came while the last one was committing, here or in another
//! process, so there is no waiting to fill it. Only after the commit is anyone answered. If a batch fails
//! for one event's sake it is split until that event stands alone. Between batches the task
//! weighs orders that the shop has written, and prunes what is old.
//!
//! The task owns its connection. Nobody cancels its work; when the work takes too long, the connection
//! is dropped with it, and never used again, so the server takes back what was not committed.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::domain::event::Event;
use crate::domain::outcome::Outcome;
use crate::domain::policy::UnknownOrders;
use crate::store::connection::{Connection, IDLE_WORK_SECONDS_MAX};
use crate::store::transaction::{self, Answer, Rules, WEIGH_ORDERS_MAX};
use crate::store::{Session, Store, StoreError};
use crate::unix_milliseconds;

/// The most events that wait to be recorded; the next one gets 503.
pub const QUEUE_EVENTS_MAX: usize = 4096;
/// The most bytes of bodies that wait or are being recorded.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most events in one transaction.
pub const BATCH_EVENTS_MAX: usize = 512;
/// When the bodies of a transaction have so many bytes, no more are taken into it.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long an event waits for its commit before its caller is told to come again: 503 within 5 s, also
/// from behind a network that has gone silent.
pub const REPLY_SECONDS_MAX: u64 = 4;
/// How long a transaction may take before its connection is given up as dead.
pub const TRANSACTION_SECONDS_MAX: u64 = 10;
/// How often a transaction is tried again because another came in between.
pub const CONFLICT_RETRIES_MAX: u32 = 3;
/// How often to look for orders that the shop has inserted; also the sign of life that a quiet
/// connection gives.
pub const SWEEP_SECONDS: u64 = 3;
/// How soon an event is tried again whose order the shop holds locked.
pub const HELD_RETRY_MILLISECONDS: u64 = 200;
/// How often to look for what is old.
pub const PRUNE_SECONDS: u64 = 3600;
/// The most rows that are pruned between two batches.
pub const PRUNE_ROWS_MAX: i64 = 1000;
/// Event ids are kept at least this long, so that a late duplicate is known.
pub const EVENT_ID_DAYS_MIN: u32 = 400;

const DATABASE_AWAY: &str = "events are answered 503 until it is back";
const DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;

/// Why an event is not known to be recorded. Stripe sends it again, and if it was recorded after all
/// it is then a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many events, or too large ones, wait already.
    #[error("the queue is full")]
    QueueFull,
    /// The database is away or cannot write.
    #[error("the database cannot be used")]
    Database,
    /// The database took too long.
    #[error("the database took too long")]
    TimedOut,
    /// The database refuses this very event.
    #[error("the database refuses this event")]
    Refused,
    /// Another session holds the order's row.
    #[error("another session holds the order's row for too long")]
    OrderHeld,
    /// This process ends.
    #[error("paidup is shutting down")]
    ShuttingDown,
}

impl Unavailable {
    /// A word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Database => "database",
            Self::TimedOut => "timed_out",
            Self::Refused => "event_refused",
            Self::OrderHeld => "order_held",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Where events are handed in. Clones share one queue.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    probe: Arc<Probe>,
    changes: Arc<Notify>,
    news: watch::Sender<()>,
}

struct Queued {
    event: Event,
    reply: oneshot::Sender<Result<Answer, Unavailable>>,
    _bytes: OwnedSemaphorePermit,
}

impl Queued {
    fn answer(self, answer: Result<Answer, Unavailable>) {
        // Nobody may wait any more; what is committed is committed.
        let _ = self.reply.send(answer);
    }
}

/// A connection of its own to see whether the database answers.
struct Probe {
    store: Store,
    session: Mutex<Option<Session>>,
}

impl Ingest {
    /// Records an event, and answers once that is committed.
    ///
    /// # Errors
    /// [`Unavailable`] if it is not known to be committed.
    pub async fn submit(&self, event: Event) -> Result<Answer, Unavailable> {
        let length = u32::try_from(event.body().len()).map_err(|_| Unavailable::QueueFull)?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(length);
        let bytes = bytes.map_err(|_| Unavailable::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        let queued = Queued { event, reply, _bytes: bytes };
        self.queue.try_send(queued).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::QueueFull,
            mpsc::error::TrySendError::Closed(_) => Unavailable::ShuttingDown,
        })?;
        match timeout(Duration::from_secs(REPLY_SECONDS_MAX), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Unavailable::ShuttingDown),
            Err(_) => Err(Unavailable::TimedOut),
        }
    }

    /// Whether the next event would get 503.
    #[must_use]
    pub fn queue_is_full(&self) -> bool {
        self.queue.capacity() == 0 || self.bytes.available_permits() == 0
    }

    /// How many events wait for the writer.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Hears, after the commit, that orders may have changed: whoever sends need not wait to look.
    #[must_use]
    pub fn changes(&self) -> Arc<Notify> {
        Arc::clone(&self.changes)
    }

    /// Hears the same. There may be any number of these.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Tells both kinds that orders may have changed, or that something is to be sent again.
    pub fn tell_changes(&self) {
        self.changes.notify_one();
        self.news.send_replace(());
    }

    /// Whether the database answers and takes writes.
    pub async fn database_answers(&self) -> bool {
        let probe = Arc::clone(&self.probe);
        // In a task of its own: a caller who goes away must not leave half a conversation behind.
        tokio::spawn(async move { probe.answers().await }).await.unwrap_or(false)
    }
}

impl Probe {
    async fn answers(&self) -> bool {
        let mut kept = self.session.lock().await;
        let session = kept.take();
        let ask = async {
            let mut session = match session {
                Some(session) => session,
                None => self.store.connect().await?,
            };
            session.ping().await?;
            Ok::<_, StoreError>(session)
        };
        match timeout(Duration::from_secs(IDLE_WORK_SECONDS_MAX), ask).await {
            Ok(Ok(session)) => {
                *kept = Some(session);
                true
            }
            _ => false,
        }
    }
}

/// How long to keep what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Bodies, and notifications that are settled, are dropped after so many days; `None`: never.
    pub event_body_days: Option<u32>,
}

/// What is old: all that came before, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Old {
    /// Bodies, and notifications that are settled.
    pub bodies_until: i64,
    /// Ids of events.
    pub ids_until: i64,
}

impl Retention {
    /// What is old at this time, in milliseconds; `None` where bodies are kept for ever, and so are ids.
    #[must_use]
    pub fn old(self, now: i64) -> Option<Old> {
        let before = |days: u32| now - i64::from(days) * DAY_MILLISECONDS;
        let body_days = self.event_body_days?;
        let bodies_until = before(body_days);
        Some(Old { bodies_until, ids_until: before(body_days.max(EVENT_ID_DAYS_MIN)) })
    }
}

/// Starts the writer. It ends when `stop` is cancelled and all that was accepted is answered.
///
/// It has a thread of its own: among the tasks that serve HTTP, each answer of the database would wait
/// its turn behind hundreds of requests, a dozen times for each batch. To tell callers of a commit is
/// left to the runtime that this is called in, so that the next batch need not wait for it.
///
/// # Errors
/// If the system gives no thread to it.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn start(
    store: Store,
    rules: Rules,
    retention: Retention,
    stop: CancellationToken,
) -> std::io::Result<(Ingest, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (queue, receiver) = mpsc::channel(QUEUE_EVENTS_MAX);
    let probe = Arc::new(Probe { store: store.clone(), session: Mutex::new(None) });
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    let changes = Arc::new(Notify::new());
    let news = watch::Sender::new(());
    let ingest = Ingest { queue, bytes, probe, changes: Arc::clone(&changes), news: news.clone() };
    let writer = Writer {
        receiver,
        connection: Connection::new(store, DATABASE_AWAY),
        parked_after: (rules.policy.unknown_orders == UnknownOrders::Create).then(String::new),
        rules,
        held: Vec::new(),
        pruning: Pruning::new(retention),
        meters: Meters::new(),
        changes,
        news,
        callers: Handle::current(),
    };
    Ok((ingest, tokio::task::spawn_blocking(move || runtime.block_on(writer.run(stop)))))
}

struct Writer {
    receiver: mpsc::Receiver<Queued>,
    connection: Connection,
    rules: Rules,
    /// Events whose orders the shop holds locked.
    held: Vec<Queued>,
    /// How far the parked events of before were looked through; `None` at the end.
    parked_after: Option<String>,
    pruning: Pruning,
    meters: Meters,
    /// Told after each commit that may have filled the outbox.
    changes: Arc<Notify>,
    news: watch::Sender<()>,
    /// The runtime of those who wait for answers.
    callers: Handle,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) {
        let mut next_sweep = Instant::now();
        loop {
            let wake = if self.held.is_empty() {
                next_sweep
            } else {
                Instant::now() + Duration::from_millis(HELD_RETRY_MILLISECONDS)
            };
            let is_open = !self.receiver.is_closed();
            let taking = timeout_at(wake, self.receiver.recv());
            let first = tokio::select! {
                biased;
                first = taking => first,
                () = stop.cancelled(), if is_open => {
                    // Takes no more, and goes on with what is there.
                    self.receiver.close();
                    continue;
                }
            };
            match first {
                Ok(Some(first)) => self.land(vec![first], Taking::AllThatWaits).await,
                Ok(None) if self.held.is_empty() => break,
                _ => {}
            }
            self.retry_held().await;
            if Instant::now() >= next_sweep {
                self.sweep().await;
                next_sweep = Instant::now() + Duration::from_secs(SWEEP_SECONDS);
            }
        }
        self.connection.close().await;
    }

    /// Commits a batch, in halves if the database refuses it, until the culprits stand alone.
    async fn land(&mut self, batch: Vec<Queued>, mut taking: Taking) {
        let mut pending = vec![batch];
        while let Some(mut batch) = pending.pop() {
            match self.commit(&mut batch, &mut taking).await {
                Ok(answers) => self.answer(batch, answers),
                Err(StoreError::Refused(_) | StoreError::Held) if batch.len() > 1 => {
                    pending.push(batch.split_off(batch.len() / 2));
                    pending.push(batch);
                }
                Err(StoreError::Held) => self.held.append(&mut batch),
                Err(StoreError::Refused(told)) => refuse(batch, &told),
                Err(error) => {
                    let unavailable = unavailable(&error);
                    batch.extend(pending.drain(..).flatten());
                    batch.into_iter().for_each(|queued| queued.answer(Err(unavailable)));
                }
            }
        }
    }

    /// Tries those whose orders were locked, each alone, so that they do not keep others waiting.
    async fn retry_held(&mut self) {
        for queued in std::mem::take(&mut self.held) {
            if queued.reply.is_closed() {
                let event = queued.event.id();
                warn!(event, "an order's row was locked for too long; the event will come again");
                continue;
            }
            if self.receiver.is_closed() {
                queued.answer(Err(Unavailable::OrderHeld));
                continue;
            }
            self.land(vec![queued], Taking::NoMore).await;
        }
    }

    /// Commits a batch. What else waits is taken into it when the transaction has begun: it may have
    /// waited for other processes, and the more share a commit, the less each costs.
    async fn commit(
        &mut self,
        batch: &mut Vec<Queued>,
        taking: &mut Taking,
    ) -> Result<Vec<Answer>, StoreError> {
        let started = Instant::now();
        let mut retries = 0;
        let answers = loop {
            let work = async |session: &mut Session| {
                session.begin().await?;
                if std::mem::replace(taking, Taking::NoMore) == Taking::AllThatWaits {
                    fill(batch, &mut self.receiver);
                    self.meters.queue.set(self.receiver.len() as f64);
                }
                let events: Vec<&Event> = batch.iter().map(|queued| &queued.event).collect();
                let now = unix_milliseconds();
                transaction::record_and_commit(session, &self.rules, &events, now).await
            };
            match self.connection.run(TRANSACTION_SECONDS_MAX, work).await {
                Err(StoreError::Conflict) if retries < CONFLICT_RETRIES_MAX => retries += 1,
                result => break result,
            }
        };
        if *taking == Taking::AllThatWaits {
            // None could begin: all that waits is told so now, and need not wait for as long.
            fill(batch, &mut self.receiver);
        }
        let answers = answers?;
        self.meters.batch_events.record(batch.len() as f64);
        self.meters.commit_seconds.record(started.elapsed());
        if answers.iter().any(|answer| answer.outcome == Outcome::Applied) {
            self.tell_changes();
        }
        Ok(answers)
    }

    fn tell_changes(&self) {
        self.changes.notify_one();
        self.news.send_replace(());
    }

    /// Tells callers, and drops their events, beside the next batch and not before it.
    fn answer(&self, batch: Vec<Queued>, answers: Vec<Answer>) {
        let conflicts = self.meters.conflicts.clone();
        self.callers.spawn(async move {
            for (queued, answer) in batch.into_iter().zip(answers) {
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

    /// What is done between batches: orders to weigh anew, old rows to prune, a sign of life.
    async fn sweep(&mut self) {
        loop {
            let work = async |session: &mut Session| {
                transaction::weigh_changed(session, &self.rules, unix_milliseconds()).await
            };
            match self.connection.run(IDLE_WORK_SECONDS_MAX, work).await {
                Ok(orders) => {
                    if orders > 0 {
                        self.tell_changes();
                        info!(orders, "orders that the shop wrote were weighed anew");
                    }
                    if orders < usize::try_from(WEIGH_ORDERS_MAX).unwrap_or(usize::MAX) {
                        break;
                    }
                }
                // It is logged where it happened; the next sweep tries again.
                Err(_) => return,
            }
        }
        self.weigh_parked().await;
        self.pruning.step(&mut self.connection).await;
    }
}

impl Writer {
    /// One step through the parked events of orders without a row: those of before `UNKNOWN_ORDERS` was
    /// `create`. Once through all is enough, since no such event is parked any more.
    async fn weigh_parked(&mut self) {
        let Some(after) = self.parked_after.clone() else { return };
        let work = async |session: &mut Session| {
            transaction::weigh_parked(session, &self.rules, &after, unix_milliseconds()).await
        };
        let Ok(orders) = self.connection.run(TRANSACTION_SECONDS_MAX, work).await else { return };
        if !orders.is_empty() {
            self.tell_changes();
        }
        self.parked_after = orders.into_iter().last();
    }
}

/// Whether a batch may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    AllThatWaits,
    NoMore,
}

/// Takes all that waits into the batch, as far as a transaction may have it.
fn fill(batch: &mut Vec<Queued>, receiver: &mut mpsc::Receiver<Queued>) {
    let mut bytes: usize = batch.iter().map(|queued| queued.event.body().len()).sum();
    while batch.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(queued) = receiver.try_recv() else { break };
        bytes += queued.event.body().len();
        batch.push(queued);
    }
    // Who has gone away sends it again; to work for nobody only makes the next ones late.
    batch.retain(|queued| !queued.reply.is_closed());
}

/// The event that the database refuses. Stripe sends it again, and shows its owner that it fails.
fn refuse(batch: Vec<Queued>, told: &str) {
    for queued in batch {
        let event = queued.event.id();
        error!(
            event,
            "the database refuses this event ({told}); look at triggers and constraints of your own \
             on paidup's tables. Stripe will send it again"
        );
        queued.answer(Err(Unavailable::Refused));
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    match error {
        StoreError::Refused(_) => Unavailable::Refused,
        StoreError::Held => Unavailable::OrderHeld,
        _ => Unavailable::Database,
    }
}

/// Drops bodies, and later ids, of old events, a little at a time.
struct Pruning {
    retention: Retention,
    /// All that came before is done.
    bodies_from: i64,
    ids_from: i64,
    next: Instant,
}

impl Pruning {
    fn new(retention: Retention) -> Self {
        Self { retention, bodies_from: 0, ids_from: 0, next: Instant::now() }
    }

    async fn step(&mut self, connection: &mut Connection) {
        let Some(Old { bodies_until, ids_until }) = self.retention.old(unix_milliseconds()) else {
            return;
        };
        if Instant::now() < self.next {
            return;
        }
        let (bodies_from, ids_from) = (self.bodies_from, self.ids_from);
        let work = async |session: &mut Session| {
            let bodies = session.prune_bodies(bodies_from, bodies_until, PRUNE_ROWS_MAX).await?;
            let ids = session.prune_events(ids_from, ids_until, PRUNE_ROWS_MAX).await?;
            let deliveries = session.prune_deliveries(bodies_until, PRUNE_ROWS_MAX).await?;
            Ok((bodies, ids, deliveries))
        };
        let Ok((bodies, ids, deliveries)) = connection.run(TRANSACTION_SECONDS_MAX, work).await
        else {
            return;
        };
        let rows_max = PRUNE_ROWS_MAX.unsigned_abs();
        if bodies < rows_max {
            self.bodies_from = bodies_until;
        }
        if ids < rows_max {
            self.ids_from = ids_until;
        }
        if bodies < rows_max && ids < rows_max && deliveries < rows_max {
            self.next = Instant::now() + Duration::from_secs(PRUNE_SECONDS);
        }
        if bodies + ids + deliveries > 0 {
            info!(bodies, ids, deliveries, "old events and notifications were pruned");
        }
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
