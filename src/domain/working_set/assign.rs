//! Which payment facts belong to, and which order a payment belongs to.

use std::collections::{BTreeSet, HashSet};

use super::{PAGE_PAYMENTS_MAX, TrackedOrder, WorkingSet};
use crate::domain::payment::Facts;
use crate::domain::payment::claim::Claim;
use crate::domain::rows::{Payment, Unparked};
use crate::domain::summary::Summary;

impl WorkingSet {
    /// Joins facts to the payment that goes by any of their ids, and all such payments to one. Its key,
    /// and whether the facts added anything.
    pub(super) fn join_payment(
        &mut self,
        event_id: &str,
        facts: &Facts,
        touched: &mut BTreeSet<String>,
    ) -> (String, bool) {
        let found: BTreeSet<String> =
            facts.ids.iter().filter_map(|id| self.resolve(&id.id)).collect();
        let mut joined = facts.clone();
        let mut parts = Vec::new();
        for key in &found {
            let Some(part) = self.payments.get(key) else { continue };
            joined.join(part.facts.clone());
            parts.push((part.order_id.clone(), part.page));
            if found.len() == 1 && joined == part.facts {
                return (key.clone(), false);
            }
        }
        for key in &found {
            self.take_away(key, touched);
        }
        let key = joined.key().map(|key| key.id.clone()).unwrap_or_default();
        let has_merged = found.iter().any(|one| *one != key);
        for merged in found.iter().filter(|merged| **merged != key) {
            self.merged.insert(merged.clone());
            self.dirty_payments.remove(merged);
        }
        // All its ids lead to the newest key, in one step.
        let linked = if has_merged { &joined.ids } else { &facts.ids };
        let linked: Vec<String> = linked.iter().map(|id| id.id.clone()).collect();
        for id in linked.iter().chain(&found).filter(|id| **id != key) {
            if has_merged && !self.loaded.links.contains(id) {
                // Every id of a payment but its key has its link.
                self.stored_links.insert(id.clone());
            }
            self.link_payment(id, &key);
        }
        self.merged.remove(&key);
        self.dirty_payments.insert(key.clone());
        self.place(key.clone(), Payment { order_id: None, page: 0, facts: joined });
        self.assign(event_id, &key, &parts, touched);
        (key, true)
    }

    /// Takes a payment out of the set, and out of its order.
    pub(super) fn take_away(&mut self, key: &str, touched: &mut BTreeSet<String>) {
        let Some(part) = self.payments.remove(key) else { return };
        if let Some(order_id) = part.order_id {
            self.leave(&order_id, key, part.page);
            touched.insert(order_id);
        }
    }

    fn leave(&mut self, order_id: &str, key: &str, page: i64) {
        let order = self.order(order_id);
        order.payments.remove(key);
        if page > 0 {
            order.dirty_pages.insert(page);
        }
    }

    pub(super) fn place(&mut self, key: String, payment: Payment) {
        if let Some(subscription) = &payment.facts.subscription {
            let keys = self.by_subscription.entry(subscription.clone()).or_default();
            keys.insert(key.clone());
        }
        self.payments.insert(key, payment);
    }

    /// The key of the payment that goes by this id.
    pub(super) fn resolve(&self, id: &str) -> Option<String> {
        let (mut id, mut seen) = (id, HashSet::new());
        while seen.insert(id) {
            if self.payments.contains_key(id) {
                return Some(id.to_owned());
            }
            id = self.links.get(id)?.payment_key.as_deref()?;
        }
        None
    }

    pub(super) fn link_payment(&mut self, id: &str, key: &str) {
        let link = self.links.entry(id.to_owned()).or_default();
        if link.payment_key.as_deref() != Some(key) {
            link.payment_key = Some(key.to_owned());
            self.dirty_links.insert(id.to_owned());
        }
    }

    pub(super) fn order(&mut self, order_id: &str) -> &mut TrackedOrder {
        self.orders.entry(order_id.to_owned()).or_default()
    }

