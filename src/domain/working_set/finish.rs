//! What a fold came to: the orders weighed, and what is to be written.

use super::{TrackedOrder, WorkingSet};
use crate::domain::explain::{Applied, unchanged_reason, what_changed};
use crate::domain::order;
use crate::domain::outcome::Outcome;
use crate::domain::policy::{Mode, UnknownOrders};
use crate::domain::rows::{Change, ChangeSet, EventOutcome, Order, Page, Payment};
use crate::domain::summary::Summary;

impl WorkingSet {
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
                } else if before.is_some_and(|before| before.currency != row.snapshot.currency) {
                    // What was announced was in another currency.
                    row.announced = None;
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

    pub(super) fn outcomes(&mut self) -> Vec<EventOutcome> {
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
