//! Refunds and disputes: money that goes back.

use std::collections::BTreeMap;

use super::object::Object;
use super::{Source, created, currency, first_amount, stripe_id};
use crate::domain::delta::Meaning;
use crate::domain::outcome::IgnoredReason;
use crate::domain::payment::Facts;
use crate::domain::payment::dispute::{Dispute, DisputeStatus};
use crate::domain::payment::refund::{Refund, RefundState, Refunded};
use crate::domain::text::{STRIPE_ID_BYTES_MAX, clean};

/// Why Stripe gives back what was reserved and never captured.
const RELEASE_REASON: &str = "expired_uncaptured_charge";

/// The refunds that a charge lists.
pub(super) fn listed_refunds(
    source: &Source<'_>,
    object: &Object<'_>,
    charge: &str,
) -> Result<BTreeMap<String, Refund>, IgnoredReason> {
    let mut refunds = BTreeMap::new();
    for listed in &object.refunds.0 {
        let Some(id) = stripe_id(&listed.id) else { continue };
        let amount = first_amount(&[("refunds.amount", &listed.amount)])?;
        let state = RefundState::of(listed.status.text());
        let refund = Refund {
            amount: amount.map_or(Refunded::Whole, Refunded::Part),
            state,
            charge: Some(charge.to_owned()),
            intent: stripe_id(&object.payment_intent),
            failed_at: (state == RefundState::Failed).then_some(source.at),
            is_release: false,
        };
        refunds.insert(id, refund);
    }
    Ok(refunds)
}

pub(super) fn refund(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    // The type says it even where the object does not.
    let state = match source.kind {
        "refund.failed" => RefundState::Failed,
        _ => RefundState::of(object.status.text()),
    };
    let amount = first_amount(&[("amount", &object.amount)])?;
    let id = stripe_id(&object.id).ok_or(IgnoredReason::NoObjectId)?;
    let refund = Refund {
        amount: amount.map_or(Refunded::Whole, Refunded::Part),
        state,
        charge: stripe_id(&object.charge),
        intent: stripe_id(&object.payment_intent),
        failed_at: (state == RefundState::Failed).then_some(source.at),
        is_release: object.reason.text() == Some(RELEASE_REASON),
    };
    if let (Some(charge), Some(intent)) = (&refund.charge, &refund.intent) {
        facts.charges.entry(charge.clone()).or_default().intent = Some(intent.clone());
    }
    let is_release = refund.is_release;
    facts.refunds.insert(id, refund);
    Ok(match state {
        RefundState::Failed => Meaning::RefundFailed,
        RefundState::Unknown => Meaning::RefundUnknown,
        RefundState::Pending | RefundState::Succeeded => {
            facts.refunded_at = (!is_release).then_some(source.at);
            Meaning::RefundLive
        }
    })
}

pub(super) fn dispute(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let status = DisputeStatus::of(object.status.text());
    let dispute = Dispute {
        at: source.at,
        status,
        amount: first_amount(&[("amount", &object.amount)])?,
        currency: currency(&object.currency),
        reason: object.reason.text().map(|reason| clean(reason, STRIPE_ID_BYTES_MAX)),
        due_by: created(&object.evidence_details.due_by),
    };
    // Disputes had no id before 2015; a charge had one dispute.
    let id = stripe_id(&object.id).or_else(|| stripe_id(&object.charge)).unwrap_or_default();
    facts.disputes.insert(id, dispute);
    Ok(Meaning::Disputed(status))
}
