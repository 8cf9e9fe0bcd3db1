//! Payments → what an order needs to know of them, added up.
//!
//! A [`Summary`] is a commutative monoid: [`Summary::add`] takes summaries together in any order and
//! any grouping. So an order of 50,000 payments is weighed from the summaries of its pages, and only
//! the page of the payment that changed is read ([`super::working_set`]). What the sums mean is left to
//! [`super::order`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::payment::Facts;
use super::payment::dispute::Dispute;
use super::payment::money::Money;
use super::payment::refund::Refunded;
use super::payment::standing::{Standing, Why};

/// What the payments of one currency add up to, in minor units.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sums {
    /// What came.
    pub received: i64,
    /// What went back.
    pub refunded: i64,
    /// How many payments were paid.
    pub paid: u64,
    /// How many were paid without an amount: each counts as all that is due.
    pub unknown: u64,
    /// How many of those were refunded.
    pub unknown_refunded: u64,
    /// The largest that was captured, or asked for by an invoice.
    pub largest: i64,
    /// What discounts and credit balance took off, of payments that were kept.
    pub off: i64,
    /// What tax, shipping and tips added, of payments that were kept.
    pub on: i64,
    /// Two payments of the same amount were kept.
    pub has_twins: bool,
    /// The amounts that were kept, as long as there are no twins.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    kept: BTreeSet<i64>,
}

impl Sums {
    /// Whether any money came.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.received > 0 || self.unknown > 0
    }

    /// Whether any of it was kept.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        self.received > self.refunded || self.unknown > self.unknown_refunded
    }

    /// Adds the sums of other payments.
    pub fn add(&mut self, other: &Self) {
        self.received = self.received.saturating_add(other.received);
        self.refunded = self.refunded.saturating_add(other.refunded);
        self.paid += other.paid;
        self.unknown += other.unknown;
        self.unknown_refunded += other.unknown_refunded;
        self.largest = self.largest.max(other.largest);
        self.off = self.off.saturating_add(other.off);
        self.on = self.on.saturating_add(other.on);
        self.has_twins |= other.has_twins || !self.kept.is_disjoint(&other.kept);
        if self.has_twins {
            self.kept.clear();
        } else {
            self.kept.extend(&other.kept);
        }
    }
}

/// What is known of one subscription by its invoices.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscription {
    /// The newest invoice that is not void: when it was made, its id, and why it failed, if it did.
    newest: Option<(Option<i64>, String, Option<Why>)>,
    /// The first invoice that was paid: when it was made, its id, and whether it is a renewal.
    first_paid: Option<(Option<i64>, String, bool)>,
    /// How many renewals were paid.
    renewals: u64,
}

impl Subscription {
    fn add(&mut self, other: &Self) {
        if other.newest > self.newest {
            self.newest.clone_from(&other.newest);
        }
        let is_earlier = other.first_paid.is_some()
            && (self.first_paid.is_none() || other.first_paid < self.first_paid);
        if is_earlier {
            self.first_paid.clone_from(&other.first_paid);
        }
        self.renewals += other.renewals;
    }

    /// Why its newest invoice failed, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<&Why> {
        self.newest.as_ref().and_then(|(_, _, failed)| failed.as_ref())
    }

    /// How many renewals were paid after a paid invoice of the same subscription.
    #[must_use]
    pub fn renewals(&self) -> u64 {
        let is_first = self.first_paid.as_ref().is_some_and(|(_, _, is_renewal)| *is_renewal);
        self.renewals - u64::from(is_first)
    }
}

/// What an order needs to know of its payments.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// By currency; the empty text is for payments whose currency nobody said.
    pub sums: BTreeMap<String, Sums>,
    /// The currency of the first payment that was paid: when, its key, and the currency.
    pub first_paid: Option<(i64, String, String)>,
    /// The currency of any payment: its key, and the currency.
    pub any_currency: Option<(String, String)>,
    /// By subscription.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// A delayed payment is under way.
    pub is_processing: bool,
    /// Money is reserved.
    pub is_authorized: bool,
    /// Why the last payment failed that did, in the currency of no matter which.
    pub failed: Option<Why>,
    /// Why the last payment was canceled that was.
    pub canceled: Option<Why>,
    /// The disputes by id.
    pub disputes: BTreeMap<String, Dispute>,
    /// How many refunds failed.
    pub refunds_failed: u64,
    /// The most telling address.
    pub email: Option<(u8, String)>,
    /// The earliest event that says it was paid.
    pub paid_at: Option<i64>,
    /// The earliest event that says it failed.
    pub failed_at: Option<i64>,
    /// The earliest event that says something was refunded.
    pub refunded_at: Option<i64>,
    /// The earliest event of all.
    pub first_at: Option<i64>,
}

