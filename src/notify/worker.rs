//! Claim → send → settle, for as long as the service runs.
//!
//! One task owns the connection to the database. Each time round it settles what has finished and claims
//! what is due, in one short transaction, and hands the claimed deliveries to tasks that send. A batch is
//! what finished while the last one was committing. It comes round when an attempt ends, when the writer
//! has committed a change, and once a second for what others wrote and what is due by now.
//!
//! A claim is a lease: it ends by itself, so what a killed process had claimed is due again when the
//! lease is over, and whoever comes late with a settlement finds that its claim is not the newest. What
//! an attempt means for the delivery and its destination is decided in [`super::lane`].

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Sender;
use super::lane::{Finished, Lane};
use crate::store::connection::Connection;
use crate::store::outbox::{Claim, Settlement, Telling};
use crate::store::{Session, Store, StoreError};
use crate::unix_milliseconds;

/// How long an attempt may take, from the look-up of the name to the end of the answer.
pub const ATTEMPT_SECONDS_MAX: u64 = 15;
/// How long a claim holds. What a killed process held is due again after this.
pub const LEASE_SECONDS: u64 = 25;
/// How often to look for what other processes wrote, and what is due again.
pub const POLL_MILLISECONDS: u64 = 1000;
/// So many times its concurrency is claimed for a destination, so that its attempts need not wait for
/// the database.
pub const CLAIMS_FACTOR: usize = 4;
/// How often the metrics of what waits are brought up to date.
pub const GAUGES_SECONDS: u64 = 10;
/// How long one turn with the database may take before its connection is given up.
pub const TURN_SECONDS_MAX: u64 = 10;
/// How soon to try again after the database failed.
const DATABASE_PAUSE_MILLISECONDS: u64 = 500;
/// What is left of a lease when the slowest attempt has ended: time to settle it.
const SETTLE_SECONDS: u64 = 3;

/// What tells the time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The times that the worker goes by. Tests have others.
#[derive(Clone)]
pub struct Pace {
    /// The time.
    pub clock: Clock,
    /// How long an attempt may take.
    pub attempt: Duration,
    /// How long a claim holds.
    pub lease: Duration,
    /// How often to look.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            clock: Arc::new(unix_milliseconds),
            attempt: Duration::from_secs(ATTEMPT_SECONDS_MAX),
            lease: Duration::from_secs(LEASE_SECONDS),
            poll: Duration::from_millis(POLL_MILLISECONDS),
        }
    }
}

impl Pace {
    /// How long the worker waits, when it is to stop, for what is under way.
    fn stop_within(&self) -> Duration {
        self.attempt + Duration::from_secs(SETTLE_SECONDS)
    }

    /// How long after its claim an attempt may still begin and be settled within the lease.
    pub(super) fn begin_within(&self) -> Duration {
        self.lease.saturating_sub(self.attempt + Duration::from_secs(SETTLE_SECONDS))
    }
}

/// Starts the worker. It ends when `stop` is cancelled and the attempts under way have ended.
///
/// It has a thread of its own, as the writer does: among the tasks that send, each answer of the
/// database would wait its turn. Those tasks run where this is called.
///
/// # Errors
/// If the system gives no thread to it.
pub fn start(
    store: Store,
    senders: Vec<Sender>,
    changes: Arc<Notify>,
    pace: Pace,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (finish, finished) = mpsc::unbounded_channel();
    let lanes = senders.into_iter().enumerate();
    let lanes = lanes.map(|(index, sender)| Lane::new(index, sender, &pace, &finish));
    let worker = Worker {
        lanes: lanes.collect(),
        connection: Connection::new(store, "nobody is notified until it is back"),
        finished,
        unsettled: Vec::new(),
        senders: Handle::current(),
        changes,
        pace,
    };
    Ok(tokio::task::spawn_blocking(move || runtime.block_on(worker.run(stop))))
}

