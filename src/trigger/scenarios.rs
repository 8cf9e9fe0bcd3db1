//! Stories of an order, as rows of events. Each ends as its row says, in whatever order and however
//! often its events are delivered; a test sends them all.

use super::samples::Step;
use super::samples::Twist::{
    Again, AttemptFailed, Balance, Bare, CapturedPart, Deposit, Lost, Part, Plain, Prevented,
    Renewal, SecondPayment, Uncaptured, Unpaid, Won,
};
use crate::domain::order::{Problem, Status};
use crate::domain::payment::dispute::DisputeStatus;

/// A story.
#[derive(Debug)]
pub struct Scenario {
    /// For `--scenario`.
    pub name: &'static str,
    /// What happens.
    pub tells: &'static str,
    /// The events, as they happened.
    pub steps: &'static [Step],
    /// What to expect, for a person.
    pub ends: &'static str,
    /// What to expect, for a test.
    pub status: Status,
    /// The dispute at the end.
    pub dispute: Option<DisputeStatus>,
    /// The problem at the end.
    pub problem: Option<Problem>,
}

const PLAIN: Scenario = Scenario {
    name: "",
    tells: "",
    steps: &[],
    ends: "",
    status: Status::Paid,
    dispute: None,
    problem: None,
};

const CREATED: Step = Plain.of("payment_intent.created");
const CHARGED: Step = Plain.of("charge.succeeded");
const SUCCEEDED: Step = Plain.of("payment_intent.succeeded");

