//! The list of event types agrees with what is read: each type of the list counts, and no type outside
//! of it says something of its own.

use std::collections::BTreeSet;

use paidup::domain::delta::{Meaning, Reading};
use paidup::domain::event_types as types;
use paidup::trigger::samples::KINDS;

use crate::support::fixtures::{
    Object, charge, dispute, invoice, invoice_payment, pi, refund, session, subscription,
};

/// Every type that Stripe's reference lists of the objects that are read (docs.stripe.com/api/events/types),
/// with the object as it stands at that moment.
fn stripes() -> Vec<(&'static str, Object)> {
    let pi = || pi("pi_1").order("O1");
    let charge = || charge("ch_1").pi("pi_1");
    let refund = || refund("re_1").pi("pi_1");
    let dispute = || dispute("dp_1").pi("pi_1");
    let session = || session("cs_1").pi("pi_1").order("O1");
    let invoice = || invoice("in_1").order("O1");
    let draft = || invoice().status("draft");
    let subscription = || subscription("sub_1").order("O1");
    vec![
        ("payment_intent.amount_capturable_updated", pi()),
        ("payment_intent.canceled", pi()),
        ("payment_intent.created", pi()),
        ("payment_intent.partially_funded", pi()),
        ("payment_intent.payment_failed", pi()),
        ("payment_intent.processing", pi()),
        ("payment_intent.requires_action", pi()),
        ("payment_intent.succeeded", pi()),
        ("charge.captured", charge()),
        ("charge.expired", charge().uncaptured()),
        ("charge.failed", charge().uncaptured()),
        ("charge.pending", charge().uncaptured()),
        ("charge.refunded", charge().refunded(100)),
        ("charge.succeeded", charge()),
        ("charge.updated", charge()),
        ("charge.dispute.closed", dispute().status("won")),
        ("charge.dispute.created", dispute()),
        ("charge.dispute.funds_reinstated", dispute().status("won")),
        ("charge.dispute.funds_withdrawn", dispute()),
        ("charge.dispute.updated", dispute()),
        ("charge.refund.updated", refund()),
        ("refund.created", refund()),
        ("refund.failed", refund().status("failed")),
        ("refund.updated", refund()),
        ("checkout.session.async_payment_failed", session().payment_status("unpaid")),
        ("checkout.session.async_payment_succeeded", session()),
        ("checkout.session.completed", session()),
        ("checkout.session.expired", session().payment_status("unpaid")),
        ("invoice.created", draft()),
        ("invoice.deleted", draft()),
        ("invoice.finalization_failed", draft()),
        ("invoice.finalized", invoice()),
        ("invoice.marked_uncollectible", invoice()),
        ("invoice.overdue", invoice()),
        ("invoice.overpaid", invoice().status("paid")),
        ("invoice.paid", invoice()),
        ("invoice.payment_action_required", invoice()),
        ("invoice.payment_attempt_required", invoice()),
        ("invoice.payment_failed", invoice()),
        ("invoice.payment_succeeded", invoice()),
        ("invoice.sent", invoice()),
        ("invoice.upcoming", invoice().without("id")),
        ("invoice.updated", invoice().set("amount_paid", 100).set("amount_remaining", 29_800)),
        ("invoice.voided", invoice()),
        ("invoice.will_be_due", invoice()),
        ("invoice_payment.paid", invoice_payment("inpay_1").invoice("in_1").pi("pi_1")),
        ("customer.subscription.created", subscription()),
        ("customer.subscription.deleted", subscription()),
        ("customer.subscription.paused", subscription()),
        ("customer.subscription.pending_update_applied", subscription()),
        ("customer.subscription.pending_update_expired", subscription()),
        ("customer.subscription.resumed", subscription()),
        ("customer.subscription.trial_will_end", subscription()),
        ("customer.subscription.updated", subscription()),
    ]
}

#[test]
fn every_type_of_the_list_is_read() {
    let stripes = stripes();
    for kind in types::all() {
        let found = stripes.iter().find(|(known, _)| *known == kind);
        let (_, object) = found.unwrap_or_else(|| panic!("Stripe has no type {kind}"));
        let event = object.clone().event(kind).event();
        let reading = event.reading();
        assert!(matches!(reading, Reading::Relevant(_)), "{kind}: {reading:?}");
    }
}

#[test]
fn every_type_that_says_more_than_links_is_in_the_list() {
    let listed: BTreeSet<&str> = types::all().collect();
    for (kind, object) in stripes() {
        let event = object.event(kind).event();
        let Reading::Relevant(delta) = event.reading() else { continue };
        assert!(
            delta.meaning == Meaning::Linked || listed.contains(kind),
            "{kind} says {:?}, and is not in the list",
            delta.meaning
        );
    }
}

/// `paidup trigger` can try whatever a shop selects.
#[test]
fn the_list_has_each_type_once_and_trigger_has_a_sample_of_each() {
    let listed: BTreeSet<&str> = types::all().collect();
    assert_eq!(types::all().count(), listed.len());
    for kind in listed {
        assert!(KINDS.iter().any(|(known, _)| *known == kind), "trigger has no sample of {kind}");
    }
}