    /// The claim by which a payment belongs to its order: its own, else its subscription's. A word that
    /// makes no order comes last.
    pub(super) fn claim_of<'a>(&'a self, facts: &'a Facts) -> Option<&'a Claim> {
        let of_subscription = || self.links.get(facts.subscription.as_ref()?)?.claim.as_ref();
        own_claim(facts).or_else(|| of_subscription().max(facts.claim.as_ref()))
    }

    /// Puts a payment under its order. `before`: the orders and pages where its parts were, `None` for
    /// a part that was parked.
    fn assign(
        &mut self,
        event_id: &str,
        key: &str,
        before: &[(Option<String>, i64)],
        touched: &mut BTreeSet<String>,
    ) {
        let Some(payment) = self.payments.get(key) else { return };
        let claim = self.claim_of(&payment.facts);
        let Some(order_id) = claim.map(|claim| claim.order_id().to_owned()) else { return };
        let payment_keys = payment.facts.ids.iter().map(|id| id.id.clone()).collect();
        let known = before.iter().find(|(order, _)| order.as_ref() == Some(&order_id));
        let page = known.map_or_else(|| self.next_page(&order_id), |(_, page)| *page);
        if let Some(payment) = self.payments.get_mut(key) {
            payment.order_id = Some(order_id.clone());
            payment.page = page;
        }
        let order = self.order(&order_id);
        order.payments.insert(key.to_owned());
        if page > 0 {
            order.dirty_pages.insert(page);
        }
        if before.iter().any(|(order, _)| order.is_none()) {
            let (order_id, event_id) = (order_id.clone(), event_id.to_owned());
            self.unparked.push(Unparked { payment_keys, order_id, is_settled: false, event_id });
        }
        touched.insert(order_id);
    }

    /// The page where a further payment of an order goes.
    fn next_page(&mut self, order_id: &str) -> i64 {
        let Some(order) = self.orders.get(order_id) else { return 0 };
        let last = order.pages.keys().last().copied().unwrap_or_default();
        let is_there =
            |key: &&String| self.payments.get(*key).is_some_and(|payment| payment.page == last);
        if order.payments.iter().filter(is_there).count() < PAGE_PAYMENTS_MAX {
            return last;
        }
        self.order(order_id).pages.insert(last + 1, Summary::default());
        self.loaded.pages.insert((order_id.to_owned(), last + 1));
        last + 1
    }

    /// Learns which order a subscription belongs to, and puts its payments there.
    pub(super) fn claim_subscription(
        &mut self,
        event_id: &str,
        subscription: &str,
        claim: &Claim,
        touched: &mut BTreeSet<String>,
    ) {
        let moves = self.moves(subscription, claim);
        let link = self.links.entry(subscription.to_owned()).or_default();
        if link.claim.as_ref() >= Some(claim) {
            return;
        }
        link.claim = Some(claim.clone());
        self.dirty_links.insert(subscription.to_owned());
        if !moves {
            return;
        }
        let of_subscription = |payment: &&Payment| {
            own_claim(&payment.facts).is_none()
                && payment.facts.subscription.as_deref() == Some(subscription)
        };
        let keys = self.by_subscription.get(subscription).cloned().unwrap_or_default();
        for key in keys {
            let Some(payment) = self.payments.get(&key).filter(of_subscription) else { continue };
            let before = (payment.order_id.clone(), payment.page);
            if let (Some(order_id), page) = &before {
                self.leave(order_id, &key, *page);
                touched.insert(order_id.clone());
            }
            self.assign(event_id, &key, &[before], touched);
            self.dirty_payments.insert(key);
        }
    }
}

/// The shop's word on the payment itself, not on what went back of it.
fn own_claim(facts: &Facts) -> Option<&Claim> {
    facts.claim.as_ref().filter(|claim| claim.authority.makes_orders())
}
