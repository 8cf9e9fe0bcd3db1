//! Payments → the order's state, as a pure function: the same payments give the same state.
//!
//! [`weigh`] says where an order stands; [`OrderSnapshot`] is the part of the state whose changes are
//! recorded, and [`kinds`] names what changed between two of them. Which payments belong to the order is
//! left to [`super::working_set`].

use std::collections::BTreeMap;

use super::payment::dispute::{Dispute, DisputeStatus};
use super::payment::standing::Why;
use super::summary::{Subscription, Summary, Sums};

/// Where an order stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing decisive is known, or not enough was received.
    #[default]
    Pending,
    /// A delayed payment is under way.
    Processing,
    /// Money is reserved, not captured.
    Authorized,
    /// Paid.
    Paid,
    /// Paid, and a part was given back.
    PartiallyRefunded,
    /// All that came was given back.
    Refunded,
    /// An attempt failed, and nothing came or is under way; or a subscription's newest invoice failed.
    Failed,
    /// Canceled, expired or void; no attempt is left.
    Canceled,
}

impl Status {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Processing,
        Self::Authorized,
        Self::Paid,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Failed,
        Self::Canceled,
    ];

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Authorized => "authorized",
            Self::Paid => "paid",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// What is wrong with the money of an order, for a person to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Less was received than was due; the order stays pending.
    Underpaid,
    /// What was received is in a currency other than the one due; the order stays pending.
    WrongCurrency,
    /// More was received than was due, or it was paid twice.
    Overpaid,
}

impl Problem {
    /// Every problem.
    pub const ALL: [Self; 3] = [Self::Underpaid, Self::WrongCurrency, Self::Overpaid];

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Underpaid => "underpaid",
            Self::WrongCurrency => "wrong_currency",
            Self::Overpaid => "overpaid",
        }
    }
}

/// What the shop said is due, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Minor units.
    pub amount: i64,
    /// Three letters, lowercase.
    pub currency: String,
}

/// The part of an order's state whose changes are recorded and notified.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct OrderSnapshot {
    /// Where it stands.
    pub status: Status,
    /// The most pressing dispute.
    pub dispute: Option<DisputeStatus>,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// What came, in minor units.
    pub amount_received: i64,
    /// What went back to the customer, in minor units.
    pub amount_refunded: i64,
    /// What disputes withdrew that are open or lost, in minor units.
    pub amount_disputed: i64,
    /// Of the amounts.
    pub currency: Option<String>,
    /// The disputes by id.
    pub disputes: BTreeMap<String, Dispute>,
    /// How many renewals of a subscription were paid.
    pub renewals: i64,
    /// How many refunds failed.
    pub refunds_failed: i64,
}

impl OrderSnapshot {
    /// What was received and not given back.
    #[must_use]
    pub fn net(&self) -> i64 {
        self.amount_received.saturating_sub(self.amount_refunded)
    }

    /// What the shop has of it; less than nothing if disputes withdrew more.
    #[must_use]
    pub fn kept(&self) -> i64 {
        self.net().saturating_sub(self.amount_disputed)
    }
}

/// All that payments say of an order. Times are Unix seconds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// What is recorded and notified.
    pub snapshot: OrderSnapshot,
    /// While the status is failed or canceled.
    pub failure_code: Option<String>,
    /// While the status is failed or canceled.
    pub failure_message: Option<String>,
    /// From the payments.
    pub customer_email: Option<String>,
    /// The earliest event that says money came, or that none was needed.
    pub paid_at: Option<i64>,
    /// The earliest event that says an attempt failed, even if it was paid later.
    pub failed_at: Option<i64>,
    /// The earliest event that says so, while anything is refunded.
    pub refunded_at: Option<i64>,
    /// The earliest event of any of its payments.
    pub first_at: Option<i64>,
}

/// What an order received and gave back, in its currency.
struct Money {
    currency: Option<String>,
    sums: Sums,
    received: i64,
    refunded: i64,
    /// Some money was kept in a currency other than the one due.
    has_foreign: bool,
    /// All paid payments were in another currency than the one due: these are their sums.
    is_foreign: bool,
}

