//! The writer: queued events → one transaction → many answers.
//!
//! The HTTP handler submits an event and waits. One task begins a transaction, takes all that is queued
//! then, and commits it; a batch is what came while the last one was committing, here or in another
//! process, so there is no waiting to fill it. Only after the commit is anyone answered. If a batch fails
//! for one event's sake it is split until that event stands alone. Between batches the task
//! weighs orders that the shop has written, and prunes what is old ([`retention`]).
//!
//! The task owns its connection. Nobody cancels its work; when the work takes too long, the connection
//! is dropped with it, and never used again, so the server takes back what was not committed.

mod batch;
mod held;
mod readiness;
pub mod retention;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::event::Event;
use crate::store::Store;
use crate::store::transaction::{Answer, Rules};
pub use readiness::trial_id;
use readiness::{LastWrite, Probe};
pub use retention::{Old, PRUNE_ROWS_MAX, Retention};
use writer::Writer;

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
    listeners: Listeners,
}

/// Who hears that orders may have changed.
#[derive(Clone)]
struct Listeners {
    /// The one that sends notifications.
    changes: Arc<Notify>,
    /// Any number of others.
    news: watch::Sender<()>,
}

impl Listeners {
    fn tell_changes(&self) {
        self.changes.notify_one();
        self.news.send_replace(());
    }
}

struct Queued {
    event: Event,
    submitted: Instant,
    reply: oneshot::Sender<Result<Answer, Unavailable>>,
    _bytes: OwnedSemaphorePermit,
}

impl Queued {
    fn answer(self, answer: Result<Answer, Unavailable>) {
        // Nobody may wait any more; what is committed is committed.
        let _ = self.reply.send(answer);
    }
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
        let queued = Queued { event, submitted: Instant::now(), reply, _bytes: bytes };
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

    /// Hears, after the commit, that orders may have changed, so that the sender need not wait to look.
    #[must_use]
    pub fn changes(&self) -> Arc<Notify> {
        Arc::clone(&self.listeners.changes)
    }

    /// Hears the same. There may be any number of these.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.listeners.news.subscribe()
    }

    /// Tells both kinds that orders may have changed, or that something is to be sent again.
    pub fn tell_changes(&self) {
        self.listeners.tell_changes();
    }

    /// Whether the database answers, and takes writes: the last one worked, or one that is tried now would.
    pub async fn database_answers(&self) -> bool {
        let probe = Arc::clone(&self.probe);
        // In a task of its own: a caller who goes away must not leave half a conversation behind.
        tokio::spawn(async move { probe.answers().await }).await.unwrap_or(false)
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
    let last_write = Arc::new(LastWrite::default());
    let probe = Arc::new(Probe::new(store.clone(), Arc::clone(&last_write)));
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    let listeners = Listeners { changes: Arc::new(Notify::new()), news: watch::Sender::new(()) };
    let ingest = Ingest { queue, bytes, probe, listeners: listeners.clone() };
    let signals = writer::Signals { listeners, last_write, callers: Handle::current() };
    let writer = Writer::new(store, receiver, rules, retention, signals);
    Ok((ingest, tokio::task::spawn_blocking(move || runtime.block_on(writer.run(stop)))))
}
