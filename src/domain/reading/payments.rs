//! PaymentIntents, charges and Checkout Sessions: money that comes, or does not.

use super::object::{Listed, Object};
use super::{Source, amount, attempted, currency, first_amount, money_back, stripe_id};
use crate::domain::delta::Meaning;
use crate::domain::lenient::Value;
use crate::domain::outcome::IgnoredReason;
use crate::domain::payment::attempt::{Attempt, AttemptState, End, Ending, Failure};
use crate::domain::payment::invoice::Added;
use crate::domain::payment::refund::{RefundTotal, Refunded, Release};
use crate::domain::payment::{Facts, Paid, Session};
use crate::domain::text::{MESSAGE_CHARS_MAX, STRIPE_ID_BYTES_MAX, clean};

/// Notes a failure, at the charge or PaymentIntent that it is of.
pub(super) fn failed(
    facts: &mut Facts,
    (intent, charge): (Option<String>, Option<String>),
    at: i64,
    (code, message): (Option<&str>, Option<&str>),
) -> Meaning {
    attempted(facts, intent, charge, Attempt { state: AttemptState::Failed, at });
    facts.failed_at = Some(at);
    facts.failure = Some(Failure {
        has_code: code.is_some(),
        at,
        code: code.map(|code| clean(code, STRIPE_ID_BYTES_MAX)),
        message: message.map(|message| clean(message, MESSAGE_CHARS_MAX)),
    });
    Meaning::AttemptFailed
}

pub(super) fn payment_intent(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let intent = stripe_id(&object.id);
    link_charges(intent.as_ref(), object, facts);
    let charge = stripe_id(&object.latest_charge);
    let at = source.at;
    let kind = source.kind.trim_start_matches("payment_intent.");
    match (kind, object.status.text()) {
        ("succeeded", _) | (_, Some("succeeded")) => {
            let amount = first_amount(&[
                ("amount_received", &object.amount_received),
                ("amount", &object.amount),
            ])?;
            facts.paid_at = Some(at);
            let paid = Paid { amount, currency: facts.currency.clone() };
            let intent = facts.intents.entry(intent.unwrap_or_default()).or_default();
            intent.paid = Some(paid);
            intent.tip = self::amount(&object.amount_details.tip.amount).filter(|tip| *tip > 0);
            Ok(Meaning::Paid)
        }
        ("canceled", _) | (_, Some("canceled")) => {
            let reason = object.cancellation_reason.text();
            let reason = reason.map(|reason| clean(reason, MESSAGE_CHARS_MAX));
            let end = End { how: Ending::Canceled, at, reason };
            facts.intents.entry(intent.unwrap_or_default()).or_default().end = Some(end);
            Ok(Meaning::Canceled)
        }
        ("payment_failed", _) => {
            let error = &object.last_payment_error;
            let code = error.code.text().or(error.decline_code.text());
            Ok(failed(facts, (intent, charge), at, (code, error.message.text())))
        }
        ("processing", _) | (_, Some("processing")) => {
            let attempt = Attempt { state: AttemptState::Processing, at };
            attempted(facts, intent, charge, attempt);
            Ok(Meaning::Processing)
        }
        (_, Some("requires_capture")) => {
            let attempt = Attempt { state: AttemptState::Authorized, at };
            attempted(facts, intent, charge, attempt);
            Ok(Meaning::Authorized)
        }
        _ => Ok(Meaning::Linked),
    }
}

