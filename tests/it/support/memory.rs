//! paidup in memory: what a store does around a [`WorkingSet`], over maps. Batches may be cut anywhere.
//!
//! It loads exactly what [`WorkingSet::needs`] asks for and writes exactly what [`WorkingSet::finish`]
//! says, so that a working set which forgets to ask, or to write, is found out here and not in a database.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use paidup::domain::event::Event;
use paidup::domain::order::{Due, OrderSnapshot};
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::Policy;
use paidup::domain::rows::{
    Change, ChangeSet, EventOutcome, Link, Loaded, Needs, Order, Page, Payment, Unparked,
};
use paidup::domain::working_set::WorkingSet;

/// Everything that a database would hold.
#[derive(Debug, Default)]
pub struct Memory {
    policy: Policy,
    /// By event id: the event and what became of it.
    events: BTreeMap<String, (Event, EventOutcome)>,
    payments: BTreeMap<String, Payment>,
    links: BTreeMap<String, Link>,
    orders: BTreeMap<String, Order>,
    pages: BTreeMap<(String, i64), Page>,
    changes: Vec<Change>,
    /// How many payments the last batch read.
    pub payments_read: usize,
}

impl Memory {
    /// An empty database under this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The shop inserts its row, with what is due if it says so.
    pub fn insert_order(&mut self, id: &str, due: Option<(i64, &str)>, created_at: i64) {
        assert!(!self.orders.contains_key(id), "{id} is there already");
        self.register(id, due, created_at);
    }

    /// The shop inserts its row, or changes what is due in the one that is there.
    pub fn register(&mut self, id: &str, due: Option<(i64, &str)>, created_at: i64) {
        let due = due.map(|(amount, currency)| Due { amount, currency: currency.to_owned() });
        let order = self.orders.entry(id.to_owned()).or_insert_with(|| {
            let currency = due.as_ref().map(|due| due.currency.clone());
            let snapshot = OrderSnapshot { currency, ..OrderSnapshot::default() };
            Order { snapshot, created_at, ..Order::default() }
        });
        order.due = due;
        order.is_weighed = false;
    }

    /// The shop writes its customer's address into its row.
    pub fn set_email(&mut self, id: &str, address: &str) {
        let order = self.orders.get_mut(id).expect("the order is there");
        order.customer_email = Some(address.to_owned());
    }

