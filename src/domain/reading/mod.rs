//! Reads `data.object` by the event's type: what it adds to a payment's facts.
//!
//! The rules are Stripe's object reference (docs.stripe.com/api) and the bodies seen over 22 API
//! versions. A type says what happened; where it does not, the object's `status` does.

mod billing;
mod claims;
mod money_back;
pub mod object;
mod payments;

use std::collections::BTreeSet;

use super::delta::{Delta, Meaning};
use super::lenient::Value;
use super::order_ids::OrderIdRules;
use super::outcome::IgnoredReason;
use super::payment::attempt::Attempt;
use super::payment::{Email, Facts, IdKind, PaymentId};
use super::text::{STRIPE_ID_BYTES_MAX, is_email_address};
use object::Object;

/// 9999-12-31: the last second that every database and calendar here can hold.
const CREATED_MAX: i64 = 253_402_300_799;

/// The event around an object.
pub struct Source<'a> {
    /// Stripe's `type`.
    pub kind: &'a str,
    /// The connected account.
    pub account: Option<&'a str>,
    /// Live or test.
    pub livemode: bool,
    /// The API version that its object is written in.
    pub api_version: Option<&'a str>,
    /// When it happened, in Unix seconds.
    pub at: i64,
    /// Where an order id may stand.
    pub rules: &'a OrderIdRules,
}

/// The kinds of object that events of the known types are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    PaymentIntent,
    Charge,
    Refund,
    Dispute,
    Session,
    Invoice,
    InvoicePayment,
    Subscription,
}

fn family(kind: &str) -> Option<Family> {
    // The longer prefixes first: a refund's and a dispute's types begin like a charge's.
    const FAMILIES: [(&str, Family); 9] = [
        ("payment_intent.", Family::PaymentIntent),
        ("charge.refund.", Family::Refund),
        ("charge.dispute.", Family::Dispute),
        ("charge.", Family::Charge),
        ("refund.", Family::Refund),
        ("checkout.session.", Family::Session),
        ("invoice.", Family::Invoice),
        ("invoice_payment.", Family::InvoicePayment),
        ("customer.subscription.", Family::Subscription),
    ];
    FAMILIES.iter().find(|(prefix, _)| kind.starts_with(prefix)).map(|(_, family)| *family)
}

/// Reads `data.object`.
///
/// # Errors
/// Why the event is ignored.
pub fn read_object(source: &Source<'_>, object: &Object<'_>) -> Result<Delta, IgnoredReason> {
    let family = family(source.kind).ok_or(IgnoredReason::Type)?;
    let (claim, subscription_claim) = claims::claims(family, source, object)?;
    let mut facts = Facts {
        ids: payment_ids(family, object),
        claim,
        subscription: subscription(family, object),
        livemode: source.livemode,
        first_at: Some(source.at),
        email: email(family, object),
        currency: match family {
            // They can be in another currency than what was paid.
            Family::Refund | Family::Dispute => None,
            _ => currency(&object.currency),
        },
        ..Facts::default()
    };
    if facts.ids.is_empty() && subscription_claim.is_none() {
        return Err(match family {
            Family::Subscription => IgnoredReason::SubscriptionWithoutOrder,
            _ => IgnoredReason::NoObjectId,
        });
    }
    let meaning = match family {
        Family::PaymentIntent => payments::payment_intent(source, object, &mut facts)?,
        Family::Charge => payments::charge(source, object, &mut facts)?,
        Family::Session => payments::session(source, object, &mut facts)?,
        Family::Refund => money_back::refund(source, object, &mut facts)?,
        Family::Dispute => money_back::dispute(source, object, &mut facts)?,
        Family::Invoice => billing::invoice(source, object, &mut facts)?,
        Family::InvoicePayment => billing::invoice_payment(source, object, &mut facts)?,
        Family::Subscription => Meaning::Linked,
    };
    Ok(Delta { facts, subscription_claim, meaning })
}