impl Summary {
    /// Of one payment. One that only a text of the customer's puts under the order brings the money that
    /// came, and nothing else: it settles nothing for free, is never under way, does not fail or cancel
    /// the order, and gives it neither address nor dispute.
    #[must_use]
    pub fn of(facts: &Facts, is_the_shops: bool) -> Self {
        let counts = |money: &Money| is_the_shops || money.received > Some(0);
        let money = facts.money().filter(counts);
        let key = facts.key().map(|key| key.id.clone()).unwrap_or_default();
        let mut summary = Self {
            any_currency: facts
                .currency
                .clone()
                .filter(|_| is_the_shops || money.is_some())
                .map(|currency| (key.clone(), currency)),
            refunds_failed: facts.refunds_failed() as u64,
            paid_at: facts.paid_at.filter(|_| money.is_some()),
            refunded_at: facts.refunded_at,
            first_at: facts.first_at,
            ..Self::default()
        };
        if let Some((money, at)) = money.as_ref().zip(facts.paid_at)
            && let Some(currency) = &money.currency
            && money.received != Some(0)
        {
            summary.first_paid = Some((at, key, currency.clone()));
        }
        summary.add_sums(facts, money.as_ref(), is_the_shops);
        if is_the_shops {
            let standing = facts.standing_unless_settled();
            summary.is_processing = standing.is_processing;
            summary.is_authorized = standing.is_authorized;
            summary.failed_at = facts.failed_at;
            summary.email = facts.email.as_ref().map(|one| (one.source, one.address.clone()));
            summary.add_disputes(facts, money.as_ref());
            summary.add_invoices(facts, &standing);
            summary.failed = standing.failed;
            summary.canceled = standing.canceled;
        }
        summary
    }

    /// Takes other payments' summary in.
    pub fn add(&mut self, other: &Self) {
        for (currency, sums) in &other.sums {
            self.sums.entry(currency.clone()).or_default().add(sums);
        }
        for (id, subscription) in &other.subscriptions {
            self.subscriptions.entry(id.clone()).or_default().add(subscription);
        }
        take_min(&mut self.first_paid, &other.first_paid);
        take_min(&mut self.any_currency, &other.any_currency);
        self.is_processing |= other.is_processing;
        self.is_authorized |= other.is_authorized;
        take_max(&mut self.failed, &other.failed);
        take_max(&mut self.canceled, &other.canceled);
        for (id, dispute) in &other.disputes {
            let known = self.disputes.entry(id.clone()).or_insert_with(|| dispute.clone());
            if dispute > known {
                known.clone_from(dispute);
            }
        }
        self.refunds_failed += other.refunds_failed;
        take_max(&mut self.email, &other.email);
        take_min(&mut self.paid_at, &other.paid_at);
        take_min(&mut self.failed_at, &other.failed_at);
        take_min(&mut self.refunded_at, &other.refunded_at);
        take_min(&mut self.first_at, &other.first_at);
    }

    fn add_sums(&mut self, facts: &Facts, money: Option<&Money>, is_the_shops: bool) {
        let currency = match money {
            Some(money) => money.currency.clone(),
            None => facts.currency.clone(),
        };
        let mut sums = Sums::default();
        if is_the_shops {
            sums.largest = facts.asked_by_invoice();
        }
        if let Some(money) = money {
            let is_kept = !money.is_wholly_refunded();
            sums.paid = 1;
            sums.unknown = u64::from(money.received.is_none());
            sums.received = money.received.unwrap_or_default();
            match money.refunded {
                Refunded::Part(part) => sums.refunded = part,
                Refunded::Whole => sums.unknown_refunded = 1,
            }
            sums.largest = sums.largest.max(sums.received);
            if is_kept && is_the_shops {
                let added = facts.added();
                (sums.off, sums.on) =
                    (money.in_shops_currency(added.off), money.in_shops_currency(added.on));
            }
            if is_kept {
                sums.kept.extend(money.received.filter(|amount| *amount > 0));
            }
        }
        if sums != Sums::default() {
            self.sums.insert(currency.unwrap_or_default(), sums);
        }
    }

    fn add_disputes(&mut self, facts: &Facts, money: Option<&Money>) {
        for (id, dispute) in &facts.disputes {
            let mut dispute = dispute.clone();
            if let Some(money) = money {
                // A body without an amount disputes all.
                dispute.amount = match dispute.amount {
                    Some(amount) => Some(money.in_shops_currency(amount)),
                    None => money.received,
                };
                if dispute.currency.is_none() || dispute.currency == facts.currency {
                    dispute.currency.clone_from(&money.currency);
                }
            }
            self.disputes.insert(id.clone(), dispute);
        }
    }

    fn add_invoices(&mut self, facts: &Facts, standing: &Standing) {
        let Some(id) = &facts.subscription else { return };
        let mut subscription = Subscription::default();
        if let Some((age, invoice, is_renewal)) = facts.invoice_of_subscription() {
            let is_paid = facts.invoice_is_paid();
            let is_under_way = standing.is_processing || standing.is_authorized;
            let failed = standing.failed.clone().filter(|_| !is_paid && !is_under_way);
            subscription.newest = Some((age, invoice.to_owned(), failed));
            if is_paid {
                subscription.first_paid = Some((age, invoice.to_owned(), is_renewal));
                subscription.renewals = u64::from(is_renewal);
            }
        }
        self.subscriptions.insert(id.clone(), subscription);
    }

    /// Whether any payment pays a subscription.
    #[must_use]
    pub fn has_subscription(&self) -> bool {
        !self.subscriptions.is_empty()
    }
}

fn take_max<T: Ord + Clone>(kept: &mut Option<T>, other: &Option<T>) {
    if other > kept {
        kept.clone_from(other);
    }
}

fn take_min<T: Ord + Clone>(kept: &mut Option<T>, other: &Option<T>) {
    if other.is_some() && (kept.is_none() || other < kept) {
        kept.clone_from(other);
    }
}