    /// Commits events as one batch; those known already are passed over, as the database's key does.
    pub fn deliver<'a>(&mut self, batch: impl IntoIterator<Item = &'a Event>) {
        let mut fresh: Vec<&Event> = Vec::new();
        for event in batch {
            let known = self.events.get(event.id()).map(|(known, _)| known);
            match known.or_else(|| fresh.iter().copied().find(|one| one.id() == event.id())) {
                // A test that means two events must give them two ids.
                Some(known) => {
                    let rules = &self.policy.order_ids;
                    assert!(known.says_the_same_as(event.body(), rules), "{}", event.id());
                }
                None => fresh.push(event),
            }
        }
        let mut working_set = self.load(&fresh, &[]);
        for event in &fresh {
            working_set.apply(event);
        }
        let changes = working_set.finish();
        for (event, outcome) in fresh.into_iter().zip(&changes.outcomes) {
            self.events.insert(event.id().to_owned(), (event.clone(), outcome.clone()));
        }
        self.write(changes);
    }

    /// What the sweep does after the shop wrote rows.
    pub fn take_up(&mut self, orders: &[&str]) {
        let mut working_set = self.load(&[], orders);
        for id in orders {
            working_set.take_up(id);
        }
        self.write(working_set.finish());
    }

    /// The same for every row that the shop wrote since it was last weighed.
    pub fn sweep(&mut self) {
        let written = self.orders.iter().filter(|(_, order)| !order.is_weighed);
        let written: Vec<String> = written.map(|(id, _)| id.clone()).collect();
        self.take_up(&written.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn load(&mut self, events: &[&Event], orders: &[&str]) -> WorkingSet {
        let mut working_set = WorkingSet::new(self.policy.clone());
        self.payments_read = 0;
        loop {
            let needs = working_set.needs(events.iter().copied(), orders.iter().copied());
            if needs.is_empty() {
                return working_set;
            }
            let loaded = self.select(&needs);
            self.payments_read += loaded.payments.len();
            working_set.load(needs, loaded);
        }
    }

    fn select(&self, needs: &Needs) -> Loaded {
        let is_needed = |payment: &&Payment| {
            let of = |ids: &BTreeSet<String>, id: &Option<String>| {
                id.as_ref().is_some_and(|id| ids.contains(id))
            };
            let place = payment.order_id.clone().map(|order| (order, payment.page));
            needs.payments.contains(payment.key())
                || payment.page == 0 && of(&needs.orders, &payment.order_id)
                || place.is_some_and(|place| needs.pages.contains(&place))
                || of(&needs.subscriptions, &payment.facts.subscription)
        };
        let pages = self.pages.values().filter(|page| needs.orders.contains(&page.order_id));
        Loaded {
            links: pick(&self.links, &needs.links),
            payments: self.payments.values().filter(is_needed).cloned().collect(),
            orders: pick(&self.orders, &needs.orders),
            pages: pages.cloned().collect(),
        }
    }

    fn write(&mut self, changes: ChangeSet) {
        for key in &changes.merged {
            self.payments.remove(key);
        }
        for payment in changes.new_payments {
            let key = payment.key().to_owned();
            assert!(self.payments.insert(key.clone(), payment).is_none(), "{key} is new only once");
        }
        for payment in changes.payments {
            let key = payment.key().to_owned();
            assert!(self.payments.insert(key.clone(), payment).is_some(), "{key} was there");
        }
        for (id, link) in changes.new_links {
            assert!(self.links.insert(id.clone(), link).is_none(), "{id} is new only once");
        }
        for (id, link) in changes.links {
            assert!(self.links.insert(id.clone(), link).is_some(), "{id} was there to update");
        }
        for (id, order) in changes.new_orders {
            assert!(self.orders.insert(id.clone(), order).is_none(), "{id} is new only once");
        }
        for (id, order) in changes.orders {
            assert!(self.orders.insert(id.clone(), order).is_some(), "{id} was there to update");
        }
        for page in changes.pages {
            self.pages.insert((page.order_id.clone(), page.page), page);
        }
        self.changes.extend(changes.changes);
        for unparked in &changes.unparked {
            self.settle(unparked);
        }
        for (_, outcome) in self.events.values_mut() {
            let is_taken_up =
                outcome.order_id.as_ref().is_some_and(|id| changes.taken_up.contains(id));
            if outcome.outcome == Outcome::Parked && is_taken_up {
                outcome.outcome = Outcome::Applied;
            }
        }
    }

    fn settle(&mut self, unparked: &Unparked) {
        for (id, (_, outcome)) in &mut self.events {
            let key = outcome.payment_key.as_ref();
            let is_of_payment = key.is_some_and(|key| unparked.payment_keys.contains(key));
            if outcome.outcome == Outcome::Parked && is_of_payment && *id != unparked.event_id {
                outcome.order_id = Some(unparked.order_id.clone());
                if unparked.is_settled {
                    outcome.outcome = Outcome::Applied;
                    outcome.reason = format!("joined by {}", unparked.event_id);
                }
            }
        }
    }

    /// One order's row.
    pub fn order(&self, id: &str) -> Option<&Order> {
        self.orders.get(id)
    }

    /// All rows but for what depends on the way: `version`, which counts the changes, and what was
    /// announced.
    pub fn rows(&self) -> BTreeMap<String, Order> {
        let row = |(id, order): (&String, &Order)| {
            (id.clone(), Order { version: 0, announced: None, ..order.clone() })
        };
        self.orders.iter().map(row).collect()
    }

    /// The changes of one order, first to last.
    pub fn changes(&self, id: &str) -> Vec<&Change> {
        self.changes.iter().filter(|change| change.order_id == id).collect()
    }

    /// What each order's last change recorded.
    pub fn last_recorded(&self) -> BTreeMap<String, OrderSnapshot> {
        self.changes.iter().map(|change| (change.order_id.clone(), change.to.clone())).collect()
    }

    /// What became of an event.
    pub fn outcome(&self, event_id: &str) -> &EventOutcome {
        &self.events.get(event_id).expect("the event was delivered").1
    }

    /// The payments' rows.
    pub fn payments(&self) -> Vec<&Payment> {
        self.payments.values().collect()
    }
}

fn pick<T: Clone>(all: &BTreeMap<String, T>, ids: &BTreeSet<String>) -> Vec<(String, T)> {
    ids.iter().filter_map(|id| Some((id.clone(), all.get(id)?.clone()))).collect()
}
