//! Events → payments → orders, in memory: the table on which the fold happens.
//!
//! A caller loads what the events need ([`Ledger::needs`]), applies them one by one
//! ([`Ledger::apply`]), and writes what changed ([`Ledger::finish`]). The ledger joins payments that
//! turn out to be one, keeps those of no known order aside until an event links them, and records one
//! change per order, from what was committed before to what is committed now. It knows no database;
//! over an empty one it is the whole of paidup in memory, which is how the property tests use it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::event::{Event, Meaning, Reading, Statement};
use super::order::{self, Due, State, Status, Told};
use super::payment::{Claim, Facts};

/// Which events count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Live and test ones; an order with live payments goes by those alone.
    #[default]
    Any,
    /// Only live ones.
    Live,
    /// Only test ones.
    Test,
}

/// What to do with an order that the shop has not inserted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum UnknownOrders {
    /// Make its row from the event.
    #[default]
    Create,
    /// Keep its events parked until the shop inserts the row.
    Hold,
}

/// The operator's choices that the fold depends on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which events count.
    pub mode: Mode,
    /// What to do with unknown orders.
    pub unknown_orders: UnknownOrders,
}

/// A row of `payments`; its key is in its facts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The order that it counts for.
    pub order_id: Option<String>,
    /// What is known of it.
    pub facts: Facts,
}

impl Payment {
    /// The id that names it; empty only for a payment without any id, which no event makes.
    #[must_use]
    pub fn key(&self) -> &str {
        self.facts.key().map_or("", |key| key.id.as_str())
    }
}

/// A row of `payment_links`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Link {
    /// The payment that goes by this id too.
    pub payment_key: Option<String>,
    /// The order that this subscription belongs to.
    pub claim: Option<Claim>,
}

/// A row of `orders`, but for `updated_at`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Order {
    /// What the shop said is due.
    pub due: Option<Due>,
    /// What is told.
    pub told: Told,
    /// While failed.
    pub failure_code: Option<String>,
    /// While failed.
    pub failure_message: Option<String>,
    /// The shop's, or else the payments'.
    pub customer_email: Option<String>,
    /// The address that paidup wrote there; if another one stands there, it is the shop's.
    pub email_written: Option<String>,
    /// Unix seconds.
    pub paid_at: Option<i64>,
    /// Unix seconds.
    pub failed_at: Option<i64>,
    /// Unix seconds.
    pub refunded_at: Option<i64>,
    /// Unix seconds; the earliest of the row's insertion and the events that name the order.
    pub created_at: i64,
    /// How many changes were recorded.
    pub version: i64,
}

/// What must be loaded before events can be applied.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Ids to look up in `payment_links`.
    pub links: BTreeSet<String>,
    /// Ids to look up as keys of `payments`.
    pub payments: BTreeSet<String>,
    /// Subscriptions all of whose payments are needed.
    pub subscriptions: BTreeSet<String>,
    /// Orders that are needed, each with all of its payments.
    pub orders: BTreeSet<String>,
}

impl Needs {
    /// Nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
            && self.payments.is_empty()
            && self.subscriptions.is_empty()
            && self.orders.is_empty()
    }

    fn without(mut self, loaded: &Self) -> Self {
        self.links.retain(|id| !loaded.links.contains(id));
        self.payments.retain(|key| !loaded.payments.contains(key));
        self.subscriptions.retain(|id| !loaded.subscriptions.contains(id));
        self.orders.retain(|id| !loaded.orders.contains(id));
        self
    }

    fn append(&mut self, mut other: Self) {
        self.links.append(&mut other.links);
        self.payments.append(&mut other.payments);
        self.subscriptions.append(&mut other.subscriptions);
        self.orders.append(&mut other.orders);
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It changed its order.
    Applied,
    /// Its order is as it was.
    Unchanged,
    /// It is kept until its order is known.
    Parked,
    /// No order depends on it.
    Ignored,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Parked, Self::Ignored];

    /// The verdict of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Parked => "parked",
            Self::Ignored => "ignored",
        }
    }
}

/// What is recorded beside an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub verdict: Verdict,
    /// What changed, or why nothing did.
    pub reason: String,
    /// Its payment, or the subscription that it tells of.
    pub payment_key: Option<String>,
    /// Its order.
    pub order_id: Option<String>,
}

impl Outcome {
    /// The outcome of an event on which no order depends.
    #[must_use]
    pub fn ignored(reason: String) -> Self {
        Self { verdict: Verdict::Ignored, reason, payment_key: None, order_id: None }
    }
}