fn payment_ids(family: Family, object: &Object<'_>) -> BTreeSet<PaymentId> {
    let own = &object.id;
    let ids: &[(IdKind, &Value<'_>)] = match family {
        Family::PaymentIntent => &[
            (IdKind::PaymentIntent, own),
            (IdKind::Invoice, &object.invoice),
            (IdKind::Charge, &object.latest_charge),
        ],
        Family::Charge => &[
            (IdKind::PaymentIntent, &object.payment_intent),
            (IdKind::Invoice, &object.invoice),
            (IdKind::Charge, own),
        ],
        Family::Refund | Family::Dispute => {
            &[(IdKind::PaymentIntent, &object.payment_intent), (IdKind::Charge, &object.charge)]
        }
        Family::Session => &[
            (IdKind::PaymentIntent, &object.payment_intent),
            (IdKind::Invoice, &object.invoice),
            (IdKind::Session, own),
        ],
        Family::Invoice => &[
            (IdKind::PaymentIntent, &object.payment_intent),
            (IdKind::Invoice, own),
            (IdKind::Charge, &object.charge),
        ],
        Family::InvoicePayment => &[
            (IdKind::PaymentIntent, &object.payment.payment_intent),
            (IdKind::Charge, &object.payment.charge),
            (IdKind::Invoice, &object.invoice),
        ],
        Family::Subscription => &[],
    };
    let mut found: BTreeSet<PaymentId> = ids
        .iter()
        .filter_map(|(kind, value)| Some(PaymentId { kind: *kind, id: stripe_id(value)? }))
        .collect();
    if family == Family::PaymentIntent {
        // Before 2022-11-15 a PaymentIntent lists its charges.
        let charges = object.charges.0.iter().filter_map(|charge| stripe_id(&charge.id));
        found.extend(charges.map(|id| PaymentId { kind: IdKind::Charge, id }));
    }
    if found.is_empty() && matches!(family, Family::Refund | Family::Dispute) {
        found.extend(stripe_id(own).map(|id| PaymentId { kind: IdKind::Other, id }));
    }
    found
}

fn subscription(family: Family, object: &Object<'_>) -> Option<String> {
    match family {
        Family::Session => stripe_id(&object.subscription),
        Family::Invoice => stripe_id(&object.parent.subscription_details.subscription)
            .or_else(|| stripe_id(&object.subscription)),
        Family::Subscription => stripe_id(&object.id),
        _ => None,
    }
}

fn email(family: Family, object: &Object<'_>) -> Option<Email> {
    let (source, address) = match family {
        Family::Invoice => (0, object.customer_email.text()),
        Family::Charge => (1, object.billing_details.email.text().or(object.receipt_email.text())),
        Family::PaymentIntent => (2, object.receipt_email.text()),
        Family::Session => {
            (3, object.customer_details.email.text().or(object.customer_email.text()))
        }
        _ => return None,
    };
    let address = address.filter(|address| is_email_address(address))?;
    Some(Email { source, address: address.to_owned() })
}

/// Puts an attempt where it belongs: at its charge, else at its PaymentIntent, else at the payment.
fn attempted(facts: &mut Facts, intent: Option<String>, charge: Option<String>, attempt: Attempt) {
    match (charge, intent) {
        (Some(charge), intent) => {
            let charge = facts.charges.entry(charge).or_default();
            charge.intent = intent.or(charge.intent.take());
            charge.attempt = Some(attempt);
        }
        (None, Some(intent)) => {
            facts.intents.entry(intent).or_default().attempt = Some(attempt);
        }
        (None, None) => facts.attempt = Some(attempt),
    }
}

/// The first of these fields that is there, as an amount in minor units.
///
/// An amount that is there but cannot be read must not pass for "no amount", which counts as all:
/// then the event is ignored, with why.
fn first_amount(fields: &[(&'static str, &Value<'_>)]) -> Result<Option<i64>, IgnoredReason> {
    for (name, value) in fields {
        match value {
            Value::Absent => {}
            Value::Whole(amount) if *amount >= 0 => return Ok(Some(*amount)),
            _ => return Err(IgnoredReason::Amount(name)),
        }
    }
    Ok(None)
}

/// An amount of which nothing depends if it cannot be read.
fn amount(value: &Value<'_>) -> Option<i64> {
    value.whole().filter(|amount| *amount >= 0)
}

fn currency(value: &Value<'_>) -> Option<String> {
    let code = value.text()?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_lowercase())
}

/// A time, in Unix seconds.
pub fn created(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Whole(seconds) => Some(*seconds),
        // Thin events write it out.
        Value::Text(text) => text.parse().map(jiff::Timestamp::as_second).ok(),
        _ => None,
    }
    .filter(|seconds| (0..=CREATED_MAX).contains(seconds))
}

/// An id, if it is one that Stripe could have made and every database can hold.
pub fn stripe_id(value: &Value<'_>) -> Option<String> {
    let id = value.text()?;
    let is_id = id.len() <= STRIPE_ID_BYTES_MAX && !id.chars().any(char::is_control);
    is_id.then(|| id.to_owned())
}
