//! Reads a verified body: which event it is, of which payment and order, and what it says.
//!
//! What it says is a [`Facts`], ready to be joined with what is known; an event that says nothing of
//! any order is read as ignored, with why. Fields that are not needed may hold anything. The rules
//! are Stripe's object reference (docs.stripe.com/api) and the bodies seen over 22 API versions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::lenient::{self, List, Value, lenient_object};
use super::origin::{Fetched, Kept};
use super::payment::{
    Authority, Claim, Dispute, DisputeState, Email, Facts, Failure, IdKind, PaymentId, Received,
    Refund, RefundState, Refunded, Source,
};
use super::signature::Verified;

/// The longest an order id may be.
pub const ORDER_ID_BYTES_MAX: usize = 500;
/// The longest a Stripe id may be (Stripe promises 255 characters).
pub const STRIPE_ID_BYTES_MAX: usize = 255;
/// A failure message is cut to this.
pub const MESSAGE_CHARS_MAX: usize = 1000;
/// The longest address that is taken.
pub const EMAIL_BYTES_MAX: usize = 320;
/// 9999-12-31: the last second that every database and calendar here can hold.
const CREATED_MAX: i64 = 253_402_300_799;

/// An authentic event. Each way to make one demands a proof of where the body came from.
#[derive(Debug, Clone)]
pub struct Event {
    head: Head,
    reading: Reading,
    body: Bytes,
}

/// The event's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `evt_…`
    pub id: String,
    /// Stripe's `type`, e.g. `payment_intent.succeeded`.
    pub kind: String,
    /// The API version that the body was rendered with.
    pub api_version: Option<String>,
    /// The connected account, if it is one's.
    pub account: Option<String>,
    /// Live or test. A body that does not say is a test.
    pub livemode: bool,
    /// When it happened, in Unix seconds.
    pub created: Option<i64>,
    /// The id of `data.object`.
    pub object_id: Option<String>,
}

/// What an event is to paidup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It says something of a payment, if only which ids belong together.
    Says(Box<Statement>),
    /// It says nothing that an order could depend on, for this reason.
    Ignored(String),
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Joined to the payment that goes by these ids. Its ids are empty for a subscription's event.
    pub facts: Facts,
    /// Which order the subscription belongs to, if this event tells that.
    pub subscription_claim: Option<Claim>,
    /// For `explain`: what a person would read from it.
    pub meaning: Meaning,
}

/// What a person would read from an event. The facts carry the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Money came.
    Paid,
    /// An attempt failed.
    AttemptFailed,
    /// Canceled, or never captured.
    Canceled,
    /// Expired.
    Expired,
    /// Money went back, the charge says.
    Refunded,
    /// A refund is under way or done.
    RefundLive,
    /// A refund failed or was canceled.
    RefundFailed,
    /// How a dispute stands.
    Disputed(DisputeState),
    /// Only which ids, and which order, belong together.
    Linked,
}

/// Why an authentic body is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// Not UTF-8, or not JSON.
    #[error("the body is authentic but not JSON")]
    NotJson,
    /// JSON without a usable `id` or `type`.
    #[error("the body is authentic JSON, but has no event id and type")]
    NoIdOrType,
}

impl NotAnEvent {
    /// A word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NoIdOrType => "no_id_or_type",
        }
    }
}

lenient_object! {
    struct Envelope<'a> {
        id: Value<'a>,
        object: Value<'a>,
        r#type: Value<'a>,
        api_version: Value<'a>,
        account: Value<'a>,
        livemode: Value<'a>,
        created: Value<'a>,
        data: Data<'a>,
    }
}

lenient_object! {
    struct Data<'a> {
        object: Object<'a>,
    }
}