struct Worker {
    lanes: Vec<Lane>,
    connection: Connection,
    /// Attempts that have ended.
    finished: mpsc::UnboundedReceiver<Finished>,
    /// The same, until the database knows.
    unsettled: Vec<Finished>,
    /// Where attempts run.
    senders: Handle,
    changes: Arc<Notify>,
    pace: Pace,
}

/// What was claimed for a lane.
type Claimed = (usize, Vec<Claim>, Vec<Telling>);

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        self.tell_of_strangers().await;
        let mut next_poll = Instant::now();
        let mut next_gauges = Instant::now();
        let mut give_up = None;
        loop {
            let is_stopping = stop.is_cancelled();
            if is_stopping && give_up.is_none() {
                self.lanes.iter().for_each(Lane::stop);
                give_up = Some(Instant::now() + self.pace.stop_within());
            }
            // A database that stays away: the leases run out.
            let is_late = give_up.is_some_and(|give_up| Instant::now() >= give_up);
            if is_stopping && (self.in_flight() == 0 || is_late) {
                break;
            }
            let room = self.in_flight().max(1);
            tokio::select! {
                () = stop.cancelled(), if !is_stopping => continue,
                _ = self.finished.recv_many(&mut self.unsettled, room), if self.in_flight() > self.unsettled.len() => {}
                () = self.changes.notified(), if !is_stopping => self.look_everywhere(),
                () = sleep_until(next_poll) => {}
            }
            while let Ok(finished) = self.finished.try_recv() {
                self.unsettled.push(finished);
            }
            if Instant::now() >= next_poll {
                next_poll = Instant::now() + self.pace.poll;
                self.look_everywhere();
            }
            if let Err(error) = self.turn(is_stopping).await {
                // A database that is away is told of by its connection, once.
                if !matches!(error, StoreError::Away(_)) {
                    warn!("notifications could not be claimed or settled: {error}; trying again");
                }
                let pause = Duration::from_millis(DATABASE_PAUSE_MILLISECONDS);
                sleep_until(Instant::now() + pause).await;
                self.look_everywhere();
            }
            if Instant::now() >= next_gauges && !is_stopping {
                next_gauges = Instant::now() + Duration::from_secs(GAUGES_SECONDS);
                self.update_gauges().await;
            }
        }
        self.connection.close().await;
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.in_flight).sum()
    }

    fn look_everywhere(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.may_have_more = true);
    }

    /// Settles what has finished, claims what is due, and sends it on its way.
    async fn turn(&mut self, is_stopping: bool) -> Result<(), StoreError> {
        let due = if is_stopping { Vec::new() } else { self.due().await? };
        if due.is_empty() && self.unsettled.is_empty() {
            return Ok(());
        }
        let now = (self.pace.clock)();
        let until = now + i64::try_from(self.pace.lease.as_millis()).unwrap_or_default();
        let settlements: Vec<Settlement> =
            self.unsettled.iter().map(|one| one.settlement.clone()).collect();
        let gone: Vec<(&str, &str)> = self
            .unsettled
            .iter()
            .filter_map(|one| Some((self.lanes.get(one.lane)?.name(), one.gone.as_deref()?)))
            .collect();
        let wanted: Vec<(usize, &str, i64)> = due
            .iter()
            .filter_map(|(index, room)| {
                Some((*index, self.lanes.get(*index)?.name(), i64::try_from(*room).ok()?))
            })
            .collect();
        let work = async |session: &mut Session| {
            session.begin_outbox().await?;
            let mut settled = Vec::new();
            if !settlements.is_empty() {
                settled = session.settle_deliveries(&settlements, now).await?;
            }
            for (name, why) in &gone {
                session.disable_destination(name, why, now).await?;
            }
            let mut claimed: Vec<Claimed> = Vec::with_capacity(wanted.len());
            for (lane, name, room) in &wanted {
                let claims = session.claim_deliveries(name, *room, now, until).await?;
                let ids: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
                let tellings =
                    if ids.is_empty() { Vec::new() } else { session.tellings(&ids).await? };
                claimed.push((*lane, claims, tellings));
            }
            session.commit().await?;
            Ok((settled, claimed))
        };
        let (settled, claimed) = self.connection.run(TURN_SECONDS_MAX, work).await?;
        self.account(&settled);
        for ((lane, claims, tellings), (_, room)) in claimed.into_iter().zip(&due) {
            let Some(lane) = self.lanes.get_mut(lane) else { continue };
            lane.may_have_more = claims.len() >= *room;
            lane.dispatch(&self.senders, &claims, tellings, now);
        }
        Ok(())
    }

    /// The lanes that have something due and room for it, with how much.
    async fn due(&mut self) -> Result<Vec<(usize, usize)>, StoreError> {
        let now = (self.pace.clock)();
        let lanes = self.lanes.iter().enumerate();
        // What has finished and is to be settled makes room in the same turn.
        let finished = |index: usize| self.unsettled.iter().filter(|one| one.lane == index).count();
        let open: Vec<(usize, usize)> = lanes
            .filter(|(_, lane)| lane.may_have_more)
            .map(|(index, lane)| (index, lane.room(now, finished(index))))
            .filter(|(_, room)| *room > 0)
            .collect();
        if open.is_empty() {
            return Ok(open);
        }
        let names: Vec<&str> =
            open.iter().filter_map(|(index, _)| Some(self.lanes.get(*index)?.name())).collect();
        let work = async |session: &mut Session| session.due_destinations(&names, now).await;
        let found = self.connection.run(TURN_SECONDS_MAX, work).await?;
        let mut due = Vec::with_capacity(open.len());
        for (index, room) in open {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            if found.iter().any(|name| name == lane.name()) {
                due.push((index, room));
            } else {
                lane.may_have_more = false;
            }
        }
        Ok(due)
    }

    /// What the database took is done; what it refused is another's by now.
    fn account(&mut self, settled: &[i64]) {
        let settled: std::collections::HashSet<i64> = settled.iter().copied().collect();
        for one in std::mem::take(&mut self.unsettled) {
            let Some(lane) = self.lanes.get_mut(one.lane) else { continue };
            lane.in_flight -= 1;
            let delivery = one.settlement.claim.id;
            if settled.contains(&delivery) {
                lane.count(&one.settlement.end);
            } else {
                let destination = lane.name();
                warn!(
                    delivery,
                    destination,
                    "this attempt outlasted its claim; another process has the delivery"
                );
            }
            if let Some(why) = &one.gone {
                let destination = lane.name();
                error!(
                    destination,
                    "it {why}: nothing is sent to it, and all is kept for it, until `paidup notify enable {destination}`"
                );
            }
        }
    }

    /// Names that something waits for and that the file does not have.
    async fn tell_of_strangers(&mut self) {
        let work = async |session: &mut Session| session.waiting_destinations().await;
        let Ok(waiting) = self.connection.run(TURN_SECONDS_MAX, work).await else { return };
        for destination in waiting {
            if self.lanes.iter().all(|lane| lane.name() != destination) {
                warn!(
                    destination,
                    "notifications wait for a destination that the file does not have; they are kept"
                );
            }
        }
        info!(destinations = self.lanes.len(), "notifies of changes");
    }

    async fn update_gauges(&mut self) {
        let names: Vec<&str> = self.lanes.iter().map(Lane::name).collect();
        let work = async |session: &mut Session| {
            let oldest = session.oldest_waiting(&names).await?;
            Ok((oldest, session.disabled_destinations().await?))
        };
        let Ok((oldest, disabled)) = self.connection.run(TURN_SECONDS_MAX, work).await else {
            debug!("the metrics of what waits are late: the database is away");
            return;
        };
        let now = (self.pace.clock)();
        for lane in &self.lanes {
            let since = oldest.iter().find(|(name, _)| name == lane.name()).map(|(_, at)| *at);
            let is_disabled = disabled.iter().any(|one| one.name == lane.name());
            lane.gauge(since.map(|at| now - at), is_disabled, now);
        }
    }
}
