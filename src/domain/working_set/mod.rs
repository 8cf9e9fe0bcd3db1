//! Events → payments → orders, in memory: the rows that one fold works on.
//!
//! A caller loads what the events need ([`WorkingSet::needs`]), applies them one by one
//! ([`WorkingSet::apply`]), and writes what changed ([`WorkingSet::finish`]). The set joins payments that
//! turn out to be one, and keeps those of no known order aside until an event links them. Each order is
//! weighed once, at the end, and has one change at most: from what was committed before to what is
//! committed now. It knows no database; over an empty one it is the whole of paidup in memory, which is
//! how the property tests use it.

mod assign;
mod finish;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::delta::{Delta, Reading};
use super::event::Event;
use super::explain::Applied;
use super::outcome::IgnoredReason;
use super::payment::Facts;
use super::payment::claim::Claim;
use super::policy::{Policy, UnknownOrders};
use super::rows::{EventOutcome, Link, Loaded, Needs, Order, Page, Payment, Unparked};
use super::summary::Summary;

/// An order with more payments keeps them in pages of this size, of which only those that change are read.
pub const PAGE_PAYMENTS_MAX: usize = 128;

/// An order that the fold works on.
#[derive(Debug, Default)]
struct TrackedOrder {
    /// As it is now; `None` if it has no row.
    row: Option<Order>,
    /// As it was loaded.
    before: Option<Order>,
    /// Whether it is to be weighed.
    is_touched: bool,
    /// Whether an event names it whose word makes a row.
    is_named: bool,
    /// The earliest event that does, in Unix seconds.
    named_at: Option<i64>,
    /// The last event that had a part in it.
    cause: Option<String>,
    /// Its payments, of the pages that are loaded.
    payments: BTreeSet<String>,
    /// What its pages after the first added up to when they were loaded.
    pages: BTreeMap<i64, Summary>,
    /// Pages after the first whose payments changed.
    dirty_pages: BTreeSet<i64>,
}

impl TrackedOrder {
    /// Whether the fold changed more of the row than that it is weighed now.
    fn has_changed(&self) -> bool {
        let before = self.before.as_ref().map(|row| Order { is_weighed: true, ..row.clone() });
        before != self.row
    }
}

/// The rows that one fold works on. See the module's text.
#[derive(Debug, Default)]
pub struct WorkingSet {
    policy: Policy,
    loaded: Needs,
    links: HashMap<String, Link>,
    payments: HashMap<String, Payment>,
    /// Keys of payments by their subscription; some may have become part of another since.
    by_subscription: HashMap<String, BTreeSet<String>>,
    orders: BTreeMap<String, TrackedOrder>,
    /// Which of the links and payments have a row.
    stored_links: HashSet<String>,
    stored_payments: HashSet<String>,
    dirty_links: BTreeSet<String>,
    dirty_payments: BTreeSet<String>,
    merged: BTreeSet<String>,
    unparked: Vec<Unparked>,
    /// Each event in its order: what it did, or its outcome if it counts for no order.
    events: Vec<Result<Applied, EventOutcome>>,
}