lenient_object! {
    /// The fields that matter, of whatever object an event is about.
    struct Object<'a> {
        id: Value<'a>,
        created: Value<'a>,
        date: Value<'a>,
        status: Value<'a>,
        currency: Value<'a>,
        metadata: Metadata<'a>,
        amount: Value<'a>,
        amount_received: Value<'a>,
        amount_captured: Value<'a>,
        amount_refunded: Value<'a>,
        amount_total: Value<'a>,
        amount_paid: Value<'a>,
        amount_due: Value<'a>,
        total: Value<'a>,
        captured: Value<'a>,
        mode: Value<'a>,
        payment_status: Value<'a>,
        client_reference_id: Value<'a>,
        payment_intent: Value<'a>,
        latest_charge: Value<'a>,
        charge: Value<'a>,
        invoice: Value<'a>,
        subscription: Value<'a>,
        failure_code: Value<'a>,
        failure_message: Value<'a>,
        cancellation_reason: Value<'a>,
        last_payment_error: PaymentError<'a>,
        receipt_email: Value<'a>,
        customer_email: Value<'a>,
        customer_details: Person<'a>,
        billing_details: Person<'a>,
        payment: InvoicePaymentOf<'a>,
        parent: Parent<'a>,
        subscription_details: SubscriptionDetails<'a>,
        lines: List<Line<'a>>,
        refunds: List<Listed<'a>>,
    }
}

lenient_object! {
    struct Metadata<'a> {
        order_id: Value<'a>,
    }
}

lenient_object! {
    struct PaymentError<'a> {
        code: Value<'a>,
        decline_code: Value<'a>,
        message: Value<'a>,
    }
}

lenient_object! {
    struct Person<'a> {
        email: Value<'a>,
    }
}

lenient_object! {
    struct InvoicePaymentOf<'a> {
        payment_intent: Value<'a>,
        charge: Value<'a>,
    }
}

lenient_object! {
    struct Parent<'a> {
        subscription_details: SubscriptionDetails<'a>,
    }
}

lenient_object! {
    struct SubscriptionDetails<'a> {
        metadata: Metadata<'a>,
        subscription: Value<'a>,
    }
}

lenient_object! {
    struct Line<'a> {
        metadata: Metadata<'a>,
    }
}

lenient_object! {
    struct Listed<'a> {
        id: Value<'a>,
        amount: Value<'a>,
        status: Value<'a>,
    }
}

impl Event {
    /// Reads a verified body.
    ///
    /// # Errors
    /// [`NotAnEvent`] if the body is not JSON, or has no `id` or `type`. Nothing else is refused.
    pub fn read(verified: &Verified) -> Result<Self, NotAnEvent> {
        Self::read_body(verified.body().clone(), verified.signed_at())
    }

