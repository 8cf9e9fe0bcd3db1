//! Invoices and what pays them.

use super::object::Object;
use super::payments::failed;
use super::{Source, amount, created, first_amount, stripe_id};
use crate::domain::delta::Meaning;
use crate::domain::lenient::{List, Value};
use crate::domain::outcome::IgnoredReason;
use crate::domain::payment::invoice::{Added, Invoice, InvoiceStatement, InvoiceStatus};
use crate::domain::payment::{Facts, Paid};

/// `billing_reason` of an invoice for a further period of its subscription.
const RENEWAL: &str = "subscription_cycle";

pub(super) fn invoice(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let at = source.at;
    let Some(id) = stripe_id(&object.id) else { return Ok(Meaning::Linked) };
    let (intent, charge) = (stripe_id(&object.payment_intent), stripe_id(&object.charge));
    if let Some(charge) = &charge {
        facts.charges.entry(charge.clone()).or_default().intent.clone_from(&intent);
    }
    let status = status(source.kind, object);
    let says = statement(status, at, object)?;
    let part = says.amount_paid.unwrap_or_default();
    let invoice = Invoice {
        // `date` until 2019-03-14, `created` since.
        created: created(&object.created).or(created(&object.date)),
        first_at: Some(at),
        is_renewal: object.billing_reason.text() == Some(RENEWAL),
        says: Some(says),
    };
    facts.invoices.insert(id, invoice);
    if status == InvoiceStatus::Paid || part > 0 {
        facts.paid_at = Some(at);
    }
    Ok(match status {
        InvoiceStatus::Paid => Meaning::Paid,
        InvoiceStatus::Void => Meaning::Canceled,
        InvoiceStatus::Uncollectible => {
            facts.failed_at = Some(at);
            Meaning::AttemptFailed
        }
        _ if source.kind == "invoice.payment_failed" => {
            failed(facts, (intent, charge), at, (None, None))
        }
        _ if part > 0 => Meaning::PartPaid,
        _ => Meaning::Linked,
    })
}

/// The object's own word; where an old or hand-made body has none, the type's.
fn status(kind: &str, object: &Object<'_>) -> InvoiceStatus {
    match (object.status.text(), kind) {
        (Some("paid"), _) => InvoiceStatus::Paid,
        (Some("void"), _) => InvoiceStatus::Void,
        (Some("uncollectible"), _) => InvoiceStatus::Uncollectible,
        (Some("draft"), _) => InvoiceStatus::Draft,
        (Some(_), _) => InvoiceStatus::Open,
        (None, "invoice.paid" | "invoice.payment_succeeded") => InvoiceStatus::Paid,
        (None, "invoice.voided") => InvoiceStatus::Void,
        (None, "invoice.marked_uncollectible") => InvoiceStatus::Uncollectible,
        (None, _) if object.paid.flag() == Some(true) => InvoiceStatus::Paid,
        (None, _) => InvoiceStatus::Open,
    }
}

fn statement(
    status: InvoiceStatus,
    at: i64,
    object: &Object<'_>,
) -> Result<InvoiceStatement, IgnoredReason> {
    let is_paid = status == InvoiceStatus::Paid;
    if is_paid {
        // What it received must be known, or nothing is.
        first_amount(&[
            ("amount_paid", &object.amount_paid),
            ("amount_due", &object.amount_due),
            ("total", &object.total),
        ])?;
    }
    let amount_due = amount(&object.amount_due);
    let remaining = amount(&object.amount_remaining).unwrap_or_default();
    // From 2025-03-31 on no field says that it was paid outside of Stripe; what is left does.
    let is_out_of_band = is_paid && (object.paid_out_of_band.flag() == Some(true) || remaining > 0);
    let total = amount(&object.total);
    Ok(InvoiceStatement {
        status,
        at,
        amount_due,
        amount_paid: amount(&object.amount_paid),
        total,
        is_out_of_band,
        added: added(object, total, amount_due),
    })
}

/// What Stripe took off the price and added to it.
fn added(object: &Object<'_>, total: Option<i64>, due: Option<i64>) -> Added {
    let of = |value: &Value<'_>| amount(value).unwrap_or_default();
    let sum = |list: &List<super::object::Listed<'_>>| {
        list.0.iter().fold(0_i64, |sum, one| sum.saturating_add(of(&one.amount)))
    };
    // The customer's credit balance pays the difference between the total and what is due.
    let credit = total.zip(due).map_or(0, |(total, due)| (total - due).max(0));
    let taxes = sum(&object.total_taxes).max(sum(&object.total_tax_amounts)).max(of(&object.tax));
    Added {
        off: sum(&object.total_discount_amounts).saturating_add(credit),
        on: taxes.saturating_add(of(&object.shipping_cost.amount_total)),
    }
}

/// Which PaymentIntent, charge or payment record pays which invoice (from 2025-03-31 on).
pub(super) fn invoice_payment(
    source: &Source<'_>,
    object: &Object<'_>,
    facts: &mut Facts,
) -> Result<Meaning, IgnoredReason> {
    let is_paid = object.status.text().is_none_or(|status| status == "paid")
        && (source.kind == "invoice_payment.paid" || object.status.text().is_some());
    if !is_paid {
        return Ok(Meaning::Linked);
    }
    let amount = first_amount(&[("amount_paid", &object.amount_paid)])?;
    let Some(amount) = amount.filter(|amount| *amount > 0) else { return Ok(Meaning::Linked) };
    let paid = Some(Paid { amount: Some(amount), currency: facts.currency.clone() });
    let by = &object.payment;
    if let Some(intent) = stripe_id(&by.payment_intent) {
        facts.intents.entry(intent).or_default().part = paid;
    } else if let Some(charge) = stripe_id(&by.charge) {
        facts.charges.entry(charge).or_default().paid = paid;
    } else if let (Some(record), Some(paid)) = (stripe_id(&by.payment_record), paid) {
        facts.records.insert(record, paid);
    } else {
        return Ok(Meaning::Linked);
    }
    facts.paid_at = Some(source.at);
    Ok(Meaning::PartPaid)
}