impl Money {
    fn of(due: Option<&Due>, summary: &Summary) -> Self {
        let first_paid = summary.first_paid.as_ref().map(|(_, _, currency)| currency.clone());
        let own = match due {
            Some(due) => Some(due.currency.clone()),
            None => first_paid
                .clone()
                .or_else(|| summary.any_currency.as_ref().map(|(_, currency)| currency.clone())),
        };
        let mut sums = sums_of(summary, own.as_deref());
        let is_own = |currency: &&String| currency.is_empty() || Some(*currency) == own.as_ref();
        let mut foreign = summary.sums.iter().filter(|(currency, _)| !is_own(currency));
        let has_foreign = foreign.clone().any(|(_, sums)| sums.has_kept());
        // A discount can leave nothing to pay.
        let is_free = |due: &Due| sums.paid > 0 && due.amount <= sums.off;
        let is_foreign = due.is_some_and(|due| !is_free(due))
            && !sums.has_received()
            && foreign.any(|(_, sums)| sums.has_received());
        let currency = if is_foreign { first_paid } else { own };
        if is_foreign {
            sums = sums_of(summary, currency.as_deref());
        }
        // A body without amounts counts as a full payment.
        let whole = due.map_or(0, |due| due.amount);
        let times = |count: u64| whole.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
        Self {
            received: sums.received.saturating_add(times(sums.unknown)),
            refunded: sums.refunded.saturating_add(times(sums.unknown_refunded)),
            sums,
            currency,
            has_foreign,
            is_foreign,
        }
    }

    fn net(&self) -> i64 {
        self.received.saturating_sub(self.refunded)
    }
}

fn sums_of(summary: &Summary, currency: Option<&str>) -> Sums {
    let mut sums = summary.sums.get("").cloned().unwrap_or_default();
    if let Some(own) = currency.and_then(|currency| summary.sums.get(currency)) {
        sums.add(own);
    }
    sums
}

/// Weighs what an order's payments say together.
#[must_use]
pub fn weigh(due: Option<&Due>, summary: &Summary) -> State {
    let money = Money::of(due, summary);
    let failed_renewal = summary.subscriptions.values().filter_map(Subscription::failed).max();
    let (status, problem) = settle(due, summary, &money, failed_renewal.is_some());
    let why: Option<&Why> = match status {
        Status::Failed => failed_renewal.or(summary.failed.as_ref()),
        Status::Canceled => summary.canceled.as_ref(),
        _ => None,
    };
    let dispute = summary.disputes.values().map(|dispute| dispute.status);
    let renewals: u64 = summary.subscriptions.values().map(Subscription::renewals).sum();
    State {
        snapshot: OrderSnapshot {
            status,
            dispute: dispute.max_by_key(|status| status.urgency()),
            problem,
            amount_received: money.received,
            amount_refunded: money.refunded,
            amount_disputed: disputed(summary, money.currency.as_deref()),
            currency: money.currency,
            disputes: summary.disputes.clone(),
            renewals: i64::try_from(renewals).unwrap_or(i64::MAX),
            refunds_failed: i64::try_from(summary.refunds_failed).unwrap_or(i64::MAX),
        },
        failure_code: why.and_then(|why| why.code.clone()),
        failure_message: why.and_then(|why| why.message.clone()),
        customer_email: summary.email.as_ref().map(|(_, address)| address.clone()),
        paid_at: summary.paid_at,
        failed_at: summary.failed_at,
        refunded_at: summary
            .refunded_at
            .filter(|_| money.refunded > 0 || status == Status::Refunded),
        first_at: summary.first_at,
    }
}

/// The first rule that matches decides.
fn settle(
    due: Option<&Due>,
    summary: &Summary,
    money: &Money,
    has_failed_renewal: bool,
) -> (Status, Option<Problem>) {
    let (net, sums) = (money.net(), &money.sums);
    let low = due.map_or(sums.largest, |due| due.amount.saturating_sub(sums.off).max(0));
    let under_way = if summary.is_processing {
        Some(Status::Processing)
    } else {
        summary.is_authorized.then_some(Status::Authorized)
    };
    let is_kept_elsewhere = money.is_foreign && money.has_foreign;
    if net == 0
        && !is_kept_elsewhere
        && (money.refunded > 0 || sums.unknown > 0 && sums.unknown == sums.unknown_refunded)
    {
        return (Status::Refunded, None);
    }
    if money.is_foreign {
        return (Status::Pending, Some(Problem::WrongCurrency));
    }
    if has_failed_renewal {
        return (Status::Failed, None);
    }
    if sums.paid > 0 && net >= low {
        return (Status::Paid, overpaid(due, summary, money));
    }
    if money.received > 0 && money.received >= low {
        return (under_way.unwrap_or(Status::PartiallyRefunded), None);
    }
    if money.received > 0 {
        let problem = if money.has_foreign { Problem::WrongCurrency } else { Problem::Underpaid };
        return (under_way.unwrap_or_default(), due.map(|_| problem));
    }
    let ended = match (&summary.failed, &summary.canceled) {
        (Some(_), _) => Status::Failed,
        (None, Some(_)) => Status::Canceled,
        (None, None) => Status::Pending,
    };
    (under_way.unwrap_or(ended), None)
}