    /// Reads a body that Stripe's API gave.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_fetched(fetched: &Fetched) -> Result<Self, NotAnEvent> {
        let (body, asked_at) = fetched.parts();
        Self::read_body(body.clone(), asked_at)
    }

    /// Reads a recorded body once more.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_again(kept: &Kept) -> Result<Self, NotAnEvent> {
        let (body, received_at) = kept.parts();
        Self::read_body(body.clone(), received_at)
    }

    /// Reads a body at another time. An event without `created` happened when it was sent
    /// (`sent_at`, Unix seconds): nothing better is known.
    fn read_body(body: Bytes, sent_at: i64) -> Result<Self, NotAnEvent> {
        let text = std::str::from_utf8(&body).map_err(|_| NotAnEvent::NotJson)?;
        let envelope: Envelope<'_> = lenient::parse(text).map_err(|_| NotAnEvent::NotJson)?;
        let id = stripe_id(&envelope.id).ok_or(NotAnEvent::NoIdOrType)?;
        let kind = stripe_id(&envelope.r#type).ok_or(NotAnEvent::NoIdOrType)?;
        let object = &envelope.data.object;
        let head = Head {
            id,
            kind,
            api_version: stripe_id(&envelope.api_version),
            account: stripe_id(&envelope.account),
            livemode: envelope.livemode.flag().unwrap_or(false),
            created: created(&envelope.created),
            object_id: stripe_id(&object.id),
        };
        let reading = if envelope.object.text().is_some_and(|object| object.starts_with("v2.")) {
            Reading::Ignored("a thin event carries no object to read".to_owned())
        } else {
            let at = head.created.unwrap_or(sent_at);
            read_object(&head, object, at).unwrap_or_else(Reading::Ignored)
        };
        Ok(Self { head, reading, body })
    }

    /// The event's own fields.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.head.id
    }

    /// Stripe's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.head.kind
    }

    /// Whether it happened in live mode.
    #[must_use]
    pub fn livemode(&self) -> bool {
        self.head.livemode
    }

    /// The order that this event itself names.
    #[must_use]
    pub fn order_id(&self) -> Option<&str> {
        match &self.reading {
            Reading::Says(statement) => {
                let own = statement.facts.claim.as_ref().or(statement.subscription_claim.as_ref());
                own.map(Claim::order_id)
            }
            Reading::Ignored(_) => None,
        }
    }

    /// What it says.
    #[must_use]
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The bytes as they came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether an earlier delivery under the same id, of which `body` is kept, said the same. The
    /// bytes may differ: Stripe counts `pending_webhooks` down between deliveries.
    #[must_use]
    pub fn says_the_same_as(&self, body: &[u8]) -> bool {
        if self.body == body {
            return true;
        }
        // Without `created` the times of sending would differ, so both are read as of time 0.
        let read = |body| Self::read_body(body, 0).map(|event| (event.head, event.reading));
        match (read(self.body.clone()), read(Bytes::copy_from_slice(body))) {
            (Ok(this), Ok(other)) => this == other,
            _ => false,
        }
    }
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

/// Reads `data.object` by the event's type; `Err` is why the event is ignored.
fn read_object(head: &Head, object: &Object<'_>, at: i64) -> Result<Reading, String> {
    let Some(family) = family(&head.kind) else {
        return Err("no order depends on events of this type".to_owned());
    };
    let (claim, subscription_claim) = claims(family, object)?;
    let mut facts = Facts {
        ids: payment_ids(family, object),
        claim,
        subscription: subscription(family, object),
        livemode: head.livemode,
        first_at: Some(at),
        invoice_created: invoice_created(family, object),
        email: email(family, object),
        currency: currency(&object.currency),
        ..Facts::default()
    };
    if facts.ids.is_empty() && subscription_claim.is_none() {
        return Err(match family {
            Family::Subscription => "this subscription's metadata names no order".to_owned(),
            _ => "its object has no id".to_owned(),
        });
    }
    let meaning = match family {
        Family::PaymentIntent => payment_intent(&head.kind, object, at, &mut facts)?,
        Family::Charge => charge(&head.kind, object, at, &mut facts)?,
        Family::Refund => refund(&head.kind, object, at, &mut facts)?,
        Family::Dispute => dispute(object, at, &mut facts),
        Family::Session => session(&head.kind, object, at, &mut facts)?,
        Family::Invoice => invoice(&head.kind, object, at, &mut facts)?,
        Family::InvoicePayment | Family::Subscription => Meaning::Linked,
    };
    Ok(Reading::Says(Box::new(Statement { facts, subscription_claim, meaning })))
}

fn payment_intent(
    kind: &str,
    object: &Object<'_>,
    at: i64,
    facts: &mut Facts,
) -> Result<Meaning, String> {
    match kind {
        "payment_intent.succeeded" => {
            let amount = first_amount(&[
                ("amount_received", &object.amount_received),
                ("amount", &object.amount),
            ])?;
            Ok(paid(facts, at, Source::PaymentIntent, amount))
        }
        "payment_intent.payment_failed" => {
            let error = &object.last_payment_error;
            let code = error.code.text().or(error.decline_code.text());
            Ok(failed(facts, at, code, error.message.text()))
        }
        "payment_intent.canceled" => {
            let why = object.cancellation_reason.text();
            Ok(ended(facts, at, Meaning::Canceled, why))
        }
        _ => Ok(Meaning::Linked),
    }
}