/// All stories.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "paid",
        tells: "a PaymentIntent succeeds",
        steps: &[CREATED, CHARGED, SUCCEEDED],
        ends: "The order should be paid.",
        ..PLAIN
    },
    Scenario {
        name: "failed",
        tells: "the card is declined",
        steps: &[
            CREATED,
            AttemptFailed.of("charge.failed"),
            AttemptFailed.of("payment_intent.payment_failed"),
        ],
        ends: "The order should be failed, with card_declined.",
        status: Status::Failed,
        ..PLAIN
    },
    Scenario {
        name: "retried",
        tells: "the card is declined, another one is not",
        steps: &[
            CREATED,
            AttemptFailed.of("charge.failed"),
            AttemptFailed.of("payment_intent.payment_failed"),
            CHARGED,
            SUCCEEDED,
        ],
        ends: "The order should be paid: a failure never undoes a payment, however late it comes.",
        ..PLAIN
    },
    Scenario {
        name: "canceled",
        tells: "the PaymentIntent is canceled before it is paid",
        steps: &[CREATED, Plain.of("payment_intent.canceled")],
        ends: "The order should be canceled.",
        status: Status::Canceled,
        ..PLAIN
    },
    Scenario {
        name: "refunded",
        tells: "paid, and all of it given back",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("refund.created"),
            Plain.of("charge.refunded"),
            Plain.of("refund.updated"),
        ],
        ends: "The order should be refunded.",
        status: Status::Refunded,
        ..PLAIN
    },
    Scenario {
        name: "partially_refunded",
        tells: "paid, and a part of it given back (half, or --refunded)",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Part.of("refund.created"),
            Part.of("charge.refunded"),
            Part.of("refund.updated"),
        ],
        ends: "The order should be partially_refunded.",
        status: Status::PartiallyRefunded,
        ..PLAIN
    },
    Scenario {
        name: "refund_failed",
        tells: "paid and refunded, but the bank sends the refund back",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("refund.created"),
            Plain.of("charge.refunded"),
            Plain.of("refund.failed"),
        ],
        ends: "The order should be paid: a refund that failed does not count.",
        ..PLAIN
    },
    Scenario {
        name: "refund_made_again",
        tells: "a refund fails, and the shop makes it again",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("refund.created"),
            Plain.of("charge.refunded"),
            Plain.of("refund.failed"),
            Again.of("refund.created"),
            Again.of("charge.refunded"),
            Again.of("refund.updated"),
        ],
        ends: "The order should be refunded: only the second refund counts.",
        status: Status::Refunded,
        ..PLAIN
    },
    Scenario {
        name: "disputed",
        tells: "paid, and the customer disputes it",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("charge.dispute.created"),
            Plain.of("charge.dispute.funds_withdrawn"),
        ],
        ends: "The order should be paid, with an open dispute beside it.",
        dispute: Some(DisputeStatus::Open),
        ..PLAIN
    },
    Scenario {
        name: "dispute_won",
        tells: "disputed, and the bank decides for the shop",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("charge.dispute.created"),
            Plain.of("charge.dispute.funds_withdrawn"),
            Won.of("charge.dispute.funds_reinstated"),
            Won.of("charge.dispute.closed"),
        ],
        ends: "The order should be paid, with a dispute that is won.",
        dispute: Some(DisputeStatus::Won),
        ..PLAIN
    },
    Scenario {
        name: "dispute_lost",
        tells: "disputed, and the bank decides for the customer",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("charge.dispute.created"),
            Plain.of("charge.dispute.funds_withdrawn"),
            Lost.of("charge.dispute.closed"),
        ],
        ends: "The order should be paid, with a dispute that is lost.",
        dispute: Some(DisputeStatus::Lost),
        ..PLAIN
    },
    Scenario {
        name: "dispute_prevented",
        tells: "disputed, and closed before the bank decides",
        steps: &[
            CREATED,
            CHARGED,
            SUCCEEDED,
            Plain.of("charge.dispute.created"),
            Prevented.of("charge.dispute.closed"),
        ],
        ends: "The order should be paid, with a dispute that is prevented.",
        dispute: Some(DisputeStatus::Prevented),
        ..PLAIN
    },
    Scenario {
        name: "checkout",
        tells: "a Checkout Session whose order id is on the session alone",
        steps: &[
            Bare.of("payment_intent.created"),
            Bare.of("charge.succeeded"),
            Bare.of("payment_intent.succeeded"),
            Plain.of("checkout.session.completed"),
        ],
        ends: "The order should be paid: the session tells which order the payment is for.",
        ..PLAIN
    },
    Scenario {
        name: "processing",
        tells: "a Checkout Session paid by bank debit, which takes days",
        steps: &[
            Unpaid.of("checkout.session.completed"),
            Bare.of("payment_intent.processing"),
            Bare.of("charge.pending"),
        ],
        ends: "The order should be processing: the money is on its way.",
        status: Status::Processing,
        ..PLAIN
    },
    Scenario {
        name: "checkout_async",
        tells: "a Checkout Session paid by bank debit, days later",
        steps: &[
            Unpaid.of("checkout.session.completed"),
            Bare.of("payment_intent.processing"),
            Bare.of("charge.pending"),
            Bare.of("payment_intent.succeeded"),
            Plain.of("checkout.session.async_payment_succeeded"),
        ],
        ends: "The order should be paid; after the first event it was processing.",
        ..PLAIN
    },
    Scenario {
        name: "checkout_async_failed",
        tells: "a Checkout Session whose bank debit fails, days later",
        steps: &[
            Unpaid.of("checkout.session.completed"),
            Bare.of("payment_intent.processing"),
            Bare.of("payment_intent.payment_failed"),
            Unpaid.of("checkout.session.async_payment_failed"),
        ],
        ends: "The order should be failed.",
        status: Status::Failed,
        ..PLAIN
    },
    Scenario {
        name: "checkout_expired",
        tells: "nobody completes the Checkout Session",
        steps: &[Unpaid.of("checkout.session.expired")],
        ends: "The order should be canceled: the session expired, and no attempt failed.",
        status: Status::Canceled,
        ..PLAIN
    },
    Scenario {
        name: "subscription",
        tells: "a subscription whose first invoice is paid",
        steps: &[
            Plain.of("customer.subscription.created"),
            Bare.of("charge.succeeded"),
            Bare.of("payment_intent.succeeded"),
            Plain.of("invoice.paid"),
            Plain.of("invoice.payment_succeeded"),
            Plain.of("invoice_payment.paid"),
        ],
        ends: "The order should be paid.",
        ..PLAIN
    },
    Scenario {
        name: "renewed",
        tells: "a subscription whose second invoice is paid too",
        steps: &[
            Plain.of("customer.subscription.created"),
            Bare.of("payment_intent.succeeded"),
            Plain.of("invoice.paid"),
            Plain.of("invoice_payment.paid"),
            Renewal.of("payment_intent.succeeded"),
            Renewal.of("invoice.paid"),
            Renewal.of("invoice_payment.paid"),
        ],
        ends: "The order should be paid, with twice the amount received.",
        ..PLAIN
    },
    Scenario {
        name: "renewal_failed",
        tells: "a subscription whose second invoice is not paid",
        steps: &[
            Plain.of("customer.subscription.created"),
            Bare.of("payment_intent.succeeded"),
            Plain.of("invoice.paid"),
            Plain.of("invoice_payment.paid"),
            Renewal.of("invoice.payment_failed"),
        ],
        ends: "The order should be failed: the newest invoice decides.",
        status: Status::Failed,
        ..PLAIN
    },
    Scenario {
        name: "deposit_and_balance",
        tells: "two one-off invoices: a third before, the rest later",
        steps: &[
            Deposit.of("invoice.finalized"),
            Deposit.of("payment_intent.succeeded"),
            Deposit.of("invoice.paid"),
            Deposit.of("invoice_payment.paid"),
            Balance.of("invoice.finalized"),
            Balance.of("payment_intent.succeeded"),
            Balance.of("invoice.paid"),
            Balance.of("invoice_payment.paid"),
        ],
        ends: "The order should be paid, with both invoices received.",
        ..PLAIN
    },
    Scenario {
        name: "invoice_voided",
        tells: "a one-off invoice is taken back before it is paid",
        steps: &[Deposit.of("invoice.finalized"), Deposit.of("invoice.voided")],
        ends: "The order should be canceled: nothing is to be paid any more.",
        status: Status::Canceled,
        ..PLAIN
    },
    Scenario {
        name: "authorized",
        tells: "a card is authorized, and nothing captured yet",
        steps: &[
            CREATED,
            Uncaptured.of("charge.succeeded"),
            Uncaptured.of("payment_intent.amount_capturable_updated"),
        ],
        ends: "The order should be authorized: the money is only reserved.",
        status: Status::Authorized,
        ..PLAIN
    },
    Scenario {
        name: "captured",
        tells: "a card is authorized, and captured later",
        steps: &[
            CREATED,
            Uncaptured.of("charge.succeeded"),
            Uncaptured.of("payment_intent.amount_capturable_updated"),
            Plain.of("charge.captured"),
            SUCCEEDED,
        ],
        ends: "The order should be paid.",
        ..PLAIN
    },
    Scenario {
        name: "captured_in_part",
        tells: "a card is authorized, half of it captured, and the rest released",
        steps: &[
            CREATED,
            Uncaptured.of("charge.succeeded"),
            Uncaptured.of("payment_intent.amount_capturable_updated"),
            CapturedPart.of("charge.captured"),
            CapturedPart.of("payment_intent.succeeded"),
            CapturedPart.of("charge.updated"),
        ],
        ends: "The order should be paid: what was released was never received, so nothing is refunded.",
        ..PLAIN
    },
    Scenario {
        name: "authorization_expired",
        tells: "a card is authorized, and never captured",
        steps: &[
            CREATED,
            Uncaptured.of("charge.succeeded"),
            Uncaptured.of("payment_intent.amount_capturable_updated"),
            Uncaptured.of("charge.expired"),
            Plain.of("payment_intent.canceled"),
        ],
        ends: "The order should be canceled: the reservation expired.",
        status: Status::Canceled,
        ..PLAIN
    },
    Scenario {
        name: "paid_twice",
        tells: "the customer pays in two browser tabs",
        steps: &[CREATED, SUCCEEDED, SecondPayment.of("payment_intent.succeeded")],
        ends: "The order should be paid, with the problem overpaid.",
        problem: Some(Problem::Overpaid),
        ..PLAIN
    },
];
