//! Payments → the order's state, as a pure function: the same payments give the same state.
//!
//! [`fold`] weighs; [`Told`] is the part of the state that others are told of, and [`kinds`] names
//! what changed between two of them. Which payments belong to the order is left to [`super::ledger`].

use super::payment::{DisputeState, Facts, Failure, Refunded};

/// Where an order stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing decisive is known, or not enough was received.
    #[default]
    Pending,
    /// Paid.
    Paid,
    /// Paid, and a part was given back.
    PartiallyRefunded,
    /// Paid, and all was given back.
    Refunded,
    /// The last attempt failed, or the payment was canceled or expired.
    Failed,
}

impl Status {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Paid, Self::PartiallyRefunded, Self::Refunded, Self::Failed];

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Failed => "failed",
        }
    }
}

/// A dispute beside the status. It never changes what is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisputeStatus {
    /// The bank asks; no money moved.
    Inquiry,
    /// The money is withdrawn until it is decided.
    Open,
    /// Decided, or closed, for the shop.
    Won,
    /// Decided for the customer.
    Lost,
}

impl DisputeStatus {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Inquiry, Self::Open, Self::Won, Self::Lost];

    /// As in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inquiry => "inquiry",
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// What is wrong with the money of an order, for a person to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Less was received than was due; the order stays pending.
    Underpaid,
    /// Something was received in a currency other than the one due; the order stays pending.
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

/// The part of an order's state whose changes are recorded and told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where it stands.
    pub status: Status,
    /// The most pressing dispute.
    pub dispute: Option<DisputeStatus>,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// Minor units.
    pub amount_received: i64,
    /// Minor units.
    pub amount_refunded: i64,
    /// Of the amounts, and of `amount_due`.
    pub currency: Option<String>,
}

/// All that payments say of an order. Times are Unix seconds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// What is told.
    pub told: Told,
    /// Only while the status is failed.
    pub failure_code: Option<String>,
    /// Only while the status is failed.
    pub failure_message: Option<String>,
    /// From the payments.
    pub customer_email: Option<String>,
    /// The earliest event that says so.
    pub paid_at: Option<i64>,
    /// The earliest event that says so, even if it was paid later.
    pub failed_at: Option<i64>,
    /// The earliest event that says so, while anything is refunded.
    pub refunded_at: Option<i64>,
    /// The earliest event of any of its payments.
    pub first_at: Option<i64>,
}

/// Folds an order's payments into its state. Their order does not matter.
#[must_use]
pub fn fold(due: Option<&Due>, payments: &[&Facts]) -> State {
    // A test payment must not settle an order that has live ones.
    let is_live = payments.iter().any(|payment| payment.livemode);
    let counted = payments.iter().copied().filter(|payment| payment.livemode == is_live);
    let mut counted: Vec<&Facts> = counted.collect();
    counted.sort_by_key(|payment| payment.key());

    let deciding = match newest_invoice(&counted) {
        Some(invoice) => vec![invoice],
        None => counted.clone(),
    };
    let paid: Vec<&Facts> = deciding.iter().copied().filter(|one| one.is_paid()).collect();
    let currency = match due {
        Some(due) => Some(due.currency.clone()),
        None => currency_of(&paid, &deciding),
    };
    let money = Money::of(&paid, due, currency.as_deref());
    let (status, problem) = settle(&deciding, &paid, due, &money);
    let failure = failure_of(&deciding).filter(|_| status == Status::Failed);
    State {
        told: Told {
            status,
            dispute: dispute_of(&counted),
            problem,
            amount_received: money.received,
            amount_refunded: money.refunded,
            currency,
        },
        failure_code: failure.and_then(|failure| failure.code.clone()),
        failure_message: failure.and_then(|failure| failure.message.clone()),
        customer_email: counted
            .iter()
            .filter_map(|payment| payment.email.as_ref())
            .max()
            .map(|email| email.address.clone()),
        paid_at: counted.iter().filter_map(|payment| payment.paid_at).min(),
        failed_at: counted.iter().filter_map(|payment| payment.failed_at).min(),
        refunded_at: counted
            .iter()
            .filter_map(|payment| payment.refunded_at)
            .min()
            .filter(|_| money.refunded > 0 || status == Status::Refunded),
        first_at: payments.iter().filter_map(|payment| payment.first_at).min(),
    }
}

/// An order with invoices is a subscription, and its newest invoice decides: so a failed renewal shows.
/// An invoice that is neither paid nor failed yet decides nothing.
fn newest_invoice<'a>(payments: &[&'a Facts]) -> Option<&'a Facts> {
    payments
        .iter()
        .copied()
        .filter(|payment| payment.is_paid() || payment.failure.is_some())
        .filter_map(|payment| {
            let created = payment.invoice_created.or(payment.first_at);
            payment.invoice().map(|invoice| ((created, invoice), payment))
        })
        .max_by_key(|(age, _)| *age)
        .map(|(_, payment)| payment)
}

/// Without an amount due: the currency of the first payment that was paid, else of any.
fn currency_of(paid: &[&Facts], all: &[&Facts]) -> Option<String> {
    let first_paid = paid
        .iter()
        .filter(|payment| payment.money_currency().is_some())
        .min_by_key(|payment| (payment.paid_at, payment.key()));
    let any = || all.iter().find(|payment| payment.money_currency().is_some());
    first_paid.or_else(any).and_then(|payment| payment.money_currency()).map(str::to_owned)
}