/// Which PaymentIntent made a charge. Before 2022-11-15 it lists all of them.
fn link_charges(intent: Option<&String>, object: &Object<'_>, facts: &mut Facts) {
    let listed = object.charges.0.iter().map(|listed: &Listed<'_>| &listed.id);
    let charges = listed.chain([&object.latest_charge]).filter_map(stripe_id);
    for charge in charges {
        facts.charges.entry(charge).or_default().intent = intent.cloned();
    }
}

pub(super) fn charge(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let (id, intent) = (stripe_id(&object.id), stripe_id(&object.payment_intent));
    let Some(id) = id else { return Ok(Meaning::Linked) };
    let (at, kind) = (source.at, source.kind.trim_start_matches("charge."));
    facts.charges.entry(id.clone()).or_default().intent = intent.clone();
    // A body that does not say is a hand-made one, and means a charge that is complete.
    let is_captured = object.captured.flag().unwrap_or(true);
    let was_refunded = kind == "refunded";
    let says_captured = matches!(kind, "succeeded" | "captured" | "refunded");
    let state = match (kind, object.status.text()) {
        ("failed", _) => Some(AttemptState::Failed),
        ("pending", _) => Some(AttemptState::Processing),
        // Not captured: the money is only reserved.
        ("succeeded", _) if !is_captured => Some(AttemptState::Authorized),
        _ if says_captured => None,
        (_, Some("failed")) => Some(AttemptState::Failed),
        (_, Some("pending")) => Some(AttemptState::Processing),
        (_, Some("succeeded")) if !is_captured => Some(AttemptState::Authorized),
        _ => None,
    };
    // Giving a reservation back is how a charge that was never captured is canceled.
    let is_given_back = was_refunded || object.refunded.flag() == Some(true);
    if !is_captured && (kind == "expired" || is_given_back) {
        let how = if kind == "expired" { Ending::Expired } else { Ending::Canceled };
        let end = Some(End { how, at, reason: None });
        match intent {
            Some(intent) => facts.intents.entry(intent).or_default().end = end,
            None => facts.end = end,
        }
        return Ok(if kind == "expired" { Meaning::Expired } else { Meaning::Canceled });
    }
    match state {
        Some(AttemptState::Failed) => {
            let why = (object.failure_code.text(), object.failure_message.text());
            Ok(failed(facts, (intent, Some(id)), at, why))
        }
        Some(state) => {
            attempted(facts, intent, Some(id), Attempt { state, at });
            let is_processing = state == AttemptState::Processing;
            Ok(if is_processing { Meaning::Processing } else { Meaning::Authorized })
        }
        None if is_captured && (says_captured || object.status.text() == Some("succeeded")) => {
            captured(source, object, &id, facts)
        }
        None => Ok(Meaning::Linked),
    }
}

/// A charge that brought money, and what it says went back.
fn captured(
    source: &Source<'_>,
    object: &Object<'_>,
    id: &str,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let at = source.at;
    let amount = match object.amount_captured {
        // Older versions, and hand-made bodies, leave it out or at 0; nothing captured is not captured.
        Value::Absent | Value::Whole(0) => first_amount(&[("amount", &object.amount)]),
        _ => first_amount(&[("amount_captured", &object.amount_captured)]),
    }?;
    let currency = facts.currency.clone();
    let reserved = self::amount(&object.amount);
    let was_refunded = source.kind == "charge.refunded";
    let so_far = match (was_refunded, &object.amount_refunded) {
        (true, value) => Some(
            first_amount(&[("amount_refunded", value)])?.map_or(Refunded::Whole, Refunded::Part),
        ),
        // Before its first refund a charge has nothing to say of refunds.
        (false, _) if matches!(source.kind, "charge.succeeded" | "charge.captured") => None,
        (false, value) => self::amount(value).map(Refunded::Part),
    };
    let charge = facts.charges.entry(id.to_owned()).or_default();
    charge.paid = Some(Paid { amount, currency });
    charge.refunded = so_far.map(|amount| RefundTotal { at, amount });
    charge.release = reserved.zip(amount).and_then(|amounts| release(source, object, amounts));
    facts.paid_at = Some(at);
    if was_refunded {
        facts.refunded_at = Some(at);
    }
    // Before API version 2022-11-15 the charge carries its refunds.
    facts.refunds = money_back::listed_refunds(source, object, id)?;
    Ok(if was_refunded { Meaning::Refunded } else { Meaning::Paid })
}

/// What was reserved and not captured, and what the charge says of it.
fn release(
    source: &Source<'_>,
    object: &Object<'_>,
    (reserved, captured): (i64, i64),
) -> Option<Release> {
    /// The first that no longer counts it among the refunds.
    const BASIL: &str = "2025-03-31";
    let released = (reserved - captured).max(0);
    let total = amount(&object.amount_refunded)?;
    // A charge of which all is refunded says so.
    let is_more_than_refunded = total > captured
        || total == captured && object.refunded.flag() == Some(false)
        || total == released && source.kind != "charge.refunded"
        || total > released && source.kind == "charge.captured";
    (released > 0).then(|| Release {
        amount: released,
        least_total: total,
        is_in_total: is_more_than_refunded,
        is_before_basil: source.api_version.is_none_or(|version| version < BASIL),
    })
}

pub(super) fn session(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let (at, intent) = (source.at, stripe_id(&object.payment_intent));
    // Mode `setup` saves a card for later: nothing was to be paid.
    let is_setup = object.mode.text() == Some("setup");
    let kind = source.kind.trim_start_matches("checkout.session.");
    match (kind, object.payment_status.text()) {
        ("async_payment_succeeded", _) | ("completed", Some("paid" | "no_payment_required"))
            if !is_setup =>
        {
            let total = first_amount(&[("amount_total", &object.amount_total)])?;
            complete(object, total, facts);
            facts.paid_at = Some(at);
            Ok(Meaning::Paid)
        }
        ("completed", Some("unpaid")) if !is_setup => {
            let attempt = Attempt { state: AttemptState::Processing, at };
            attempted(facts, intent, None, attempt);
            // What Checkout took off and added counts once the money has come.
            let session = Session { added: added(object), ..Session::default() };
            facts.sessions.insert(stripe_id(&object.id).unwrap_or_default(), session);
            Ok(Meaning::Processing)
        }
        ("async_payment_failed", _) => Ok(failed(facts, (intent, None), at, (None, None))),
        ("expired", _) => {
            let end = Some(End { how: Ending::Expired, at, reason: None });
            match intent {
                Some(intent) => facts.intents.entry(intent).or_default().end = end,
                None => facts.end = end,
            }
            Ok(Meaning::Expired)
        }
        _ => Ok(Meaning::Linked),
    }
}

/// A session that is paid, or has nothing to pay.
fn complete(object: &Object<'_>, total: Option<i64>, facts: &mut Facts) {
    let added = added(object);
    let presented = Paid { amount: total, currency: facts.currency.clone() };
    let conversion = &object.currency_conversion;
    let source_of = currency(&conversion.source_currency).zip(amount(&conversion.amount_total));
    let session = match source_of {
        Some((currency, amount)) => Session {
            paid: Some(Paid { amount: Some(amount), currency: Some(currency) }),
            added,
            presented: Some(presented),
        },
        None => Session { paid: Some(presented), added, presented: None },
    };
    facts.sessions.insert(stripe_id(&object.id).unwrap_or_default(), session);
}

/// What Checkout took off the price and added to it.
fn added(object: &Object<'_>) -> Added {
    let of = |value: &Value<'_>| amount(value).unwrap_or_default();
    let details = &object.total_details;
    Added {
        off: of(&details.amount_discount),
        on: of(&details.amount_shipping).saturating_add(of(&details.amount_tax)),
    }
}