fn charge(kind: &str, object: &Object<'_>, at: i64, facts: &mut Facts) -> Result<Meaning, String> {
    // A body that does not say is a hand-made one, and means a charge that is complete.
    let is_captured = object.captured.flag().unwrap_or(true);
    let captured_amount = || match object.amount_captured {
        // Older versions, and hand-made bodies, leave it out or at 0; nothing captured is not captured.
        Value::Absent | Value::Whole(0) => first_amount(&[("amount", &object.amount)]),
        _ => first_amount(&[("amount_captured", &object.amount_captured)]),
    };
    match kind {
        // Not captured: the money is only reserved.
        "charge.succeeded" | "charge.captured" if is_captured => {
            Ok(paid(facts, at, Source::Charge, captured_amount()?))
        }
        "charge.failed" => {
            let message = object.failure_message.text();
            Ok(failed(facts, at, object.failure_code.text(), message))
        }
        "charge.expired" if !is_captured => Ok(ended(facts, at, Meaning::Expired, None)),
        // Giving a reservation back is how a charge that was never captured is canceled.
        "charge.refunded" if !is_captured => Ok(ended(facts, at, Meaning::Canceled, None)),
        "charge.refunded" => {
            paid(facts, at, Source::Charge, captured_amount()?);
            let so_far = first_amount(&[("amount_refunded", &object.amount_refunded)])?;
            facts.refunded_at = Some(at);
            let charge = stripe_id(&object.id).unwrap_or_default();
            facts.refunded.insert(charge, so_far.map_or(Refunded::Whole, Refunded::Part));
            // Before API version 2022-11-15 the charge carries its refunds.
            facts.refunds = listed_refunds(&object.refunds)?;
            Ok(Meaning::Refunded)
        }
        _ => Ok(Meaning::Linked),
    }
}

fn listed_refunds(list: &List<Listed<'_>>) -> Result<BTreeMap<String, Refund>, String> {
    let mut refunds = BTreeMap::new();
    for listed in &list.0 {
        if let Some(id) = stripe_id(&listed.id) {
            let amount = first_amount(&[("refunds.amount", &listed.amount)])?;
            let state = refund_state(listed.status.text());
            refunds.insert(
                id,
                Refund { amount: amount.map_or(Refunded::Whole, Refunded::Part), state },
            );
        }
    }
    Ok(refunds)
}

fn refund(kind: &str, object: &Object<'_>, at: i64, facts: &mut Facts) -> Result<Meaning, String> {
    // The type says it even where the object does not.
    let state = match kind {
        "refund.failed" => RefundState::Failed,
        _ => refund_state(object.status.text()),
    };
    let amount = first_amount(&[("amount", &object.amount)])?;
    let id = stripe_id(&object.id).ok_or("its object has no id")?;
    let amount = amount.map_or(Refunded::Whole, Refunded::Part);
    facts.refunds.insert(id, Refund { amount, state });
    if state == RefundState::Failed {
        return Ok(Meaning::RefundFailed);
    }
    facts.refunded_at = Some(at);
    Ok(Meaning::RefundLive)
}

/// Refunds had no status before 2014; they were done at once.
fn refund_state(status: Option<&str>) -> RefundState {
    match status {
        Some("pending" | "requires_action") => RefundState::Pending,
        Some("failed" | "canceled") => RefundState::Failed,
        _ => RefundState::Succeeded,
    }
}

fn dispute(object: &Object<'_>, at: i64, facts: &mut Facts) -> Meaning {
    let state = match object.status.text() {
        Some("warning_needs_response" | "warning_under_review") => DisputeState::Inquiry,
        Some("warning_closed") => DisputeState::InquiryClosed,
        Some("won") => DisputeState::Won,
        Some("lost") => DisputeState::Lost,
        _ => DisputeState::Open,
    };
    // Disputes had no id before 2015; a charge had one dispute.
    let id = stripe_id(&object.id).or_else(|| stripe_id(&object.charge)).unwrap_or_default();
    facts.disputes.insert(id, Dispute::new(state, at));
    Meaning::Disputed(state)
}