/// One recorded change of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub order_id: String,
    /// Counts up from 1.
    pub version: i64,
    /// What there is to tell, e.g. `order.paid`.
    pub kinds: Vec<&'static str>,
    /// `None` for an order that this change made.
    pub from: Option<Status>,
    /// The state that it led to.
    pub to: Told,
    /// The last event that had a part in it; `None` if the shop's row was taken up.
    pub event_id: Option<String>,
}

/// Parked events that an event has given an order to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// All ids under which the payment's events may have been recorded.
    pub payment_keys: Vec<String>,
    /// The order.
    pub order_id: String,
    /// Whether the order has a row; else they stay parked until the shop inserts it.
    pub is_settled: bool,
    /// The event that told.
    pub event_id: String,
}

/// What is to be written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Writes {
    /// Payments to insert.
    pub new_payments: Vec<Payment>,
    /// Payments to update.
    pub payments: Vec<Payment>,
    /// Keys of payments that became part of another.
    pub merged: Vec<String>,
    /// Links to insert.
    pub new_links: Vec<(String, Link)>,
    /// Links to update.
    pub links: Vec<(String, Link)>,
    /// Orders to insert.
    pub new_orders: Vec<(String, Order)>,
    /// Orders to update.
    pub orders: Vec<(String, Order)>,
    /// Changes to record.
    pub changes: Vec<Change>,
    /// Parked events to settle.
    pub joins: Vec<Join>,
}

/// An order on the table.
#[derive(Debug, Default)]
struct Slot {
    /// As it is now; `None` if it has no row.
    row: Option<Order>,
    /// As it was loaded.
    before: Option<Order>,
    /// The last event that changed what is told.
    cause: Option<String>,
    payments: BTreeSet<String>,
}

/// The table. See the module's text.
#[derive(Debug, Default)]
pub struct Ledger {
    policy: Policy,
    loaded: Needs,
    links: HashMap<String, Link>,
    payments: HashMap<String, Payment>,
    /// Keys of payments by their subscription; some may have become part of another since.
    by_subscription: HashMap<String, BTreeSet<String>>,
    orders: BTreeMap<String, Slot>,
    /// Which of the links and payments have a row.
    stored_links: HashSet<String>,
    stored_payments: HashSet<String>,
    dirty_links: BTreeSet<String>,
    dirty_payments: BTreeSet<String>,
    merged: BTreeSet<String>,
    joins: Vec<Join>,
}

