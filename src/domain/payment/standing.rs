//! Where the attempts of a payment stand that has not brought all its money.

use serde::{Deserialize, Serialize};

use super::Facts;
use super::attempt::{Attempt, AttemptState, End, Ending};
use super::invoice::InvoiceStatus;

/// Why a payment failed or ended, for a person.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Why {
    /// When.
    pub at: i64,
    /// Stripe's failure code, or how it ended.
    pub code: Option<String>,
    /// Stripe's message or `cancellation_reason`.
    pub message: Option<String>,
}

/// Where the attempts stand. Several can be true: the parts of an invoice are paid apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Standing {
    /// A delayed payment is under way.
    pub is_processing: bool,
    /// Money is reserved.
    pub is_authorized: bool,
    /// The newest attempt failed.
    pub failed: Option<Why>,
    /// It was canceled, expired or voided, and no attempt was under way or failed.
    pub canceled: Option<Why>,
}

impl Facts {
    /// Where the attempts of this payment stand. Across charges the newer attempt counts. One that was
    /// canceled or expired is not under way, whatever the second.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        if self.invoices.values().any(|invoice| invoice.status() == InvoiceStatus::Void) {
            let at = self.first_at.unwrap_or_default();
            standing.canceled = Some(End { how: Ending::Voided, at, reason: None }.why());
            return standing;
        }
        let loose = self.newest_without_intent();
        let mut is_newest = true;
        for id in self.intent_ids() {
            let end = self.intents.get(id).and_then(|intent| intent.end.as_ref());
            let newest = self.newest_of(id);
            if loose.zip(newest).is_some_and(|(loose, newest)| loose.is_newer_than(newest)) {
                continue;
            }
            is_newest &= newest.is_none();
            if !self.is_paid_by(id) {
                self.add(&mut standing, newest, end.or(self.end.as_ref()));
            }
        }
        if is_newest && !self.charges.values().any(|one| one.intent.is_none() && one.paid.is_some())
        {
            self.add(&mut standing, loose, self.end.as_ref());
        }
        self.write_off(&mut standing);
        standing
    }

    /// The same; of a payment that has brought all its money, nothing is under way and nothing failed.
    #[must_use]
    pub fn standing_unless_settled(&self) -> Standing {
        let is_settled = if self.invoices.values().any(|invoice| invoice.says.is_some()) {
            self.invoice_is_paid()
        } else {
            self.is_paid()
        };
        if is_settled { Standing::default() } else { self.standing() }
    }

    fn write_off(&self, standing: &mut Standing) {
        let is_under_way = standing.is_processing || standing.is_authorized;
        for invoice in self.invoices.values() {
            if let Some(says) = &invoice.says
                && says.status == InvoiceStatus::Uncollectible
                && !is_under_way
                && standing.failed.is_none()
            {
                let code = Some("uncollectible".to_owned());
                standing.failed = Some(Why { at: says.at, code, message: None });
                standing.canceled = None;
            }
        }
    }

    fn intent_ids(&self) -> std::collections::BTreeSet<&str> {
        let of_charges = self.charges.values().filter_map(|charge| charge.intent.as_deref());
        self.intents.keys().map(String::as_str).chain(of_charges).collect()
    }

    /// The newest attempt of a PaymentIntent, over its charges and what is known without them.
    fn newest_of(&self, intent: &str) -> Option<Attempt> {
        let own = self.intents.get(intent).and_then(|intent| intent.attempt);
        let of_charges = self
            .charges
            .values()
            .filter(|charge| charge.intent.as_deref() == Some(intent) && charge.paid.is_none());
        newest(own.into_iter().chain(of_charges.filter_map(|charge| charge.attempt)))
    }

    fn newest_without_intent(&self) -> Option<Attempt> {
        let loose = self.charges.values().filter(|one| one.intent.is_none() && one.paid.is_none());
        let of_charges = loose.filter_map(|charge| charge.attempt);
        newest(self.attempt.into_iter().chain(of_charges))
    }

    fn is_paid_by(&self, intent: &str) -> bool {
        let own = self
            .intents
            .get(intent)
            .is_some_and(|intent| intent.paid.is_some() || intent.part.is_some());
        own || self
            .charges
            .values()
            .any(|charge| charge.intent.as_deref() == Some(intent) && charge.paid.is_some())
    }
}

fn newest(attempts: impl Iterator<Item = Attempt>) -> Option<Attempt> {
    attempts.reduce(|one, other| if other.is_newer_than(one) { other } else { one })
}

impl Facts {
    fn add(&self, standing: &mut Standing, newest: Option<Attempt>, end: Option<&End>) {
        match (newest, end) {
            (Some(Attempt { state: AttemptState::Failed, at }), _) => {
                let failure = self.failure.as_ref();
                let code = failure.and_then(|failure| failure.code.clone());
                let message = failure.and_then(|failure| failure.message.clone());
                standing.failed = standing.failed.take().max(Some(Why { at, code, message }));
            }
            (_, Some(end)) => standing.canceled = standing.canceled.take().max(Some(end.why())),
            (Some(attempt), None) => {
                standing.is_processing |= attempt.state == AttemptState::Processing;
                standing.is_authorized |= attempt.state == AttemptState::Authorized;
            }
            (None, None) => {}
        }
    }
}

impl End {
    fn why(&self) -> Why {
        let code = Some(self.how.name().to_owned());
        Why { at: self.at, code, message: self.reason.clone() }
    }
}