fn session(kind: &str, object: &Object<'_>, at: i64, facts: &mut Facts) -> Result<Meaning, String> {
    let is_paid = match (kind, object.payment_status.text()) {
        ("checkout.session.async_payment_succeeded", _) => true,
        // Mode `setup` saves a card for later: nothing was to be paid.
        ("checkout.session.completed", Some("paid" | "no_payment_required")) => {
            object.mode.text() != Some("setup")
        }
        _ => false,
    };
    if is_paid {
        let total = first_amount(&[("amount_total", &object.amount_total)])?;
        return Ok(paid(facts, at, Source::Session, total));
    }
    Ok(match kind {
        "checkout.session.async_payment_failed" => failed(facts, at, None, None),
        "checkout.session.expired" => ended(facts, at, Meaning::Expired, None),
        _ => Meaning::Linked,
    })
}

fn invoice(kind: &str, object: &Object<'_>, at: i64, facts: &mut Facts) -> Result<Meaning, String> {
    match kind {
        "invoice.paid" | "invoice.payment_succeeded" => {
            // Before 2015 an invoice had no `amount_paid`.
            let amount = first_amount(&[
                ("amount_paid", &object.amount_paid),
                ("amount_due", &object.amount_due),
                ("total", &object.total),
            ])?;
            Ok(paid(facts, at, Source::Invoice, amount))
        }
        "invoice.payment_failed" => Ok(failed(facts, at, None, None)),
        _ => Ok(Meaning::Linked),
    }
}

fn paid(facts: &mut Facts, at: i64, source: Source, amount: Option<i64>) -> Meaning {
    facts.paid_at = Some(at);
    let currency = facts.currency.clone();
    facts.received = amount.map(|amount| Received { source, amount, currency });
    Meaning::Paid
}

fn failed(facts: &mut Facts, at: i64, code: Option<&str>, message: Option<&str>) -> Meaning {
    facts.failed_at = Some(at);
    facts.failure = Some(Failure {
        is_final: false,
        has_code: code.is_some(),
        at,
        code: code.map(|code| clean(code, STRIPE_ID_BYTES_MAX)),
        message: message.map(|message| clean(message, MESSAGE_CHARS_MAX)),
    });
    Meaning::AttemptFailed
}

fn ended(facts: &mut Facts, at: i64, how: Meaning, why: Option<&str>) -> Meaning {
    let code = if how == Meaning::Expired { "expired" } else { "canceled" };
    failed(facts, at, Some(code), why);
    if let Some(failure) = &mut facts.failure {
        failure.is_final = true;
    }
    how
}

