//! paidup in memory: what a store does around a [`Ledger`], over maps. Batches may be cut anywhere.
//!
//! It loads exactly what [`Ledger::needs`] asks for and writes exactly what [`Ledger::finish`] says,
//! so that a ledger which forgets to ask, or to write, is found out here and not in a database.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use paidup::domain::event::Event;
use paidup::domain::ledger::{
    Change, Join, Ledger, Link, Needs, Order, Outcome, Payment, Policy, Verdict,
};
use paidup::domain::order::{Due, Told};

/// Everything that a database would hold.
#[derive(Debug, Default)]
pub struct Memory {
    policy: Policy,
    /// By event id: the event and what became of it.
    events: BTreeMap<String, (Event, Outcome)>,
    payments: BTreeMap<String, Payment>,
    links: BTreeMap<String, Link>,
    orders: BTreeMap<String, Order>,
    changes: Vec<Change>,
}

impl Memory {
    /// An empty database under this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// The shop inserts its row, with what is due if it says so.
    pub fn insert_order(&mut self, id: &str, due: Option<(i64, &str)>, created_at: i64) {
        let due = due.map(|(amount, currency)| Due { amount, currency: currency.to_owned() });
        let currency = due.as_ref().map(|due| due.currency.clone());
        let told = Told { currency, ..Told::default() };
        let order = Order { due, told, created_at, ..Order::default() };
        assert!(self.orders.insert(id.to_owned(), order).is_none(), "{id} is there already");
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
                Some(known) => assert!(known.says_the_same_as(event.body()), "{}", event.id()),
                None => fresh.push(event),
            }
        }
        let mut ledger = self.load(&fresh, &[]);
        for event in fresh {
            let outcome = ledger.apply(event);
            self.events.insert(event.id().to_owned(), (event.clone(), outcome));
        }
        self.write(ledger);
    }

    /// What the sweep does after the shop inserted rows.
    pub fn take_up(&mut self, orders: &[&str]) {
        let mut ledger = self.load(&[], orders);
        for id in orders {
            ledger.take_up(id);
        }
        self.write(ledger);
    }

    fn load(&self, events: &[&Event], orders: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(self.policy);
        loop {
            let needs = ledger.needs(events.iter().copied(), orders.iter().copied());
            if needs.is_empty() {
                return ledger;
            }
            let (links, payments, orders) = self.select(&needs);
            ledger.load(needs, links, payments, orders);
        }
    }

    #[expect(clippy::type_complexity, reason = "it is what Ledger::load takes")]
    fn select(&self, needs: &Needs) -> (Vec<(String, Link)>, Vec<Payment>, Vec<(String, Order)>) {
        let is_needed = |payment: &&Payment| {
            let of = |ids: &BTreeSet<String>, id: &Option<String>| {
                id.as_ref().is_some_and(|id| ids.contains(id))
            };
            needs.payments.contains(payment.key())
                || of(&needs.orders, &payment.order_id)
                || of(&needs.subscriptions, &payment.facts.subscription)
        };
        (
            pick(&self.links, &needs.links),
            self.payments.values().filter(is_needed).cloned().collect(),
            pick(&self.orders, &needs.orders),
        )
    }

    fn write(&mut self, ledger: Ledger) {
        let writes = ledger.finish();
        for key in &writes.merged {
            self.payments.remove(key);
        }
        for payment in writes.new_payments {
            let key = payment.key().to_owned();
            assert!(self.payments.insert(key.clone(), payment).is_none(), "{key} is new only once");
        }
        for payment in writes.payments {
            let key = payment.key().to_owned();
            assert!(self.payments.insert(key.clone(), payment).is_some(), "{key} was there");
        }
        for (id, link) in writes.new_links {
            assert!(self.links.insert(id.clone(), link).is_none(), "{id} is new only once");
        }
        for (id, link) in writes.links {
            assert!(self.links.insert(id.clone(), link).is_some(), "{id} was there to update");
        }
        for (id, order) in writes.new_orders {
            assert!(self.orders.insert(id.clone(), order).is_none(), "{id} is new only once");
        }
        for (id, order) in writes.orders {
            assert!(self.orders.insert(id.clone(), order).is_some(), "{id} was there to update");
        }
        self.changes.extend(writes.changes);
        for join in &writes.joins {
            self.settle(join);
        }
    }

    fn settle(&mut self, join: &Join) {
        for (id, (_, outcome)) in &mut self.events {
            let key = outcome.payment_key.as_ref();
            let is_of_payment = key.is_some_and(|key| join.payment_keys.contains(key));
            if outcome.verdict == Verdict::Parked && is_of_payment && *id != join.event_id {
                outcome.order_id = Some(join.order_id.clone());
                if join.is_settled {
                    outcome.verdict = Verdict::Applied;
                    outcome.reason = format!("joined by {}", join.event_id);
                }
            }
        }
    }

    /// One order's row.
    pub fn order(&self, id: &str) -> Option<&Order> {
        self.orders.get(id)
    }

    /// All rows but for `version`, which counts the changes on the way.
    pub fn rows(&self) -> BTreeMap<String, Order> {
        let row =
            |(id, order): (&String, &Order)| (id.clone(), Order { version: 0, ..order.clone() });
        self.orders.iter().map(row).collect()
    }

    /// The changes of one order, first to last.
    pub fn changes(&self, id: &str) -> Vec<&Change> {
        self.changes.iter().filter(|change| change.order_id == id).collect()
    }

    /// What each order's last change told.
    pub fn last_told(&self) -> BTreeMap<String, Told> {
        self.changes.iter().map(|change| (change.order_id.clone(), change.to.clone())).collect()
    }

    /// What became of an event.
    pub fn outcome(&self, event_id: &str) -> &Outcome {
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