impl Ledger {
    /// An empty table.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// What is still to be loaded for these events and orders, and for what is on the table. Load it, and
    /// call again, with no events and orders then, until nothing is.
    #[must_use]
    pub fn needs<'a>(
        &self,
        events: impl IntoIterator<Item = &'a Event>,
        orders: impl IntoIterator<Item = &'a str>,
    ) -> Needs {
        let mut needs = Needs::default();
        needs.orders.extend(orders.into_iter().map(str::to_owned));
        for event in events {
            if let Some(statement) = self.counts(event).ok().flatten() {
                needs_of(statement, &mut needs);
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
            needs.orders.extend(payment.order_id.clone());
            needs.links.extend(payment.facts.subscription.clone());
        }
        needs.without(&self.loaded)
    }

    /// Puts loaded rows on the table. All that was needed and is not among them does not exist.
    pub fn load(
        &mut self,
        needs: Needs,
        links: Vec<(String, Link)>,
        payments: Vec<Payment>,
        orders: Vec<(String, Order)>,
    ) {
        self.stored_links.extend(links.iter().map(|(id, _)| id.clone()));
        self.links.extend(links);
        for id in &needs.orders {
            self.orders.entry(id.clone()).or_default();
        }
        self.loaded.append(needs);
        for payment in payments {
            let key = payment.key().to_owned();
            if let Some(order_id) = &payment.order_id {
                self.slot(order_id).payments.insert(key.clone());
            }
            self.loaded.payments.insert(key.clone());
            self.stored_payments.insert(key.clone());
            if !self.payments.contains_key(&key) {
                self.place(key, payment);
            }
        }
        for (id, order) in orders {
            let slot = self.orders.entry(id).or_default();
            slot.before = Some(order.clone());
            slot.row = Some(order);
        }
    }

    /// Applies one event; all that it needs must be loaded.
    pub fn apply(&mut self, event: &Event) -> Outcome {
        let statement = match self.counts(event) {
            Ok(Some(statement)) => statement,
            Ok(None) => return Outcome::ignored(ignored_reason(event)),
            Err(reason) => return Outcome::ignored(reason),
        };
        // Every order that the event names, the subscription's too: each gets its row from the first
        // event that names it, even if its payment turns out to be another's.
        let claims = [&statement.facts.claim, &statement.subscription_claim];
        let named: BTreeSet<String> =
            claims.into_iter().flatten().map(|claim| claim.order_id().to_owned()).collect();
        let mut touched = named.clone();

        let payment_key = (!statement.facts.ids.is_empty())
            .then(|| self.join_payment(event, statement.facts.clone(), &mut touched));
        if let (Some(subscription), Some(claim)) =
            (&statement.facts.subscription, &statement.subscription_claim)
        {
            self.claim_subscription(event, subscription, claim, &mut touched);
        }
        let order_id = match &payment_key {
            Some(key) => self.payments.get(key).and_then(|payment| payment.order_id.clone()),
            None => event.order_id().map(str::to_owned),
        };
        let at = statement.facts.first_at.unwrap_or_default();
        let was = order_id.as_ref().and_then(|id| self.orders.get(id)?.row.as_ref());
        let was = was.map(|order| order.told.clone());
        let mut has_changed = false;
        for id in &touched {
            has_changed |= self.refold(id, Some(event.id()), named.contains(id).then_some(at));
        }
        self.outcome(statement, payment_key, order_id, was.as_ref(), has_changed)
    }

    /// Folds a loaded order anew, e.g. after the shop inserted its row. Whether its row changed.
    pub fn take_up(&mut self, order_id: &str) -> bool {
        self.refold(order_id, None, None)
    }

    /// Whether the order has a row.
    #[must_use]
    pub fn has_order(&self, order_id: &str) -> bool {
        self.orders.get(order_id).is_some_and(|slot| slot.row.is_some())
    }

    /// What is to be written.
    #[must_use]
    pub fn finish(mut self) -> Writes {
        let mut writes = Writes {
            merged: self.merged.into_iter().collect(),
            joins: self.joins,
            ..Writes::default()
        };
        for id in self.dirty_links {
            let link = self.links.remove(&id).unwrap_or_default();
            let is_stored = self.stored_links.contains(&id);
            if is_stored { &mut writes.links } else { &mut writes.new_links }.push((id, link));
        }
        for key in self.dirty_payments {
            let is_stored = self.stored_payments.contains(&key);
            let payments = if is_stored { &mut writes.payments } else { &mut writes.new_payments };
            payments.extend(self.payments.remove(&key));
        }
        for (id, slot) in self.orders {
            let Some(mut row) = slot.row else { continue };
            if slot.before.as_ref() == Some(&row) {
                continue;
            }
            let before = slot.before.as_ref().map(|order| &order.told);
            if before != Some(&row.told) {
                row.version += 1;
                writes.changes.push(Change {
                    order_id: id.clone(),
                    version: row.version,
                    kinds: order::kinds(before, &row.told),
                    from: before.map(|told| told.status),
                    to: row.told.clone(),
                    event_id: slot.cause,
                });
            }
            let is_new = slot.before.is_none();
            if is_new { &mut writes.new_orders } else { &mut writes.orders }.push((id, row));
        }
        writes
    }

    /// The event's statement if it counts, `None` if it says nothing; `Err` is why it does not count.
    fn counts<'a>(&self, event: &'a Event) -> Result<Option<&'a Statement>, String> {
        match (self.policy.mode, event.livemode()) {
            (Mode::Live, false) => {
                return Err("a test event, and only live ones count (STRIPE_MODE=live)".to_owned());
            }
            (Mode::Test, true) => {
                return Err("a live event, and only test ones count (STRIPE_MODE=test)".to_owned());
            }
            _ => {}
        }
        match event.reading() {
            Reading::Says(statement) => Ok(Some(statement)),
            Reading::Ignored(_) => Ok(None),
        }
    }

    /// Joins facts to the payment that goes by any of their ids, and all such payments to one.
    fn join_payment(
        &mut self,
        event: &Event,
        facts: Facts,
        touched: &mut BTreeSet<String>,
    ) -> String {
        let ids: Vec<String> = facts.ids.iter().map(|id| id.id.clone()).collect();
        let found: BTreeSet<String> = ids.iter().filter_map(|id| self.resolve(id)).collect();
        let mut joined = Payment { order_id: None, facts };
        let mut was_parked = false;
        for key in &found {
            let Some(part) = self.payments.remove(key) else { continue };
            was_parked |= part.order_id.is_none();
            if let Some(order_id) = part.order_id {
                self.slot(&order_id).payments.remove(key);
                touched.insert(order_id);
            }
            joined.facts.join(part.facts);
        }
        let key = joined.key().to_owned();
        for merged in found.iter().filter(|merged| **merged != key) {
            self.merged.insert(merged.clone());
            self.dirty_payments.remove(merged);
            self.link_payment(merged, &key);
        }
        for id in ids.iter().filter(|id| **id != key) {
            if self.links.get(id).is_none_or(|link| link.payment_key.is_none()) {
                self.link_payment(id, &key);
            }
        }
        self.merged.remove(&key);
        self.dirty_payments.insert(key.clone());
        self.place(key.clone(), joined);
        self.assign(event, &key, was_parked, touched);
        key
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
        self.links.entry(id.to_owned()).or_default().payment_key = Some(key.to_owned());
        self.dirty_links.insert(id.to_owned());
    }

    fn slot(&mut self, order_id: &str) -> &mut Slot {
        self.orders.entry(order_id.to_owned()).or_default()
    }

    /// Puts a payment under its order: its own claim's, else its subscription's.
    fn assign(
        &mut self,
        event: &Event,
        key: &str,
        was_parked: bool,
        touched: &mut BTreeSet<String>,
    ) {
        let Some(payment) = self.payments.get(key) else { return };
        let of_subscription = || {
            let link = self.links.get(payment.facts.subscription.as_ref()?)?;
            link.claim.as_ref()
        };
        let claim = payment.facts.claim.as_ref().or_else(of_subscription);
        let Some(order_id) = claim.map(|claim| claim.order_id().to_owned()) else { return };
        let all_ids = payment.facts.ids.iter().map(|id| id.id.clone()).collect();
        if let Some(payment) = self.payments.get_mut(key) {
            payment.order_id = Some(order_id.clone());
        }
        let will_exist = self.policy.unknown_orders == UnknownOrders::Create;
        let slot = self.slot(&order_id);
        slot.payments.insert(key.to_owned());
        if was_parked {
            let is_settled = will_exist || slot.row.is_some();
            let event_id = event.id().to_owned();
            let order_id = order_id.clone();
            self.joins.push(Join { payment_keys: all_ids, order_id, is_settled, event_id });
        }
        touched.insert(order_id);
    }

    /// Learns which order a subscription belongs to, and puts its payments there.
    fn claim_subscription(
        &mut self,
        event: &Event,
        subscription: &str,
        claim: &Claim,
        touched: &mut BTreeSet<String>,
    ) {
        let link = self.links.entry(subscription.to_owned()).or_default();
        if link.claim.as_ref() >= Some(claim) {
            return;
        }
        link.claim = Some(claim.clone());
        self.dirty_links.insert(subscription.to_owned());
        let of_subscription = |payment: &Payment| {
            payment.facts.claim.is_none()
                && payment.facts.subscription.as_deref() == Some(subscription)
        };
        let keys = self.by_subscription.get(subscription).cloned().unwrap_or_default();
        for key in keys {
            let payment = self.payments.get(&key).filter(|payment| of_subscription(payment));
            let Some(payment) = payment else { continue };
            let before = payment.order_id.clone();
            if let Some(order_id) = &before {
                self.slot(order_id).payments.remove(&key);
                touched.insert(order_id.clone());
            }
            self.assign(event, &key, before.is_none(), touched);
            self.dirty_payments.insert(key);
        }
    }

    fn payments_of(&self, order_id: &str) -> Vec<&Facts> {
        let keys = self.orders.get(order_id).map(|slot| slot.payments.iter());
        let payments = keys.into_iter().flatten().filter_map(|key| self.payments.get(key));
        payments.map(|payment| &payment.facts).collect()
    }

    /// Folds the order's payments into its row, which it makes if it may. Whether the row changed.
    fn refold(&mut self, order_id: &str, cause: Option<&str>, named_at: Option<i64>) -> bool {
        let row = self.orders.get(order_id).and_then(|slot| slot.row.as_ref());
        if row.is_none() && self.policy.unknown_orders == UnknownOrders::Hold {
            return false;
        }
        let due = row.and_then(|order| order.due.clone());
        let state = order::fold(due.as_ref(), &self.payments_of(order_id));
        // Only events that name the order count for its age: a payment may be here on its way to
        // another order. A held order's row is the shop's, and so is its age.
        let is_ours = self.policy.unknown_orders == UnknownOrders::Create;
        let earliest = named_at.filter(|_| is_ours);
        let slot = self.slot(order_id);
        let before = slot.row.take();
        let row = rewrite(before.clone(), state, earliest);
        if before.as_ref().map(|order| &order.told) != Some(&row.told) {
            slot.cause = cause.map(str::to_owned);
        }
        let has_changed = before.as_ref() != Some(&row);
        slot.row = Some(row);
        has_changed
    }

    fn outcome(
        &self,
        statement: &Statement,
        payment_key: Option<String>,
        order_id: Option<String>,
        was: Option<&Told>,
        has_changed: bool,
    ) -> Outcome {
        let now = order_id.as_ref().and_then(|id| self.orders.get(id)?.row.as_ref());
        let (verdict, reason) = match (&order_id, now) {
            (None, _) => (
                Verdict::Parked,
                "no order id yet; it waits for an event that links its payment to one".to_owned(),
            ),
            (Some(_), None) => (
                Verdict::Parked,
                "the order has no row yet; it waits until the shop inserts one".to_owned(),
            ),
            (Some(_), Some(now)) if has_changed => (Verdict::Applied, told_change(was, &now.told)),
            (Some(id), Some(now)) => {
                let is_test_beside_live = self.payments_of(id).iter().any(|facts| facts.livemode)
                    && !statement.facts.livemode;
                (Verdict::Unchanged, unchanged_reason(statement, now, is_test_beside_live))
            }
        };
        // A subscription's own event is of no payment; under its id it is found with those it pays.
        let payment_key = payment_key.or_else(|| statement.facts.subscription.clone());
        Outcome { verdict, reason, payment_key, order_id }
    }
}

