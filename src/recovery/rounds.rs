//! `BACKFILL_EVERY`: the service itself reads what it missed, one process of all, round after round.
//!
//! A round reads Stripe's events from the watermark on, with a safe overlap, and records those that are
//! missing, as [`super::backfill`] does. The round is claimed in the database for a while, and for longer
//! as long as it lasts; nothing is locked while Stripe is asked. Only a round that came to its end, with all
//! that it read committed, moves the watermark. Whoever dies in one leaves a lease that ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::backfill::{Filled, List, TYPES_MAX, land};
use super::stripe::StripeApi;
use super::{RecoveryError, run};
use crate::domain::event::Event;
use crate::domain::event_types as types;
use crate::ingest::Ingest;
use crate::store::connection::Connection;
use crate::store::rounds::Round;
use crate::store::transaction::Rules;
use crate::store::{Session, Store, StoreError};
use crate::unix_milliseconds;

/// The shortest time between two rounds.
pub const EVERY_SECONDS_MIN: u64 = 60;
/// The longest.
pub const EVERY_SECONDS_MAX: u64 = 24 * 60 * 60;
/// How far back the first round reads: as long as Stripe tries to deliver.
pub const FIRST_SECONDS: i64 = 3 * 24 * 60 * 60;
/// How far behind the watermark a round begins: for events that come into Stripe's list late, and for a
/// clock of ours that is wrong.
pub const OVERLAP_SECONDS: i64 = 15 * 60;
/// How long a round is claimed for at once.
pub const LEASE_SECONDS: u64 = 60;
/// How soon a round that failed is tried again, if not sooner by `BACKFILL_EVERY`.
pub const FAILED_PAUSE_SECONDS: u64 = 5 * 60;
/// How often to look whether a round is due.
pub const LOOK_SECONDS: u64 = 10;

const AWAY_TOLD: &str = "what was missed is read from Stripe when it is back";

/// What became of a round.
#[derive(Debug)]
enum Ended {
    /// All was read, until this time of Stripe's clock.
    Done(Filled, Option<i64>),
    /// The service stops.
    Stopped,
    /// Its lease ran out, and another process has it.
    Lost,
}

/// The one who asks.
pub struct Rounds {
    connection: Connection,
    rules: Rules,
    api: StripeApi,
    every: Duration,
    /// Hears of what was changed.
    ingest: Ingest,
    stop: CancellationToken,
    meters: Meters,
}

impl Rounds {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(
        store: Store,
        rules: Rules,
        api: StripeApi,
        every: Duration,
        ingest: Ingest,
        stop: CancellationToken,
    ) -> Self {
        let connection = Connection::new(store, AWAY_TOLD);
        Self { connection, rules, api, every, ingest, stop, meters: Meters::new() }
    }

