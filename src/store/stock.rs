//! The rows of one transaction, kept to find out which of its events need an order that another session
//! holds locked.
//!
//! Mostly nothing is locked, and then nobody makes this. Each event is followed through what is stored, as
//! the fold would follow it: from its ids to payments, from those to orders. One that reaches a locked order
//! waits. The others are folded from the same rows; what they reach together is what each of them reaches.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Session, StoreError};
use crate::domain::event::Event;
use crate::domain::policy::Policy;
use crate::domain::rows::{Link, Loaded, Needs, Order, Page, Payment};
use crate::domain::working_set::WorkingSet;

/// What a fold begins at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    /// What an event names.
    Event(&'a Event),
    /// An order itself.
    Order(&'a str),
}

/// What is loaded, and what is locked.
#[derive(Debug, Default)]
pub(super) struct Stock {
    links: HashMap<String, Link>,
    payments: HashMap<String, Payment>,
    by_page: HashMap<(String, i64), HashSet<String>>,
    by_subscription: HashMap<String, HashSet<String>>,
    orders: HashMap<String, Order>,
    pages: HashMap<String, Vec<Page>>,
    /// Orders that were looked for.
    wanted: BTreeSet<String>,
    /// Orders that another session holds.
    locked: HashSet<String>,
}

fn needs(working_set: &WorkingSet, starts: &[Start<'_>]) -> Needs {
    let events = starts.iter().filter_map(|start| match start {
        Start::Event(event) => Some(*event),
        Start::Order(_) => None,
    });
    let orders = starts.iter().filter_map(|start| match start {
        Start::Order(order) => Some(*order),
        Start::Event(_) => None,
    });
    working_set.needs(events, orders)
}

impl Stock {
    /// Loads all that these need. Orders that are free are locked against the shop.
    pub(super) async fn load(
        session: &mut Session,
        policy: &Policy,
        starts: &[Start<'_>],
    ) -> Result<Self, StoreError> {
        let mut stock = Self::default();
        let mut working_set = WorkingSet::new(policy.clone());
        loop {
            let mut needs = needs(&working_set, starts);
            if needs.is_empty() {
                return Ok(stock);
            }
            stock.wanted.extend(needs.orders.iter().cloned());
            let pages = std::mem::take(&mut needs.pages);
            let mut loaded = Loaded::default();
            if !needs.is_empty() {
                let found = session.find(&[], &needs).await?;
                stock.locked.extend(found.locked);
                loaded = found.loaded;
            }
            if !pages.is_empty() {
                loaded.payments.extend(session.pages(&pages).await?);
            }
            needs.pages = pages;
            stock.keep(&loaded);
            working_set.load(needs, loaded);
        }
    }

    /// Counts those orders as locked too that another session is about to insert: nobody sees such a row.
    pub(super) async fn probe(&mut self, session: &mut Session) -> Result<(), StoreError> {
        let has_row = |id: &String| self.orders.contains_key(id) || self.locked.contains(id);
        let missing: Vec<&str> =
            self.wanted.iter().filter(|id| !has_row(id)).map(String::as_str).collect();
        if !missing.is_empty() {
            let found = session.orders_being_inserted(&missing).await?;
            self.locked.extend(found);
        }
        Ok(())
    }

    /// Whether what this reaches is locked by nobody.
    pub(super) fn is_free(&self, policy: &Policy, start: Start<'_>) -> bool {
        self.working_set(policy, &[start]).is_some()
    }

    /// What these need, to fold it; `None` if an order of it is locked.
    pub(super) fn working_set(&self, policy: &Policy, starts: &[Start<'_>]) -> Option<WorkingSet> {
        let mut working_set = WorkingSet::new(policy.clone());
        loop {
            let needs = needs(&working_set, starts);
            if needs.is_empty() {
                return Some(working_set);
            }
            if needs.orders.iter().any(|id| self.locked.contains(id)) {
                return None;
            }
            let loaded = self.rows(&needs);
            working_set.load(needs, loaded);
        }
    }

    fn keep(&mut self, loaded: &Loaded) {
        self.links.extend(loaded.links.iter().cloned());
        self.orders.extend(loaded.orders.iter().cloned());
        for payment in &loaded.payments {
            let key = payment.key();
            if self.payments.contains_key(key) {
                continue;
            }
            if let Some(order) = &payment.order_id {
                let page = self.by_page.entry((order.clone(), payment.page)).or_default();
                page.insert(key.to_owned());
            }
            if let Some(subscription) = &payment.facts.subscription {
                let payments = self.by_subscription.entry(subscription.clone()).or_default();
                payments.insert(key.to_owned());
            }
            self.payments.insert(key.to_owned(), payment.clone());
        }
        for page in &loaded.pages {
            let pages = self.pages.entry(page.order_id.clone()).or_default();
            if pages.iter().all(|known| known.page != page.page) {
                pages.push(page.clone());
            }
        }
    }

    /// What [`Session::find`] and [`Session::pages`] would say.
    fn rows(&self, needs: &Needs) -> Loaded {
        let first_pages = needs.orders.iter().map(|order| (order.clone(), 0));
        let pages = first_pages.chain(needs.pages.iter().cloned());
        let of_pages = pages.filter_map(|page| self.by_page.get(&page)).flatten();
        let of_subscriptions =
            needs.subscriptions.iter().filter_map(|id| self.by_subscription.get(id)).flatten();
        let keys: HashSet<&String> =
            needs.payments.iter().chain(of_pages).chain(of_subscriptions).collect();
        let with_id = |id: &String| Some((id.clone(), self.links.get(id)?.clone()));
        let with_row = |id: &String| Some((id.clone(), self.orders.get(id)?.clone()));
        Loaded {
            links: needs.links.iter().filter_map(with_id).collect(),
            payments: keys.into_iter().filter_map(|key| self.payments.get(key)).cloned().collect(),
            orders: needs.orders.iter().filter_map(with_row).collect(),
            pages: needs
                .orders
                .iter()
                .filter_map(|order| self.pages.get(order))
                .flatten()
                .cloned()
                .collect(),
        }
    }
}
