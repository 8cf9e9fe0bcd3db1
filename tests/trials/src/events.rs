//! Numbered events: each is made from its number alone, so it can be sent again, or compared, without
//! being kept. Orders live through the stories that `paidup trigger` knows, one after the other.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use paidup::trigger::samples::Sale;
use paidup::trigger::scenarios::SCENARIOS;

/// The secret that the trials' Stripe signs with.
pub const SECRET: &str = "whsec_trials_0123456789abcdefghijklmnopqrstuv";

/// What the events of one trial are made of.
#[derive(Clone)]
pub struct Events {
    /// Keeps the ids of several sets apart.
    name: &'static str,
    /// When it all happened, in Unix seconds.
    since: i64,
    /// The numbers at which the scenarios of one round begin, and the length of the round.
    begins: Vec<u32>,
    round: u32,
}

impl Events {
    /// Made once a trial: its events' times are of now.
    pub fn new(name: &'static str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::at(name, since as i64 - 60)
    }

    /// All happened at this time, in Unix seconds.
    pub fn at(name: &'static str, since: i64) -> Self {
        let (mut begins, mut round) = (Vec::new(), 0);
        for scenario in SCENARIOS {
            begins.push(round);
            round += scenario.steps.len() as u32;
        }
        Self { name, since, begins, round }
    }

    /// The id of that event.
    pub fn id(&self, number: u32) -> String {
        format!("evt_{}_{number}", self.name)
    }

    /// The number of the event of that id; `None` if it is none of these.
    pub fn number(&self, id: &str) -> Option<u32> {
        id.strip_prefix("evt_")?.strip_prefix(self.name)?.strip_prefix('_')?.parse().ok()
    }

    /// The order that this event is about.
    pub fn order(&self, number: u32) -> String {
        let (order, _, _) = self.place(number);
        format!("{}-{order}", self.name)
    }

    /// The number of the first event of that order; `None` if it is none of these.
    pub fn first_of(&self, order: &str) -> Option<u32> {
        let order: u32 = order.strip_prefix(self.name)?.strip_prefix('-')?.parse().ok()?;
        let scenarios = self.begins.len() as u32;
        let begin = self.begins.get((order % scenarios) as usize)?;
        (order / scenarios).checked_mul(self.round)?.checked_add(*begin)
    }

    /// The numbers below `sent` in pieces of about `length`, with all events of an order in one.
    pub fn stories(&self, sent: u32, length: u32) -> impl Iterator<Item = Range<u32>> {
        let length = length.next_multiple_of(self.round);
        let begins = (0..sent).step_by(length as usize);
        begins.map(move |begin| begin..begin.saturating_add(length).min(sent))
    }

    /// The body, always the same for the same number.
    pub fn body(&self, number: u32) -> Bytes {
        let (order, scenario, step) = self.place(number);
        let name = format!("{}-{order}", self.name);
        let sale = Sale {
            order: Some(&name),
            metadata: &[],
            account: None,
            amount: 1000 + i64::from(order % 50_000),
            currency: "usd",
            refunded: None,
            nonce: u64::from(number),
            since: self.since,
        };
        let steps = SCENARIOS.get(scenario).map_or(&[][..], |scenario| scenario.steps);
        let at = self.since + step as i64;
        let mut event = steps.get(step).map(|step| sale.event(*step, at)).unwrap_or_default();
        event["id"] = self.id(number).into();
        event.to_string().into()
    }

    /// The number of the order, its scenario, and the step of it.
    fn place(&self, number: u32) -> (u32, usize, usize) {
        let (rounds, within) = (number / self.round, number % self.round);
        let scenario = self.begins.partition_point(|begin| *begin <= within) - 1;
        let begin = self.begins.get(scenario).copied().unwrap_or_default();
        let order = rounds * self.begins.len() as u32 + scenario as u32;
        (order, scenario, (within - begin) as usize)
    }
}

/// A small generator, so that a run can be told by its seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed of now, for what should differ from run to run.
    pub fn seed() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}