/// The first of these fields that is there, as an amount in minor units.
///
/// An amount that is there but cannot be read must not pass for "no amount", which counts as all:
/// then the event is ignored, with why.
fn first_amount(fields: &[(&str, &Value<'_>)]) -> Result<Option<i64>, String> {
    for (name, value) in fields {
        match value {
            Value::Absent => {}
            Value::Whole(amount) if *amount >= 0 => return Ok(Some(*amount)),
            _ => return Err(format!("{name} is not a whole, non-negative number of minor units")),
        }
    }
    Ok(None)
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

/// The order that the payment belongs to, and the one that its subscription belongs to.
///
/// A session's metadata is not copied to its PaymentIntent, and a refund or dispute inherits none.
fn claims(family: Family, object: &Object<'_>) -> Result<(Option<Claim>, Option<Claim>), String> {
    let own = order_id(&object.metadata.order_id)?;
    let claim = |authority, id: Option<String>| id.map(|id| Claim::new(authority, id));
    match family {
        Family::PaymentIntent => Ok((claim(Authority::PaymentIntent, own), None)),
        Family::Charge => Ok((claim(Authority::Charge, own), None)),
        Family::Refund | Family::Dispute | Family::InvoicePayment => {
            Ok((claim(Authority::Refund, own), None))
        }
        Family::Session => {
            let named = match own {
                Some(own) => claim(Authority::Session, Some(own)),
                None => claim(Authority::ClientReference, order_id(&object.client_reference_id)?),
            };
            let of_subscription = named.clone().filter(|_| object.subscription.text().is_some());
            Ok((named, of_subscription))
        }
        Family::Invoice => {
            // From basil on under `parent`, before it on the invoice itself.
            let mut details = order_id(&object.parent.subscription_details.metadata.order_id)?;
            if details.is_none() {
                details = order_id(&object.subscription_details.metadata.order_id)?;
            }
            let mut line = None;
            for of_line in &object.lines.0 {
                line = line.or(order_id(&of_line.metadata.order_id)?);
            }
            let of_subscription = claim(Authority::Subscription, details);
            let named = claim(Authority::Invoice, own)
                .or_else(|| of_subscription.clone())
                .or_else(|| claim(Authority::InvoiceLine, line));
            Ok((named, of_subscription))
        }
        Family::Subscription => Ok((None, claim(Authority::Subscription, own))),
    }
}

/// Whether a text may be an order's id: 1 to [`ORDER_ID_BYTES_MAX`] bytes, no control characters.
#[must_use]
pub fn is_order_id(text: &str) -> bool {
    (1..=ORDER_ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a text may be an e-mail address: at most [`EMAIL_BYTES_MAX`] bytes with an `@`, and nothing in it
/// that would end a header or begin another. Whether mail arrives there, only sending tells.
#[must_use]
pub fn is_email_address(text: &str) -> bool {
    text.len() <= EMAIL_BYTES_MAX
        && text.contains('@')
        && !text.chars().any(|char| char.is_control() || char.is_whitespace())
}

/// The order id of metadata, which [`is_order_id`]. `Err` is why the event is ignored.
fn order_id(value: &Value<'_>) -> Result<Option<String>, String> {
    let text = match value {
        Value::Absent => return Ok(None),
        Value::Text(text) => text.to_string(),
        // Stripe's metadata are texts; a hand-made test may write a number.
        Value::Whole(number) => number.to_string(),
        Value::Flag(_) | Value::Other => return Err("its order id is not a text".to_owned()),
    };
    if text.is_empty() || text.len() > ORDER_ID_BYTES_MAX {
        return Err(format!(
            "its order id is {} bytes long; 1 to {ORDER_ID_BYTES_MAX} are allowed",
            text.len()
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("its order id holds control characters".to_owned());
    }
    Ok(Some(text))
}

fn invoice_created(family: Family, object: &Object<'_>) -> Option<i64> {
    // `date` until 2019-03-14, `created` since.
    (family == Family::Invoice).then(|| created(&object.created).or(created(&object.date)))?
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

fn currency(value: &Value<'_>) -> Option<String> {
    let code = value.text()?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| code.to_ascii_lowercase())
}

fn created(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Whole(seconds) => Some(*seconds),
        // Thin events write it out.
        Value::Text(text) => text.parse().map(jiff::Timestamp::as_second).ok(),
        _ => None,
    }
    .filter(|seconds| (0..=CREATED_MAX).contains(seconds))
}

/// An id, if it is one that Stripe could have made and every database can hold.
fn stripe_id(value: &Value<'_>) -> Option<String> {
    let id = value.text()?;
    let is_id = id.len() <= STRIPE_ID_BYTES_MAX && !id.chars().any(char::is_control);
    is_id.then(|| id.to_owned())
}

/// A text that every database can hold: no NUL, not longer than this.
fn clean(text: &str, chars_max: usize) -> String {
    text.chars().map(|char| if char == '\0' { '\u{fffd}' } else { char }).take(chars_max).collect()
}