impl WorkingSet {
    /// An empty set.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// What is still to be loaded for these events and orders, and for what is in the set. Load it, and
    /// call again with the same, until nothing is.
    #[must_use]
    pub fn needs<'a>(
        &self,
        events: impl IntoIterator<Item = &'a Event>,
        orders: impl IntoIterator<Item = &'a str>,
    ) -> Needs {
        let mut needs = Needs::default();
        needs.orders.extend(orders.into_iter().map(str::to_owned));
        for event in events {
            if let Ok(delta) = self.relevant(event) {
                self.needs_of(delta, &mut needs);
            }
        }
        for link in self.links.values() {
            if let Some(key) = &link.payment_key {
                needs.payments.insert(key.clone());
                needs.links.insert(key.clone());
            }
            needs.orders.extend(link.claim.as_ref().map(|claim| claim.order_id().to_owned()));
        }
        for payment in self.payments.values() {
            needs.links.extend(payment.facts.subscription.clone());
            let Some(order_id) = &payment.order_id else { continue };
            needs.orders.insert(order_id.clone());
            if payment.page > 0 {
                needs.pages.insert((order_id.clone(), payment.page));
            }
        }
        for (id, order) in &self.orders {
            // A new payment goes to the last page.
            needs.pages.extend(order.pages.keys().last().map(|last| (id.clone(), *last)));
        }
        needs.without(&self.loaded)
    }

    fn needs_of(&self, delta: &Delta, needs: &mut Needs) {
        for id in &delta.facts.ids {
            needs.links.insert(id.id.clone());
            needs.payments.insert(id.id.clone());
        }
        if let Some(subscription) = &delta.facts.subscription {
            needs.links.insert(subscription.clone());
            // All its payments, only if they may go to another order.
            if let Some(claim) = &delta.subscription_claim
                && self.loaded.links.contains(subscription)
                && self.moves(subscription, claim)
            {
                needs.subscriptions.insert(subscription.clone());
            }
        }
        needs.orders.extend(delta.claims().map(|claim| claim.order_id().to_owned()));
    }

    /// Whether a subscription's payments go to another order by this claim.
    pub(super) fn moves(&self, subscription: &str, claim: &Claim) -> bool {
        let known = self.links.get(subscription).and_then(|link| link.claim.as_ref());
        known.is_none_or(|known| {
            claim > known
                && (claim.order_id() != known.order_id()
                    || claim.authority.is_the_shops() != known.authority.is_the_shops())
        })
    }

    /// Takes in what was loaded. All that was needed and is not among it does not exist.
    pub fn load(&mut self, needs: Needs, loaded: Loaded) {
        self.stored_links.extend(loaded.links.iter().map(|(id, _)| id.clone()));
        self.links.extend(loaded.links);
        for id in &needs.orders {
            self.orders.entry(id.clone()).or_default();
        }
        self.loaded.append(needs);
        for payment in loaded.payments {
            let key = payment.key().to_owned();
            self.loaded.payments.insert(key.clone());
            if !self.stored_payments.insert(key.clone()) {
                continue;
            }
            if let Some(order_id) = &payment.order_id {
                self.order(order_id).payments.insert(key.clone());
            }
            self.place(key, payment);
        }
        for (id, row) in loaded.orders {
            let order = self.orders.entry(id).or_default();
            order.is_touched |= !row.is_weighed;
            order.before = Some(row.clone());
            order.row = Some(row);
        }
        for Page { order_id, page, summary } in loaded.pages {
            self.order(&order_id).pages.entry(page).or_insert(summary);
        }
    }

    /// Applies one event; all that it needs must be loaded.
    pub fn apply(&mut self, event: &Event) {
        let applied = match self.relevant(event) {
            Ok(delta) => Ok(self.apply_delta(event, delta)),
            Err(reason) => Err(EventOutcome::ignored(event, reason)),
        };
        self.events.push(applied);
    }

    /// Takes in which ids belong together, of a second body under the id of a recorded event: another
    /// API version can name more of them.
    pub fn apply_links(&mut self, event: &Event) {
        let Ok(delta) = self.relevant(event) else { return };
        let facts = Facts {
            ids: delta.facts.ids.clone(),
            livemode: delta.facts.livemode,
            ..Facts::default()
        };
        if !facts.ids.is_empty() {
            let mut touched = BTreeSet::new();
            self.join_payment(event.id(), &facts, &mut touched);
            self.touch(event, &touched);
        }
    }

    fn touch(&mut self, event: &Event, orders: &BTreeSet<String>) {
        for id in orders {
            let order = self.order(id);
            order.is_touched = true;
            order.cause = Some(event.id().to_owned());
        }
    }

    /// Weighs an order anew, e.g. after the shop inserted its row.
    pub fn take_up(&mut self, order_id: &str) {
        self.order(order_id).is_touched = true;
    }

    /// What the event adds, if it counts; `Err` is why it does not.
    pub(super) fn relevant<'a>(&self, event: &'a Event) -> Result<&'a Delta, IgnoredReason> {
        self.policy.admits(event)?;
        match event.reading() {
            Reading::Relevant(delta) => Ok(delta),
            Reading::Ignored(reason) => Err(reason.clone()),
        }
    }

    fn apply_delta(&mut self, event: &Event, delta: &Delta) -> Applied {
        let at = delta.facts.first_at.unwrap_or_default();
        let mut touched = BTreeSet::new();
        // Each order that the event names gets its row from the first event that names it, even if its
        // payment turns out to be another's.
        for claim in delta.claims() {
            self.name(claim, at, &mut touched);
        }
        let joined = (!delta.facts.ids.is_empty())
            .then(|| self.join_payment(event.id(), &delta.facts, &mut touched));
        let (payment_key, has_added) = joined.unzip();
        if let (Some(subscription), Some(claim)) =
            (&delta.facts.subscription, &delta.subscription_claim)
        {
            self.claim_subscription(event.id(), subscription, claim, &mut touched);
        }
        self.touch(event, &touched);
        Applied {
            meaning: delta.meaning,
            payment_key,
            has_added: has_added.unwrap_or_default(),
            // A subscription's own event is of no payment; under its id it is found with those it pays.
            subscription: delta.facts.subscription.clone(),
            named: event.order_id().map(str::to_owned),
            touched,
        }
    }

    /// An event names an order. Only a word of the shop's makes a row, and counts for its age.
    fn name(&mut self, claim: &Claim, at: i64, touched: &mut BTreeSet<String>) {
        let creates = self.policy.unknown_orders == UnknownOrders::Create;
        let order = self.order(claim.order_id());
        if !creates || !claim.authority.makes_orders() {
            return;
        }
        order.is_named = true;
        order.named_at = Some(order.named_at.map_or(at, |earliest| earliest.min(at)));
        if order.row.as_ref().is_none_or(|row| at < row.created_at) {
            touched.insert(claim.order_id().to_owned());
        }
    }
}
