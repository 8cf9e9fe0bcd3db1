//! Says in words what an event did, for `explain`, the console and the API.

use std::collections::BTreeSet;

use super::delta::Meaning;
use super::order::{OrderSnapshot, Problem, Status};
use super::payment::dispute::DisputeStatus;

/// What an event that counts did.
#[derive(Debug)]
pub struct Applied {
    /// What a person would read from it.
    pub meaning: Meaning,
    /// Its payment.
    pub payment_key: Option<String>,
    /// The subscription that it is about.
    pub subscription: Option<String>,
    /// The order that it names itself.
    pub named: Option<String>,
    /// Whether it added something to what is known of its payment.
    pub has_added: bool,
    /// The orders for which it brought something new.
    pub touched: BTreeSet<String>,
}

/// What changed, e.g. `pending → paid; received 29900 usd`.
#[must_use]
pub fn what_changed(before: Option<&OrderSnapshot>, to: &OrderSnapshot) -> String {
    let unknown = OrderSnapshot::default();
    let from = before.unwrap_or(&unknown);
    let mut parts = Vec::new();
    let currency = to.currency.as_deref().unwrap_or_default();
    match before {
        None => parts.push(format!("new → {}", to.status.name())),
        Some(_) if from.status != to.status => {
            parts.push(format!("{} → {}", from.status.name(), to.status.name()));
        }
        Some(_) => {}
    }
    for (name, from, to) in [
        ("received", from.amount_received, to.amount_received),
        ("refunded", from.amount_refunded, to.amount_refunded),
        ("disputed", from.amount_disputed, to.amount_disputed),
    ] {
        if from != to {
            parts.push(format!("{name} {to} {currency}"));
        }
    }
    if from.refunds_failed < to.refunds_failed {
        parts.push("a refund failed".to_owned());
    }
    if from.dispute != to.dispute {
        parts.push(format!("dispute {}", to.dispute.map_or("none", DisputeStatus::name)));
    }
    if from.problem != to.problem {
        parts.push(format!("problem {}", to.problem.map_or("none", Problem::name)));
    }
    if parts.is_empty() {
        return format!("details only; the order stays {}", to.status.name());
    }
    parts.join("; ")
}

/// Why an event left its order as it was.
#[must_use]
pub fn unchanged_reason(meaning: Meaning, status: Status) -> String {
    let name = status.name();
    match meaning {
        Meaning::Linked => "it says only which ids belong together, and they were known".to_owned(),
        Meaning::AttemptFailed | Meaning::Canceled | Meaning::Expired
            if !matches!(status, Status::Failed | Status::Canceled) =>
        {
            format!("a failure does not undo a payment; the order is {name}")
        }
        Meaning::RefundUnknown => {
            "this version does not know the refund's status; it counts for nothing".to_owned()
        }
        _ => format!("it says nothing new; the order was {name} already"),
    }
}