/// What the paid payments add up to, in the order's currency and minor units.
struct Money {
    received: i64,
    refunded: i64,
    /// How many paid payments were in another currency.
    foreign: usize,
    /// How many payments were paid and not wholly given back.
    kept: usize,
    /// Whether each paid payment is untouched, partly or wholly refunded.
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Untouched,
    Partly,
    Wholly,
}

impl Money {
    fn of(paid: &[&Facts], due: Option<&Due>, currency: Option<&str>) -> Self {
        let mut money = Self { received: 0, refunded: 0, foreign: 0, kept: 0, parts: Vec::new() };
        for payment in paid {
            // A body without amounts counts as a full payment.
            let received = payment.amount_received().or(due.map(|due| due.amount));
            let (refunded, part) = match (payment.amount_refunded(), received) {
                (Refunded::Whole, _) => (received.unwrap_or(0), Part::Wholly),
                (Refunded::Part(0), _) => (0, Part::Untouched),
                (Refunded::Part(part), Some(received)) if part >= received => {
                    (received, Part::Wholly)
                }
                (Refunded::Part(part), _) => (part, Part::Partly),
            };
            money.parts.push(part);
            money.kept += usize::from(part != Part::Wholly);
            let is_foreign =
                payment.money_currency().is_some() && payment.money_currency() != currency;
            if is_foreign {
                money.foreign += 1;
            } else {
                money.received = money.received.saturating_add(received.unwrap_or(0));
                money.refunded = money.refunded.saturating_add(refunded);
            }
        }
        money
    }
}

fn settle(
    deciding: &[&Facts],
    paid: &[&Facts],
    due: Option<&Due>,
    money: &Money,
) -> (Status, Option<Problem>) {
    if paid.is_empty() {
        let has_failed = deciding.iter().any(|payment| payment.failure.is_some());
        return (if has_failed { Status::Failed } else { Status::Pending }, None);
    }
    if let Some(due) = due
        && (money.received < due.amount || money.foreign == paid.len())
    {
        let is_foreign = money.foreign > 0;
        let problem = if is_foreign { Problem::WrongCurrency } else { Problem::Underpaid };
        return (Status::Pending, Some(problem));
    }
    let status = if money.parts.contains(&Part::Untouched) {
        Status::Paid
    } else if money.parts.contains(&Part::Partly) {
        Status::PartiallyRefunded
    } else {
        Status::Refunded
    };
    let is_overpaid = match due {
        // Two instalments that add up are no problem; what is kept beyond the due amount is.
        Some(due) => {
            money.received.saturating_sub(money.refunded) > due.amount || money.foreign > 0
        }
        None => money.kept > 1,
    };
    (status, is_overpaid.then_some(Problem::Overpaid))
}

fn failure_of<'a>(payments: &[&'a Facts]) -> Option<&'a Failure> {
    payments.iter().filter_map(|payment| payment.failure.as_ref()).max()
}

/// The most pressing one: an open dispute needs an answer by a date.
fn dispute_of(payments: &[&Facts]) -> Option<DisputeStatus> {
    let pressing = |state: DisputeState| match state {
        DisputeState::Won | DisputeState::InquiryClosed => (0, DisputeStatus::Won),
        DisputeState::Lost => (1, DisputeStatus::Lost),
        DisputeState::Inquiry => (2, DisputeStatus::Inquiry),
        DisputeState::Open => (3, DisputeStatus::Open),
    };
    payments
        .iter()
        .flat_map(|payment| payment.disputes.values())
        .map(|dispute| pressing(dispute.state))
        .max_by_key(|(urgency, _)| *urgency)
        .map(|(_, status)| status)
}

/// Every kind of change that is told.
pub const KINDS: [&str; 7] = [
    "order.paid",
    "order.failed",
    "order.partially_refunded",
    "order.refunded",
    "order.dispute_opened",
    "order.dispute_closed",
    "order.problem",
];

/// What there is to tell between two states of an order; `from` is `None` for a new order.
#[must_use]
pub fn kinds(from: Option<&Told>, to: &Told) -> Vec<&'static str> {
    let unknown = Told::default();
    let from = from.unwrap_or(&unknown);
    let mut kinds = Vec::new();
    let refunded_more =
        to.status == Status::PartiallyRefunded && from.amount_refunded != to.amount_refunded;
    if from.status != to.status || refunded_more {
        kinds.extend(match to.status {
            Status::Pending => None,
            Status::Paid => Some("order.paid"),
            Status::PartiallyRefunded => Some("order.partially_refunded"),
            Status::Refunded => Some("order.refunded"),
            Status::Failed => Some("order.failed"),
        });
    }
    if from.dispute != to.dispute {
        kinds.extend(match to.dispute {
            None => None,
            Some(DisputeStatus::Inquiry | DisputeStatus::Open) => Some("order.dispute_opened"),
            Some(DisputeStatus::Won | DisputeStatus::Lost) => Some("order.dispute_closed"),
        });
    }
    if from.problem != to.problem && to.problem.is_some() {
        kinds.push("order.problem");
    }
    kinds
}