fn needs_of(statement: &Statement, needs: &mut Needs) {
    for id in &statement.facts.ids {
        needs.links.insert(id.id.clone());
        needs.payments.insert(id.id.clone());
    }
    if let Some(subscription) = &statement.facts.subscription {
        needs.links.insert(subscription.clone());
        if statement.subscription_claim.is_some() {
            needs.subscriptions.insert(subscription.clone());
        }
    }
    for claim in [&statement.facts.claim, &statement.subscription_claim].into_iter().flatten() {
        needs.orders.insert(claim.order_id().to_owned());
    }
}

/// The row after the fold: what is due stays the shop's, and so does an address that is not ours.
fn rewrite(before: Option<Order>, state: State, earliest: Option<i64>) -> Order {
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
        told: state.told,
        failure_code: state.failure_code,
        failure_message: state.failure_message,
        customer_email,
        email_written,
        paid_at: state.paid_at,
        failed_at: state.failed_at,
        refunded_at: state.refunded_at,
        created_at,
        version: before.version,
    }
}

fn ignored_reason(event: &Event) -> String {
    match event.reading() {
        Reading::Ignored(reason) => reason.clone(),
        Reading::Says(_) => String::new(),
    }
}

/// What an applied event did, e.g. `pending → paid; received 29900 usd`.
fn told_change(was: Option<&Told>, to: &Told) -> String {
    let unknown = Told::default();
    let from = was.unwrap_or(&unknown);
    let mut parts = Vec::new();
    let currency = to.currency.as_deref().unwrap_or_default();
    match was {
        None => parts.push(format!("new → {}", to.status.name())),
        Some(_) if from.status != to.status => {
            parts.push(format!("{} → {}", from.status.name(), to.status.name()));
        }
        Some(_) => {}
    }
    if from.amount_received != to.amount_received {
        parts.push(format!("received {} {currency}", to.amount_received));
    }
    if from.amount_refunded != to.amount_refunded {
        parts.push(format!("refunded {} {currency}", to.amount_refunded));
    }
    if from.dispute != to.dispute {
        parts.push(format!("dispute {}", to.dispute.map_or("none", order::DisputeStatus::name)));
    }
    if from.problem != to.problem {
        parts.push(format!("problem {}", to.problem.map_or("none", order::Problem::name)));
    }
    if parts.is_empty() {
        return format!("details only; the order stays {}", to.status.name());
    }
    parts.join("; ")
}

fn unchanged_reason(statement: &Statement, now: &Order, is_test_beside_live: bool) -> String {
    let status = now.told.status.name();
    if is_test_beside_live {
        return "a test payment does not count for an order that has live ones".to_owned();
    }
    match statement.meaning {
        Meaning::Linked => "it says only which ids belong together, and they were known".to_owned(),
        Meaning::AttemptFailed | Meaning::Canceled | Meaning::Expired
            if now.told.status != Status::Failed =>
        {
            format!("a failure does not undo a payment; the order is {status}")
        }
        _ => format!("it says nothing new; the order was {status} already"),
    }
}
