//! One destination at work: how much it takes at once, whether it rests, and what an attempt means for
//! the delivery. A lane has its own limits, so one that is slow or dead keeps no other waiting.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, counter, gauge};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::circuit::Circuit;
use super::message::Message;
use super::worker::{CLAIMS_FACTOR, Pace};
use super::{Outcome, Sender};
use crate::domain::retry::{self, Next};
use crate::store::outbox::{Claim, End, Settlement, Telling};

/// So many attempts are made for an order without an address, since a later event may bring one.
pub const ADDRESS_ATTEMPTS_MAX: u32 = 3;

/// An attempt that has ended, or was never begun.
pub(super) struct Finished {
    /// Whose.
    pub lane: usize,
    /// What is to be written.
    pub settlement: Settlement,
    /// The destination is to be disabled, for this reason.
    pub gone: Option<String>,
}

/// A destination, and what is under way to it.
pub(super) struct Lane {
    index: usize,
    shared: Arc<Shared>,
    finish: mpsc::UnboundedSender<Finished>,
    /// Claimed and not settled.
    pub in_flight: usize,
    /// Whether the database may have more that is due.
    pub may_have_more: bool,
    meters: Meters,
}

/// What the attempts of a lane share.
struct Shared {
    sender: Sender,
    gate: Semaphore,
    circuit: Mutex<Circuit>,
    pace: Pace,
    random: RandomState,
}

impl Lane {
    pub fn new(
        index: usize,
        sender: Sender,
        pace: &Pace,
        finish: &mpsc::UnboundedSender<Finished>,
    ) -> Self {
        let meters = Meters::new(&sender.destination.name);
        let gate = Semaphore::new(sender.destination.concurrency);
        let (circuit, random) = (Mutex::default(), RandomState::new());
        let shared = Shared { sender, gate, circuit, pace: pace.clone(), random };
        let (shared, finish) = (Arc::new(shared), finish.clone());
        Self { index, shared, finish, in_flight: 0, may_have_more: true, meters }
    }

    pub fn name(&self) -> &str {
        &self.shared.sender.destination.name
    }

    /// How many deliveries may be claimed, when so many of those in flight have finished. A few are not
    /// worth a turn while others are under way.
    pub fn room(&self, now: i64, finished: usize) -> usize {
        let circuit = self.shared.circuit();
        if circuit.is_resting(now) {
            return 0;
        }
        let busy = self.in_flight.saturating_sub(finished);
        let concurrency = self.shared.sender.destination.concurrency;
        let capacity = match circuit.room(concurrency) {
            room if room < concurrency => room,
            room => room * CLAIMS_FACTOR,
        };
        let room = capacity.saturating_sub(busy);
        if busy > 0 && room < capacity / 4 { 0 } else { room }
    }

    /// What has not begun will not begin.
    pub fn stop(&self) {
        self.shared.gate.close();
    }

    /// Sends each on its way. To people, the changes of one order one after the other, as they were
    /// made: "failed" after "paid" would be the last word, and wrong.
    pub fn dispatch(&mut self, tasks: &Handle, claims: &[Claim], tellings: Vec<Telling>, now: i64) {
        let is_for_people = self.shared.sender.is_for_people();
        let mut claims: HashMap<i64, Claim> =
            claims.iter().map(|claim| (claim.id, *claim)).collect();
        let mut turns: Vec<Vec<(Unfinished, Telling)>> = Vec::with_capacity(tellings.len());
        let mut places: HashMap<String, usize> = HashMap::new();
        for telling in tellings {
            let Some(claim) = claims.remove(&telling.id) else { continue };
            let one = (self.unfinished(claim, now), telling);
            match places.get(&one.1.order_id).and_then(|place| turns.get_mut(*place)) {
                Some(turn) => turn.push(one),
                None => {
                    if is_for_people {
                        places.insert(one.1.order_id.clone(), turns.len());
                    }
                    turns.push(vec![one]);
                }
            }
        }
        for claim in claims.into_values() {
            let why = "there is nothing to tell any more".to_owned();
            self.unfinished(claim, now).end(End::Dead(why), None);
        }
        let begin_before = Instant::now() + self.shared.pace.begin_within();
        for turn in turns {
            let shared = Arc::clone(&self.shared);
            tasks.spawn(async move {
                for (unfinished, telling) in turn {
                    let (end, gone) = shared.attempt(telling, begin_before).await;
                    unfinished.end(end, gone);
                }
            });
        }
    }

    fn unfinished(&mut self, claim: Claim, now: i64) -> Unfinished {
        self.in_flight += 1;
        Unfinished { lane: self.index, claim, now, finish: Some(self.finish.clone()) }
    }

    pub fn count(&self, end: &End) {
        match end {
            End::Sent => self.meters.sent.increment(1),
            End::Skipped(_) => self.meters.skipped.increment(1),
            End::Again(..) => self.meters.failed.increment(1),
            End::Released(_) => {}
            End::Dead(_) => {
                self.meters.failed.increment(1);
                self.meters.dead.increment(1);
            }
        }
    }