/// Two instalments that add up are no problem; what is kept beyond the due amount is. A subscription
/// is paid again and again.
fn overpaid(due: Option<&Due>, summary: &Summary, money: &Money) -> Option<Problem> {
    let is_overpaid = match due {
        Some(due) => money.net() > due.amount.saturating_add(money.sums.on) || money.has_foreign,
        None => money.sums.has_twins && money.net() > money.sums.largest,
    };
    (is_overpaid && !summary.has_subscription()).then_some(Problem::Overpaid)
}

fn disputed(summary: &Summary, currency: Option<&str>) -> i64 {
    let withdrawn = summary.disputes.values().filter(|dispute| dispute.status.withdraws());
    withdrawn
        .filter(|dispute| dispute.currency.is_none() || dispute.currency.as_deref() == currency)
        .fold(0_i64, |sum, dispute| sum.saturating_add(dispute.amount.unwrap_or_default()))
}

/// Every kind of notification.
pub const KINDS: [&str; 12] = [
    "order.processing",
    "order.authorized",
    "order.paid",
    "order.renewed",
    "order.failed",
    "order.canceled",
    "order.partially_refunded",
    "order.refunded",
    "order.refund_failed",
    "order.dispute_opened",
    "order.dispute_closed",
    "order.problem",
];

/// What there is to notify between two states of an order; `from` is `None` for a new order.
/// `announced` is what was received when the order was last announced as paid; `None`: it never was.
#[must_use]
pub fn kinds(
    from: Option<&OrderSnapshot>,
    to: &OrderSnapshot,
    announced: Option<i64>,
) -> Vec<&'static str> {
    let unknown = OrderSnapshot::default();
    let from = from.unwrap_or(&unknown);
    let mut kinds = Vec::new();
    // Amounts in different currencies cannot be compared.
    let is_comparable = from.currency == to.currency;
    let announced = announced.filter(|_| is_comparable);
    let refunded = if is_comparable { from.amount_refunded } else { 0 };
    let has_grown = announced.is_none_or(|announced| to.amount_received > announced);
    let is_renewal = announced.is_some() && to.renewals > from.renewals && has_grown;
    if is_renewal {
        kinds.push("order.renewed");
    }
    if from.status != to.status {
        kinds.extend(match to.status {
            Status::Processing => Some("order.processing"),
            Status::Authorized => Some("order.authorized"),
            Status::Paid => (has_grown && !is_renewal).then_some("order.paid"),
            Status::Failed => Some("order.failed"),
            Status::Canceled => Some("order.canceled"),
            Status::Pending | Status::PartiallyRefunded | Status::Refunded => None,
        });
    }
    // Bodies without amounts say that all went back, and not how much.
    let is_whole = to.status == Status::Refunded && to.amount_refunded == 0;
    if to.amount_refunded > refunded || is_whole && from.status != to.status {
        let is_all = to.net() == 0;
        kinds.push(if is_all { "order.refunded" } else { "order.partially_refunded" });
    }
    if to.refunds_failed > from.refunds_failed {
        kinds.push("order.refund_failed");
    }
    kinds.extend(dispute_kinds(from, to));
    if from.problem != to.problem && to.problem.is_some() {
        kinds.push("order.problem");
    }
    kinds
}

/// On every change of a dispute's state, of no matter which.
fn dispute_kinds(from: &OrderSnapshot, to: &OrderSnapshot) -> impl Iterator<Item = &'static str> {
    let changed = to.disputes.iter().filter(|(id, dispute)| {
        from.disputes.get(*id).is_none_or(|known| known.status != dispute.status)
    });
    let (mut opened, mut closed) = (None, None);
    for (_, dispute) in changed {
        if dispute.status.is_closed() {
            closed = Some("order.dispute_closed");
        } else {
            opened = Some("order.dispute_opened");
        }
    }
    opened.into_iter().chain(closed)
}
