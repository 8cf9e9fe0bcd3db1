//! Which order an object names, and where it names it.

use super::object::Object;
use super::{Family, Source};
use crate::domain::order_ids;
use crate::domain::outcome::IgnoredReason;
use crate::domain::payment::claim::{Authority, Claim};

/// The order that the payment belongs to, and the one that its subscription belongs to.
type Claims = (Option<Claim>, Option<Claim>);

/// A session's metadata is not copied to its PaymentIntent, and a refund or dispute inherits none.
pub(super) fn claims(
    family: Family,
    source: &Source<'_>,
    object: &Object<'_>,
) -> Result<Claims, IgnoredReason> {
    let claim = |authority, id: Option<String>| {
        id.map(|id| Claim::new(authority, source.at, order_ids::of_account(source.account, id)))
    };
    let own = || source.rules.in_metadata(&object.metadata);
    match family {
        Family::PaymentIntent => Ok((claim(Authority::PaymentIntent, own()?), None)),
        Family::Charge => Ok((claim(Authority::Charge, own()?), None)),
        // What it says of the money counts, whatever it says of the order.
        Family::Refund | Family::Dispute | Family::InvoicePayment => {
            Ok((claim(Authority::Refund, own().unwrap_or_default()), None))
        }
        Family::Session => {
            let named = match own()? {
                Some(own) => claim(Authority::Session, Some(own)),
                None => claim(Authority::ClientReference, client_reference(source, object)),
            };
            let of_subscription = named.clone().filter(|_| object.subscription.text().is_some());
            Ok((named, of_subscription))
        }
        Family::Invoice => {
            // The first place that names an order decides: a weaker one cannot spoil it.
            let (own, details) = (own()?, details(source, object));
            let of_subscription =
                claim(Authority::Subscription, details.clone().unwrap_or_default());
            let named = match own {
                Some(own) => claim(Authority::Invoice, Some(own)),
                None if details?.is_some() => of_subscription.clone(),
                None => claim(Authority::InvoiceLine, of_lines(source, object)?),
            };
            Ok((named, of_subscription))
        }
        Family::Subscription => Ok((None, claim(Authority::Subscription, own()?))),
    }
}

/// The subscription's metadata that the invoice carries: from basil on under `parent`.
fn details(source: &Source<'_>, object: &Object<'_>) -> Result<Option<String>, IgnoredReason> {
    match source.rules.in_metadata(&object.parent.subscription_details.metadata)? {
        Some(id) => Ok(Some(id)),
        None => source.rules.in_metadata(&object.subscription_details.metadata),
    }
}

fn of_lines(source: &Source<'_>, object: &Object<'_>) -> Result<Option<String>, IgnoredReason> {
    let mut lines = object.lines.0.iter().map(|line| source.rules.in_metadata(&line.metadata));
    lines.find(|id| !matches!(id, Ok(None))).unwrap_or(Ok(None))
}

/// Anyone who opens a Payment Link chooses this text, so it is read only if the settings say so, and
/// never of a Payment Link's session. One that is no order id names none.
fn client_reference(source: &Source<'_>, object: &Object<'_>) -> Option<String> {
    let is_the_shops = object.payment_link == crate::domain::lenient::Value::Absent;
    if !source.rules.reads_client_reference() || !is_the_shops {
        return None;
    }
    source.rules.order_id(&object.client_reference_id).unwrap_or_default()
}