    pub fn gauge(&self, waiting_milliseconds: Option<i64>, is_disabled: bool, now: i64) {
        let waiting = waiting_milliseconds.unwrap_or_default().max(0);
        self.meters.oldest_seconds.set(waiting as f64 / 1000.0);
        let rests = is_disabled || self.shared.circuit().is_resting(now);
        self.meters.rests.set(if rests { 1.0 } else { 0.0 });
    }
}

impl Shared {
    fn circuit(&self) -> Circuit {
        *self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt, and what it means: for the delivery, and for the destination if it is gone.
    async fn attempt(&self, telling: Telling, begin_before: Instant) -> (End, Option<String>) {
        let clock = &self.pace.clock;
        let Ok(_permit) = self.gate.acquire().await else { return (End::Released(clock()), None) };
        let now = clock();
        // Too late to be settled within the lease, or not to be tried now: whoever claims it next.
        if Instant::now() > begin_before || self.circuit().is_resting(now) {
            return (End::Released(now), None);
        }
        if telling.is_overtaken && self.sender.is_for_people() {
            let why = "a later change of this order was told already".to_owned();
            return (End::Skipped(why), None);
        }
        let attempts = u32::try_from(telling.attempts).unwrap_or(u32::MAX);
        let delivery = telling.id;
        let message = Message::new(telling, &self.sender.destination.wants);
        let sending = self.sender.send(&message, now);
        let outcome = match timeout(self.pace.attempt, sending).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed(format!("no answer within {:?}", self.pace.attempt)),
        };
        self.judge(outcome, delivery, attempts)
    }

    fn judge(&self, outcome: Outcome, delivery: i64, attempts: u32) -> (End, Option<String>) {
        let now = (self.pace.clock)();
        let dice = self.random.hash_one((delivery, attempts));
        match outcome {
            Outcome::Sent => {
                self.succeeded();
                (End::Sent, None)
            }
            Outcome::Skipped(why) => (End::Skipped(why), None),
            Outcome::NoAddress => {
                let why = "the order has no e-mail address".to_owned();
                match retry::next(attempts, now, dice, None) {
                    Next::At(at) if attempts < ADDRESS_ATTEMPTS_MAX => (End::Again(at, why), None),
                    _ => (End::Skipped(why), None),
                }
            }
            Outcome::Refused(why) => {
                self.tell_dead(delivery, &why);
                (End::Dead(why), None)
            }
            // Not the delivery's fault: it waits with the others.
            Outcome::Gone(why) => (End::Released(now), Some(why)),
            Outcome::Failed { why, asked_seconds, is_its_fault } => {
                if is_its_fault {
                    self.failed(now, asked_seconds, &why);
                }
                match retry::next(attempts, now, dice, asked_seconds) {
                    Next::At(at) => (End::Again(at, why), None),
                    Next::GiveUp => {
                        self.tell_dead(delivery, &why);
                        (End::Dead(why), None)
                    }
                }
            }
        }
    }

    fn succeeded(&self) {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        if circuit.room(2) == 1 {
            let destination = &self.sender.destination.name;
            info!(destination, "takes notifications again");
        }
        circuit.succeeded();
    }

    fn failed(&self, now: i64, asked_seconds: Option<u32>, why: &str) {
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        if circuit.failed(now, asked_seconds) {
            let destination = &self.sender.destination.name;
            warn!(destination, "{why}; it is left alone for a while, and all is kept for it");
        }
    }

    fn tell_dead(&self, delivery: i64, why: &str) {
        let destination = &self.sender.destination.name;
        warn!(
            delivery,
            destination, "given up: {why}. `paidup notify retry {delivery}` sends it again"
        );
    }
}

/// Sees to it that every claim is settled, whatever becomes of its task: a panic is a failed attempt.
struct Unfinished {
    lane: usize,
    claim: Claim,
    now: i64,
    finish: Option<mpsc::UnboundedSender<Finished>>,
}

impl Unfinished {
    fn end(mut self, end: End, gone: Option<String>) {
        self.tell(end, gone);
    }

    fn tell(&mut self, end: End, gone: Option<String>) {
        if let Some(finish) = self.finish.take() {
            let settlement = Settlement { claim: self.claim, end };
            // Nobody listens only when the process ends; then the lease runs out.
            let _ = finish.send(Finished { lane: self.lane, settlement, gone });
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let why = "paidup panicked, which is a bug of its".to_owned();
        match retry::next(2, self.now, 0, None) {
            Next::At(at) => self.tell(End::Again(at, why), None),
            Next::GiveUp => self.tell(End::Dead(why), None),
        }
    }
}

struct Meters {
    sent: Counter,
    failed: Counter,
    skipped: Counter,
    dead: Counter,
    oldest_seconds: Gauge,
    rests: Gauge,
}

impl Meters {
    fn new(name: &str) -> Self {
        let of = |result: &'static str| {
            let destination = name.to_owned();
            counter!("paidup_notifications_total", "destination" => destination, "result" => result)
        };
        let destination = || name.to_owned();
        Self {
            sent: of("sent"),
            failed: of("failed"),
            skipped: of("skipped"),
            dead: of("dead"),
            oldest_seconds: gauge!("paidup_notification_oldest_seconds", "destination" => destination()),
            rests: gauge!("paidup_destination_rests", "destination" => destination()),
        }
    }
}