    /// Goes round until the service stops, on a thread of its own, where nobody cancels it.
    ///
    /// # Errors
    /// If the system gives no thread to it.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(tokio::task::spawn_blocking(move || runtime.block_on(self.run())))
    }

    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.look(unix_milliseconds()).await;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(Duration::from_secs(LOOK_SECONDS)) => {}
            }
        }
        self.connection.close().await;
    }

    /// Does a round, if one is due and nobody else's. `now` is in milliseconds.
    pub async fn look(&mut self, now: i64) {
        let until = now + milliseconds(Duration::from_secs(LEASE_SECONDS));
        let looked = run(&mut self.connection, async |session: &mut Session| {
            let rounds = session.rounds().await?;
            let is_due = rounds.next_at.is_none_or(|next_at| next_at <= now);
            let round = if is_due { session.claim_round(now, until).await? } else { None };
            Ok((rounds.succeeded_at, round))
        });
        // The connection has told that the database is away.
        let Ok((succeeded_at, round)) = looked.await else { return };
        self.meters.succeeded_at.set(succeeded_at.unwrap_or_default() as f64 / 1000.0);
        if let Some(round) = round {
            let ended = self.round(round, now).await;
            self.end(round, now, ended).await;
        }
    }

    async fn round(&mut self, round: Round, now: i64) -> Result<Ended, RecoveryError> {
        let began = now.div_euclid(1000);
        let from = round.watermark.map_or(began - FIRST_SECONDS, |known| known - OVERLAP_SECONDS);
        let mut filled = Filled::default();
        let mut newest = round.watermark;
        let all: Vec<&str> = types::all().collect();
        let api = self.api.clone();
        let order_ids = Arc::clone(&self.rules.policy.order_ids);
        for types in all.chunks(TYPES_MAX) {
            let mut list = List::new(&api, types, &order_ids, from, false);
            loop {
                let events = match self.ask(round, &mut list).await? {
                    Asked::Page(events) => events,
                    Asked::End => break,
                    Asked::Stopped => return Ok(Ended::Stopped),
                    Asked::Lost => return Ok(Ended::Lost),
                };
                newest = newest.max(events.iter().filter_map(|event| event.head().created).max());
                let before = filled;
                filled.read += events.len() as u64;
                let events: Vec<&Event> = events.iter().collect();
                let landed = land(&mut self.connection, &self.rules, events, &mut filled).await;
                self.meters.events.increment(filled.missing - before.missing);
                if filled.applied > before.applied {
                    self.ingest.tell_changes();
                }
                landed?;
            }
        }
        // By Stripe's clock, so that a wrong one of ours leaves no gap; but no later than the round began,
        // for what came meanwhile may be of a type that was read before.
        Ok(Ended::Done(
            filled,
            newest.map(|newest| newest.min(began).max(round.watermark.unwrap_or(0))),
        ))
    }

    /// Asks for a page, and keeps the round ours meanwhile.
    async fn ask(&mut self, round: Round, list: &mut List<'_>) -> Result<Asked, RecoveryError> {
        // Stripe may take minutes. To ask holds nothing, so it may be broken off.
        let mut asking = pin!(list.next());
        loop {
            let until = unix_milliseconds() + milliseconds(Duration::from_secs(LEASE_SECONDS));
            let extended = run(&mut self.connection, async |session: &mut Session| {
                session.extend_round(round.claim, until).await
            });
            if extended.await? == 0 {
                return Ok(Asked::Lost);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Asked::Stopped),
                page = asking.as_mut() => return Ok(page?.map_or(Asked::End, Asked::Page)),
                () = sleep(Duration::from_secs(LEASE_SECONDS / 3)) => {}
            }
        }
    }

    async fn end(&mut self, round: Round, now: i64, ended: Result<Ended, RecoveryError>) {
        let next_at = now + milliseconds(self.every);
        let result = match &ended {
            Ok(Ended::Done(filled, _)) if filled.refused > 0 => {
                // To go on would leave them behind: Stripe has them for 30 days.
                error!(
                    refused = filled.refused,
                    "the database refuses events that were read from Stripe; they are read again with \
                     every backfill, until it takes them"
                );
                "failed"
            }
            Ok(Ended::Done(filled, _)) => {
                if filled.missing > 0 {
                    warn!(
                        events = filled.missing,
                        applied = filled.applied,
                        "events were missing, and are recorded now; `paidup doctor` tells why they did not come"
                    );
                }
                "done"
            }
            Ok(Ended::Stopped) => "stopped",
            Ok(Ended::Lost) => {
                info!("another process goes on with the backfill");
                "lost"
            }
            Err(error) => {
                error!("the backfill failed, and is tried again: {error}");
                "failed"
            }
        };
        let released = match ended {
            Ok(Ended::Done(filled, watermark)) if filled.refused == 0 => {
                let now = unix_milliseconds();
                let finished = run(&mut self.connection, async |session: &mut Session| {
                    session.finish_round(round.claim, watermark, now, next_at).await
                });
                let finished = finished.await;
                if matches!(finished, Ok(1)) {
                    self.meters.succeeded_at.set(now as f64 / 1000.0);
                }
                finished
            }
            Ok(Ended::Lost) => Ok(0),
            // At once, by another process or by this one when it is back.
            Ok(Ended::Stopped) => self.release(round, now).await,
            Ok(Ended::Done(..)) | Err(_) => {
                let pause = self.every.min(Duration::from_secs(FAILED_PAUSE_SECONDS));
                self.release(round, now + milliseconds(pause)).await
            }
        };
        // The lease ends by itself.
        drop(released);
        self.meters.ended(result);
    }

    async fn release(&mut self, round: Round, next_at: i64) -> Result<u64, StoreError> {
        let release =
            async |session: &mut Session| session.release_round(round.claim, next_at).await;
        run(&mut self.connection, release).await
    }
}

/// What asking came to.
enum Asked {
    Page(Vec<Event>),
    End,
    Stopped,
    Lost,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

struct Meters {
    events: Counter,
    succeeded_at: Gauge,
}

impl Meters {
    fn new() -> Self {
        Self {
            events: counter!("paidup_backfill_events_total"),
            succeeded_at: gauge!("paidup_backfill_success_timestamp_seconds"),
        }
    }

    fn ended(&self, result: &'static str) {
        counter!("paidup_backfill_rounds_total", "result" => result).increment(1);
    }
}
