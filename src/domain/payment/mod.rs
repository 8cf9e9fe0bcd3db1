//! What is known of one payment: the facts of all its events, joined.
//!
//! [`Facts`] is a join-semilattice: [`Facts::join`] is commutative, associative and idempotent, each
//! field by itself (the largest, the smallest, or the union of maps of such). So any order of
//! delivery, with any duplicates, ends in the same facts. A payment is what belongs together: a
//! PaymentIntent, its charges, its Checkout Session, its invoice. Facts are kept by object, as each
//! object said them. What they mean together is a pure reading ([`money`], [`standing`]), never a step
//! of the join.
//!
//! Amounts are in the currency's minor unit, times in Unix seconds by Stripe's clock.

pub mod attempt;
pub mod claim;
pub mod dispute;
pub mod invoice;
pub mod money;
pub mod refund;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use attempt::{Attempt, End, Failure};
use claim::Claim;
use dispute::Dispute;
use invoice::{Added, Invoice};
use refund::{Refund, RefundTotal, Release};

/// What kind of object an id names; the first kind known is the payment's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// `pi_…`
    PaymentIntent,
    /// `in_…`
    Invoice,
    /// `cs_…`
    Session,
    /// `ch_…`
    Charge,
    /// A refund or dispute that names none of the above.
    Other,
}

/// An id by which a payment is known. Ordered so that the smallest is the payment's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId {
    /// What it names.
    pub kind: IdKind,
    /// The id as Stripe wrote it.
    pub id: String,
}

/// An amount that an object says was paid; the largest counts. An amount that is known beats one
/// that is not.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Paid {
    /// Minor units; `None` if the body did not say how much.
    pub amount: Option<i64>,
    /// Three letters, lowercase.
    pub currency: Option<String>,
}

/// What PaymentIntent events say of one PaymentIntent.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// What it received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<Paid>,
    /// The newest attempt of which no charge id is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// It was canceled, or its charge expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// A tip within what it received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tip: Option<i64>,
    /// What an invoice payment says this PaymentIntent paid of the invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Paid>,
}

/// What is known of one charge.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Charge {
    /// The PaymentIntent that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// What was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<Paid>,
    /// The furthest that it came short of being paid, since the first event that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// What it last said was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<RefundTotal>,
    /// What was reserved and not captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// What is known of one Checkout Session that is complete and paid, or has nothing to pay.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Its total, in the currency in which the shop made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<Paid>,
    /// What Checkout took off the price and added to it.
    #[serde(skip_serializing_if = "Added::is_nothing")]
    pub added: Added,
    /// The total as the customer paid it, if Stripe converted the currency (before 2025-03-31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presented: Option<Paid>,
}

/// An address from an event; the greatest counts, the most telling source first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Email {
    /// Sources in rising order: invoice 0, charge 1, PaymentIntent 2, session 3.
    pub source: u8,
    /// The address.
    pub address: String,
}

/// The facts of one payment. `Default` is what is known before any event: nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// All the ids it goes by. The smallest is its key.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<PaymentId>,
    /// Its order, by its own events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The subscription that it pays, which may know the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Whether it was made in live mode.
    pub livemode: bool,
    /// The earliest event's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<i64>,
    /// The earliest event that says that money came, or that none was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<i64>,
    /// The earliest event that says that an attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<i64>,
    /// The earliest event that says that something was refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded_at: Option<i64>,
    /// By PaymentIntent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub intents: BTreeMap<String, Intent>,
    /// By charge.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub charges: BTreeMap<String, Charge>,
    /// By Checkout Session.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions: BTreeMap<String, Session>,
    /// By invoice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invoices: BTreeMap<String, Invoice>,
    /// Parts of an invoice that neither a PaymentIntent nor a charge paid, by payment record.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, Paid>,
    /// The newest attempt of which neither PaymentIntent nor charge is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Why an attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The Checkout Session expired, or a charge without PaymentIntent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The refunds by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<String, Refund>,
    /// The disputes by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disputes: BTreeMap<String, Dispute>,
    /// The customer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The currency that the object was made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl Facts {
    /// Joins what another event, or another payment that turns out to be this one, says.
    pub fn join(&mut self, other: Self) {
        self.ids.extend(other.ids);
        take_max(&mut self.claim, other.claim);
        take_max(&mut self.subscription, other.subscription);
        self.livemode |= other.livemode;
        take_min(&mut self.first_at, other.first_at);
        take_min(&mut self.paid_at, other.paid_at);
        take_min(&mut self.failed_at, other.failed_at);
        take_min(&mut self.refunded_at, other.refunded_at);
        join_each(&mut self.intents, other.intents, Intent::join);
        join_each(&mut self.charges, other.charges, Charge::join);
        join_each(&mut self.sessions, other.sessions, |known, one| {
            if one > *known {
                *known = one;
            }
        });
        join_each(&mut self.invoices, other.invoices, Invoice::join);
        join_each(&mut self.records, other.records, |known, one| {
            if one > *known {
                *known = one;
            }
        });
        attempt::take_newer(&mut self.attempt, other.attempt);
        take_max(&mut self.failure, other.failure);
        take_max(&mut self.end, other.end);
        join_each(&mut self.refunds, other.refunds, Refund::join);
        join_each(&mut self.disputes, other.disputes, Dispute::join);
        take_max(&mut self.email, other.email);
        take_max(&mut self.currency, other.currency);
    }

    /// The id that names this payment in the database; `None` before any event.
    #[must_use]
    pub fn key(&self) -> Option<&PaymentId> {
        self.ids.first()
    }

    /// Whether money came, or none was needed. What was paid stays paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.paid_at.is_some()
    }

    /// The PaymentIntent that made this charge, if that is known.
    pub(super) fn intent_of<'a>(&'a self, charge: &str) -> Option<&'a str> {
        self.charges.get(charge)?.intent.as_deref()
    }
}

impl Intent {
    fn join(&mut self, other: Self) {
        take_max(&mut self.paid, other.paid);
        attempt::take_newer(&mut self.attempt, other.attempt);
        take_max(&mut self.end, other.end);
        take_max(&mut self.tip, other.tip);
        take_max(&mut self.part, other.part);
    }
}

impl Charge {
    fn join(&mut self, other: Self) {
        take_max(&mut self.intent, other.intent);
        take_max(&mut self.paid, other.paid);
        attempt::take_further(&mut self.attempt, other.attempt);
        take_max(&mut self.refunded, other.refunded);
        match (&mut self.release, other.release) {
            (Some(known), Some(other)) => known.join(other),
            (known, other) => *known = known.take().or(other),
        }
    }
}

fn join_each<T>(known: &mut BTreeMap<String, T>, other: BTreeMap<String, T>, join: fn(&mut T, T)) {
    for (id, one) in other {
        match known.entry(id) {
            std::collections::btree_map::Entry::Occupied(mut entry) => join(entry.get_mut(), one),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(one);
            }
        }
    }
}

pub(super) fn take_max<T: Ord>(kept: &mut Option<T>, other: Option<T>) {
    if other > *kept {
        *kept = other;
    }
}

pub(super) fn take_min<T: Ord>(kept: &mut Option<T>, other: Option<T>) {
    if other.is_some() && (kept.is_none() || other < *kept) {
        *kept = other;
    }
}
