//! Events → payments → orders, in memory: the rows that one fold works on.
//!
//! A caller loads what the events need ([`WorkingSet::needs`]), applies them one by one
//! ([`WorkingSet::apply`]), and writes what changed ([`WorkingSet::finish`]). The set joins payments that
//! turn out to be one, and keeps those of no known order aside until an event links them. Each order is
//! weighed once, at the end, and has one change at most: from what was committed before to what is
//! committed now. It knows no database; over an empty one it is the whole of paidup in memory, which is
//! how the property tests use it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::delta::{Delta, Reading};
use super::event::Event;
use super::explain::{Applied, unchanged_reason, what_changed};
use super::order;
use super::outcome::{IgnoredReason, Outcome};
use super::payment::Facts;
use super::payment::claim::Claim;
use super::policy::{Mode, Policy, UnknownOrders};
use super::rows::{
    Change, ChangeSet, EventOutcome, Link, Loaded, Needs, Order, Page, Payment, Unparked,
};
use super::summary::Summary;

/// An order with more payments keeps them in pages of so many, of which only those that change are read.
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
    fn moves(&self, subscription: &str, claim: &Claim) -> bool {
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
            self.join_payment(event.id(), &facts, &mut BTreeSet::new());
        }
    }

    /// Weighs an order anew, e.g. after the shop inserted its row.
    pub fn take_up(&mut self, order_id: &str) {
        self.order(order_id).is_touched = true;
    }

    /// Weighs every order that was touched, and says what is to be written.
    #[must_use]
    pub fn finish(mut self) -> ChangeSet {
        let mut changes = ChangeSet::default();
        let touched: Vec<String> = self
            .orders
            .iter()
            .filter(|(_, order)| order.is_touched)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &touched {
            self.weigh(id);
        }
        self.finish_pages(&mut changes);
        changes.outcomes = self.outcomes();
        self.finish_payments(&mut changes);
        self.finish_orders(&mut changes);
        changes
    }

    fn finish_pages(&self, changes: &mut ChangeSet) {
        for (id, order) in &self.orders {
            for page in &order.dirty_pages {
                let mut summary = Summary::default();
                for (payment, one) in self.summaries(order) {
                    if payment.page == *page {
                        summary.add(&one);
                    }
                }
                changes.pages.push(Page { order_id: id.clone(), page: *page, summary });
            }
        }
    }

    fn finish_payments(&mut self, changes: &mut ChangeSet) {
        changes.merged = std::mem::take(&mut self.merged).into_iter().collect();
        changes.unparked = std::mem::take(&mut self.unparked);
        for unparked in &mut changes.unparked {
            let order = self.orders.get(&unparked.order_id);
            unparked.is_settled = order.is_some_and(|order| order.row.is_some());
        }
        for id in std::mem::take(&mut self.dirty_links) {
            let link = self.links.remove(&id).unwrap_or_default();
            let is_stored = self.stored_links.contains(&id);
            if is_stored { &mut changes.links } else { &mut changes.new_links }.push((id, link));
        }
        for key in std::mem::take(&mut self.dirty_payments) {
            let is_stored = self.stored_payments.contains(&key);
            let payments =
                if is_stored { &mut changes.payments } else { &mut changes.new_payments };
            payments.extend(self.payments.remove(&key));
        }
    }

    fn finish_orders(self, changes: &mut ChangeSet) {
        for (id, order) in self.orders {
            let Some(mut row) = order.row else { continue };
            let waited = match &order.before {
                Some(before) => !before.is_weighed,
                None => order.payments.iter().any(|key| self.stored_payments.contains(key)),
            };
            if waited {
                changes.taken_up.push(id.clone());
            }
            if order.before.as_ref() == Some(&row) {
                continue;
            }
            let before = order.before.as_ref().map(|order| &order.snapshot);
            if before != Some(&row.snapshot) {
                row.version += 1;
                let kinds = order::kinds(before, &row.snapshot, row.announced);
                if kinds.iter().any(|kind| matches!(*kind, "order.paid" | "order.renewed")) {
                    row.announced = Some(row.snapshot.amount_received);
                }
                changes.changes.push(Change {
                    order_id: id.clone(),
                    version: row.version,
                    kinds,
                    from: before.map(|snapshot| snapshot.status),
                    to: row.snapshot.clone(),
                    event_id: order.cause,
                });
            }
            let is_new = order.before.is_none();
            if is_new { &mut changes.new_orders } else { &mut changes.orders }.push((id, row));
        }
    }

    /// What the event adds, if it counts; `Err` is why it does not.
    fn relevant<'a>(&self, event: &'a Event) -> Result<&'a Delta, IgnoredReason> {
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
        for id in &touched {
            let order = self.order(id);
            order.is_touched = true;
            order.cause = Some(event.id().to_owned());
        }
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

    /// Joins facts to the payment that goes by any of their ids, and all such payments to one. Its key,
    /// and whether the facts added anything.
    fn join_payment(
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
    fn take_away(&mut self, key: &str, touched: &mut BTreeSet<String>) {
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

    fn place(&mut self, key: String, payment: Payment) {
        if let Some(subscription) = &payment.facts.subscription {
            let keys = self.by_subscription.entry(subscription.clone()).or_default();
            keys.insert(key.clone());
        }
        self.payments.insert(key, payment);
    }

    /// The key of the payment that goes by this id.
    fn resolve(&self, id: &str) -> Option<String> {
        let (mut id, mut seen) = (id, HashSet::new());
        while seen.insert(id) {
            if self.payments.contains_key(id) {
                return Some(id.to_owned());
            }
            id = self.links.get(id)?.payment_key.as_deref()?;
        }
        None
    }

    fn link_payment(&mut self, id: &str, key: &str) {
        let link = self.links.entry(id.to_owned()).or_default();
        if link.payment_key.as_deref() != Some(key) {
            link.payment_key = Some(key.to_owned());
            self.dirty_links.insert(id.to_owned());
        }
    }

    fn order(&mut self, order_id: &str) -> &mut TrackedOrder {
        self.orders.entry(order_id.to_owned()).or_default()
    }

    /// The claim by which a payment belongs to its order: its own, else its subscription's.
    fn claim_of<'a>(&'a self, facts: &'a Facts) -> Option<&'a Claim> {
        let of_subscription = || self.links.get(facts.subscription.as_ref()?)?.claim.as_ref();
        facts.claim.as_ref().or_else(of_subscription)
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
    fn claim_subscription(
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
            payment.facts.claim.is_none()
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

    /// The payments of an order that are loaded, each with what it adds to it. Those of another mode
    /// stand aside.
    fn summaries<'a>(
        &'a self,
        order: &'a TrackedOrder,
    ) -> impl Iterator<Item = (&'a Payment, Summary)> {
        let is_live = self.policy.mode == Mode::Live;
        let payments = order.payments.iter().filter_map(|key| self.payments.get(key));
        payments.filter(move |payment| payment.facts.livemode == is_live).map(|payment| {
            let claim = self.claim_of(&payment.facts);
            let is_the_shops = claim.is_some_and(|claim| claim.authority.is_the_shops());
            (payment, Summary::of(&payment.facts, is_the_shops))
        })
    }

    /// Weighs the order's payments into its row, which it makes if it may.
    fn weigh(&mut self, order_id: &str) {
        let Some(order) = self.orders.get(order_id) else { return };
        if order.row.is_none() && !self.may_make_row(order) {
            return;
        }
        let mut summary = Summary::default();
        for (_, one) in self.summaries(order) {
            summary.add(&one);
        }
        for (page, stored) in &order.pages {
            if !self.loaded.pages.contains(&(order_id.to_owned(), *page)) {
                summary.add(stored);
            }
        }
        let due = order.row.as_ref().and_then(|row| row.due.clone());
        let state = order::weigh(due.as_ref(), &summary);
        let order = self.order(order_id);
        let before = order.row.take();
        order.row = Some(rewrite(before, state, order.named_at));
    }

    /// A row is the shop's to make, or that of an event in which the shop names the order.
    fn may_make_row(&self, order: &TrackedOrder) -> bool {
        let is_named_by = |key: &String| {
            let payment = self.payments.get(key);
            let claim = payment.and_then(|payment| self.claim_of(&payment.facts));
            claim.is_some_and(|claim| claim.authority.makes_orders())
        };
        self.policy.unknown_orders == UnknownOrders::Create
            && (order.is_named || order.payments.iter().any(is_named_by))
    }

    fn outcomes(&mut self) -> Vec<EventOutcome> {
        let events = std::mem::take(&mut self.events);
        events
            .into_iter()
            .map(|event| event.map_or_else(|ignored| ignored, |applied| self.outcome(applied)))
            .collect()
    }

    fn outcome(&self, applied: Applied) -> EventOutcome {
        let Applied { meaning, payment_key, subscription, named, has_added, touched } = applied;
        let payment = payment_key.as_ref().and_then(|key| self.resolve(key));
        let order_id = match payment {
            Some(key) => self.payments.get(&key).and_then(|payment| payment.order_id.clone()),
            None => named,
        };
        let order = order_id.as_ref().and_then(|id| self.orders.get(id));
        // Its order may have become known by a later event of the batch.
        let own = order_id.iter().filter(|_| has_added);
        let has_changed = touched
            .iter()
            .chain(own)
            .any(|id| self.orders.get(id).is_some_and(TrackedOrder::has_changed));
        let (outcome, reason) = match order.map(|order| (&order.before, &order.row)) {
            None => (
                Outcome::Parked,
                "no order id yet; it waits for an event that links its payment to one".to_owned(),
            ),
            Some((_, None)) => (Outcome::Parked, self.waits_for_a_row().to_owned()),
            Some((before, Some(now))) if has_changed => {
                let before = before.as_ref().map(|order| &order.snapshot);
                (Outcome::Applied, what_changed(before, &now.snapshot))
            }
            Some((_, Some(now))) => {
                (Outcome::Unchanged, unchanged_reason(meaning, now.snapshot.status))
            }
        };
        let payment_key = payment_key.or(subscription);
        EventOutcome { outcome, reason, ignored: None, payment_key, order_id }
    }

    fn waits_for_a_row(&self) -> &'static str {
        match self.policy.unknown_orders {
            UnknownOrders::Hold => "the order has no row yet; it waits until the shop inserts one",
            UnknownOrders::Create => {
                "the order has no row yet, and what names it here (client_reference_id, or a \
                 refund's metadata) makes none"
            }
        }
    }
}

/// The row after the fold: what is due stays the shop's, and so does an address that is not paidup's.
fn rewrite(before: Option<Order>, state: order::State, earliest: Option<i64>) -> Order {
    let created_at = match (&before, earliest) {
        (None, earliest) => earliest.or(state.first_at).unwrap_or_default(),
        (Some(before), Some(earliest)) => earliest.min(before.created_at),
        (Some(before), None) => before.created_at,
    };
    let before = before.unwrap_or_default();
    let (customer_email, email_written) = if before.customer_email == before.email_written {
        (state.customer_email.clone(), state.customer_email)
    } else {
        (before.customer_email, before.email_written)
    };
    Order {
        due: before.due,
        is_weighed: true,
        snapshot: state.snapshot,
        failure_code: state.failure_code,
        failure_message: state.failure_message,
        customer_email,
        email_written,
        paid_at: state.paid_at,
        failed_at: state.failed_at,
        refunded_at: state.refunded_at,
        created_at,
        version: before.version,
        announced: before.announced,
    }
}
