//! What a payment received, as its objects say it together.

use std::collections::BTreeMap;

use super::invoice::{Added, InvoiceStatus};
use super::refund::Refunded;
use super::{Facts, Paid};

/// What a payment brought, in one currency and minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// What came; `None` if nobody said how much.
    pub received: Option<i64>,
    /// What went back, never more than came.
    pub refunded: Refunded,
    /// `None` if no object said.
    pub currency: Option<String>,
    /// Stripe converted the currency: of so much that the customer paid, `received` is the shop's price.
    converted_from: Option<i64>,
}

impl Money {
    /// Whether nothing of it was kept.
    #[must_use]
    pub fn is_wholly_refunded(&self) -> bool {
        match self.refunded {
            Refunded::Whole => true,
            Refunded::Part(part) => part > 0 && Some(part) == self.received,
        }
    }

    /// An amount in the currency that the customer paid in, in the shop's.
    #[must_use]
    pub fn in_shops_currency(&self, amount: i64) -> i64 {
        let Some((to, from)) = self.received.zip(self.converted_from) else { return amount };
        if from <= 0 || amount >= from {
            return if amount >= from { to } else { amount };
        }
        let scaled = i128::from(amount) * i128::from(to) / i128::from(from);
        i64::try_from(scaled).unwrap_or(i64::MAX)
    }
}

impl Facts {
    /// What it received and what went back; `None` if it is not paid.
    #[must_use]
    pub fn money(&self) -> Option<Money> {
        if !self.is_paid() {
            return None;
        }
        let (paid, converted_from) = self.received();
        let currency = paid.currency.or_else(|| self.currency.clone());
        // Refunds are in the currency that the customer paid in.
        let mut money =
            Money { received: paid.amount, refunded: Refunded::NOTHING, currency, converted_from };
        money.refunded = match (self.refunded(converted_from.or(paid.amount)), paid.amount) {
            (Refunded::Whole, Some(received)) => Refunded::Part(received),
            (Refunded::Part(part), Some(received)) => {
                Refunded::Part(money.in_shops_currency(part).min(received))
            }
            (refunded, None) => refunded,
        };
        Some(money)
    }

    /// The invoice knows all that was paid of it; else what its parts add up to counts, and without
    /// PaymentIntent and charge what the session says.
    fn received(&self) -> (Paid, Option<i64>) {
        let session = self.sessions.values().max();
        if let Some(Paid { amount: Some(from), .. }) =
            session.and_then(|session| session.presented.as_ref())
        {
            let paid = session.and_then(|session| session.paid.clone()).unwrap_or_default();
            return (paid, Some(*from));
        }
        let parts = self.parts();
        let invoice = self.invoices.values().find(|invoice| invoice.says.is_some());
        if let Some(invoice) = invoice {
            let currency = parts.as_ref().and_then(|parts| parts.currency.clone());
            let amount = if invoice.status() == InvoiceStatus::Paid {
                invoice.amount_received()
            } else {
                let so_far = invoice.says.as_ref().and_then(|says| says.amount_paid);
                let of_session = session.and_then(|session| session.paid.as_ref()?.amount);
                parts.as_ref().and_then(|parts| parts.amount).max(so_far).max(of_session)
            };
            if amount.is_some() {
                return (Paid { amount, currency: self.currency.clone().or(currency) }, None);
            }
        }
        let paid = parts.or_else(|| session.and_then(|session| session.paid.clone()));
        (paid.unwrap_or_default(), None)
    }

    /// What its PaymentIntents and charges received together; `None` if none of them was paid. A
    /// PaymentIntent knows what its charges captured.
    fn parts(&self) -> Option<Paid> {
        let mut of_intents: BTreeMap<&str, Option<Paid>> = BTreeMap::new();
        let mut parts: Vec<Paid> = self.records.values().cloned().collect();
        for (id, intent) in &self.intents {
            of_intents.insert(id, intent.paid.clone());
        }
        for charge in self.charges.values() {
            let Some(paid) = &charge.paid else { continue };
            match charge.intent.as_deref() {
                Some(intent) if self.says_what_it_received(intent) => {}
                Some(intent) => {
                    let sum = of_intents.entry(intent).or_default();
                    *sum = Some(sum.take().map_or_else(|| paid.clone(), |sum| sum.plus(paid)));
                }
                // Of a charge alone, only its own word is known.
                None => parts.push(paid.clone()),
            }
        }
        for (id, paid) in of_intents {
            let part = || self.intents.get(id).and_then(|intent| intent.part.clone());
            parts.extend(paid.or_else(part));
        }
        parts.into_iter().reduce(|sum, part| sum.plus(&part))
    }

    fn says_what_it_received(&self, intent: &str) -> bool {
        let paid = self.intents.get(intent).and_then(|intent| intent.paid.as_ref());
        paid.is_some_and(|paid| paid.amount.is_some())
    }

    /// Whether the invoice is paid: it or its session says so, or its parts add up to what is due.
    #[must_use]
    pub fn invoice_is_paid(&self) -> bool {
        let by_session = self.sessions.values().any(|session| session.paid.is_some());
        self.invoices.values().any(|invoice| {
            let due = invoice.says.as_ref().and_then(|says| says.amount_due);
            let parts = || self.parts().and_then(|parts| parts.amount);
            by_session
                || invoice.status() == InvoiceStatus::Paid
                || due.is_some_and(|due| due > 0 && parts() >= Some(due))
        })
    }

    /// What the shop asks for by an invoice that is not void. One of a subscription that nothing was
    /// paid of asks for nothing: a renewal that is only issued, or failed, makes no order underpaid.
    #[must_use]
    pub fn asked_by_invoice(&self) -> i64 {
        let of_subscription = self.subscription.is_some();
        let asks =
            |status: InvoiceStatus| !matches!(status, InvoiceStatus::Draft | InvoiceStatus::Void);
        let asked = self.invoices.values().filter(|invoice| asks(invoice.status()));
        asked
            .filter(|_| !of_subscription || self.is_paid())
            .filter_map(super::invoice::Invoice::amount_asked)
            .max()
            .unwrap_or_default()
    }

    /// Its invoice that counts for its subscription: when it was made, its id, whether it is a renewal.
    #[must_use]
    pub fn invoice_of_subscription(&self) -> Option<(Option<i64>, &str, bool)> {
        let counts =
            |status: InvoiceStatus| !matches!(status, InvoiceStatus::Draft | InvoiceStatus::Void);
        let counting = self
            .invoices
            .iter()
            .filter(|(_, invoice)| invoice.says.is_some() && counts(invoice.status()));
        counting.map(|(id, invoice)| (invoice.age(), id.as_str(), invoice.is_renewal)).max()
    }

    /// What Stripe took off the price and added to it, of a completed session or a paid invoice.
    #[must_use]
    pub fn added(&self) -> Added {
        let of_invoices = || {
            let paid = self.invoices.values().filter(|_| self.invoice_is_paid());
            paid.filter_map(|invoice| invoice.says.as_ref()).map(|says| says.added).max()
        };
        let of_sessions = || self.sessions.values().map(|session| session.added).max();
        let mut added = of_invoices().or_else(of_sessions).unwrap_or_default();
        for intent in self.intents.values() {
            added.on = added.on.saturating_add(intent.tip.unwrap_or_default());
        }
        added
    }
}

impl Paid {
    fn plus(self, other: &Self) -> Self {
        let amount = match (self.amount, other.amount) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Self { amount, currency: self.currency.max(other.currency.clone()) }
    }
}
