//! One order: where its money is, and all that happened to it, told in the order that it happened.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::chart::WIDTH;
use super::shell::{Shell, Trouble, address, page};
use super::words::{milliseconds, seconds};
use super::{Console, User};
use crate::domain::money;
use crate::domain::order::{OrderSnapshot, Status};
use crate::domain::payment::dispute::Dispute;
use crate::domain::rows::Payment;
use crate::store::archive::{events_of_order, without_row};
use crate::store::outbox::DeliveryRecord;
use crate::store::{ChangeRecord, EventRecord, OrderRecord, Session, StoreError};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OneQuery {
    pub(super) id: String,
}

/// What is recorded of an order.
struct Story {
    order: Option<OrderRecord>,
    changes: Vec<ChangeRecord>,
    payments: Vec<Payment>,
    events: Vec<EventRecord>,
    deliveries: Vec<DeliveryRecord>,
}

async fn story(session: &mut Session, id: &str) -> Result<Story, StoreError> {
    let order = session.order(id).await?;
    let changes = session.order_changes(id).await?;
    let (payments, events) = events_of_order(session, id, &changes).await?;
    let deliveries = session.order_deliveries(id).await?;
    Ok(Story { order, changes, payments, events, deliveries })
}

/// A part of the bar that shows where the money is.
struct Share {
    x: i64,
    width: i64,
    kind: &'static str,
}

/// The order at the head of the page.
struct Head {
    status: &'static str,
    beside: Vec<String>,
    lead: String,
    shares: Vec<Share>,
    money: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
}

impl From<OrderRecord> for Head {
    fn from(record: OrderRecord) -> Self {
        let (order, snapshot) = (&record.order, &record.order.snapshot);
        let show = |amount| money::show(amount, snapshot.currency.as_deref());
        let mut beside = Vec::new();
        beside.extend(snapshot.problem.map(|problem| problem.name().to_owned()));
        beside.extend(snapshot.dispute.map(|dispute| format!("dispute {}", dispute.name())));
        let due = order.due.as_ref();
        let mut money = Vec::new();
        money.extend(due.map(|due| ("Due", money::show(due.amount, Some(&due.currency)))));
        money.push(("Received", show(snapshot.amount_received)));
        money.push(("Refunded", show(snapshot.amount_refunded)));
        if snapshot.amount_disputed != 0 {
            money.push(("Disputed", show(snapshot.amount_disputed)));
        }
        money.push(("Kept", show(snapshot.kept())));
        let mut facts = Vec::new();
        for (id, dispute) in &snapshot.disputes {
            facts.push(("Dispute", dispute_text(id, dispute)));
        }
        if snapshot.renewals > 0 {
            facts.push(("Renewals", snapshot.renewals.to_string()));
        }
        if snapshot.refunds_failed > 0 {
            facts.push(("Failed refunds", snapshot.refunds_failed.to_string()));
        }
        facts.extend(order.failure_code.clone().map(|code| ("Failure", code)));
        facts.extend(order.failure_message.clone().map(|words| ("In words", words)));
        facts.extend(order.customer_email.clone().map(|address| ("Customer", address)));
        for (name, at) in [
            ("Paid at", order.paid_at),
            ("Failed at", order.failed_at),
            ("Refunded at", order.refunded_at),
            ("Made at", Some(order.created_at)),
        ] {
            facts.extend(at.map(|at| (name, seconds(at))));
        }
        facts.push(("Updated at", milliseconds(record.updated_at)));
        Self {
            status: snapshot.status.name(),
            beside,
            lead: lead(snapshot, &show),
            shares: shares(snapshot, due.map(|due| due.amount)),
            money,
            facts,
        }
    }
}

/// A dispute in a line: its state, amount and reason, and until when the shop has to answer.
fn dispute_text(id: &str, dispute: &Dispute) -> String {
    let mut text = format!("{id}: {}", dispute.status.name());
    if let Some(amount) = dispute.amount {
        text.push_str(&format!(", {}", money::show(amount, dispute.currency.as_deref())));
    }
    if let Some(reason) = &dispute.reason {
        text.push_str(&format!(", {}", reason.replace('_', " ")));
    }
    if let Some(due_by) = dispute.due_by.filter(|_| !dispute.status.is_closed()) {
        text.push_str(&format!(", answer by {}", seconds(due_by)));
    }
    text
}

/// Where the money is, in a sentence.
fn lead(snapshot: &OrderSnapshot, show: &impl Fn(i64) -> String) -> String {
    let received = show(snapshot.amount_received);
    let refunded = show(snapshot.amount_refunded);
    let has_money = snapshot.amount_received > 0;
    match snapshot.status {
        Status::Pending if has_money => {
            format!("{received} was received, which does not settle the order.")
        }
        Status::Pending => "Nothing was received so far.".to_owned(),
        Status::Processing if has_money => {
            format!("{received} was received; a further payment is under way.")
        }
        Status::Processing => "A payment is under way; nothing was received so far.".to_owned(),
        Status::Authorized if has_money => {
            format!("{received} was received; more is authorized, and not captured yet.")
        }
        Status::Authorized => "The payment is authorized, and not captured yet.".to_owned(),
        Status::Paid if !has_money => "There was nothing to pay.".to_owned(),
        Status::Paid if snapshot.amount_refunded > 0 => {
            format!("{received} was received, and {refunded} of it given back.")
        }
        Status::Paid => format!("{received} was received, and nothing given back."),
        Status::PartiallyRefunded => format!("{refunded} of {received} was given back."),
        Status::Refunded => format!("All of {received} was given back."),
        Status::Failed if has_money => {
            format!("The newest payment failed; {received} was received before.")
        }
        Status::Failed => "The payment failed; nothing was received.".to_owned(),
        Status::Canceled => "The payment was canceled or expired; nothing was received.".to_owned(),
    }
}

/// Kept, refunded, disputed, and what is missing, as parts of the bar's width.
fn shares(snapshot: &OrderSnapshot, due: Option<i64>) -> Vec<Share> {
    let (received, refunded) = (snapshot.amount_received, snapshot.amount_refunded);
    let all = received.max(due.unwrap_or(0)).max(1);
    let net = received.saturating_sub(refunded).max(0);
    let disputed = snapshot.amount_disputed.clamp(0, net);
    let kinds = [
        ("kept", net - disputed),
        ("disputed", disputed),
        ("refunded", refunded),
        ("missing", all - net.saturating_add(refunded)),
    ];
    let mut x = 0;
    let mut shares = Vec::new();
    for (kind, amount) in kinds.into_iter().filter(|(_, amount)| *amount > 0) {
        // Amounts may be as large as numbers are.
        let width = i128::from(amount) * i128::from(WIDTH) / i128::from(all);
        let width = i64::try_from(width).unwrap_or(WIDTH).clamp(1, WIDTH);
        shares.push(Share { x, width, kind });
        x += width;
    }
    shares
}

/// Something that happened.
struct Moment {
    /// Its time, and which of those of one time goes first.
    place: (i64, u8, i64),
    at: String,
    what: String,
    link: Option<String>,
    outcome: String,
    told: String,
    is_change: bool,
}

impl From<EventRecord> for Moment {
    fn from(event: EventRecord) -> Self {
        let mut told = event.reason.unwrap_or_default();
        if event.conflicts > 0 {
            told.push_str("; another content came under its id since, which does not count");
        }
        Self {
            place: (event.received_at, 0, 0),
            at: milliseconds(event.received_at),
            what: event.kind,
            link: Some(address("/console/event", &[("id", &event.id)])),
            outcome: event.outcome,
            told,
            is_change: false,
        }
    }
}

impl From<ChangeRecord> for Moment {
    fn from(change: ChangeRecord) -> Self {
        let show = |amount| money::show(amount, change.currency.as_deref());
        let from = change.from_status.as_deref().unwrap_or("new");
        let event = change.event_id.as_deref();
        let mut told = format!(
            "{from} → {}; received {}, refunded {}; by {}",
            change.to_status,
            show(change.amount_received),
            show(change.amount_refunded),
            event.unwrap_or("the shop's own row")
        );
        for (name, beside) in [("problem", &change.problem), ("dispute", &change.dispute)] {
            if let Some(beside) = beside {
                told.push_str(&format!("; {name} {beside}"));
            }
        }
        Self {
            place: (change.at, 1, change.version),
            at: milliseconds(change.at),
            what: format!("Change {}", change.version),
            link: event.map(|event| address("/console/event", &[("id", event)])),
            outcome: change.to_status,
            told,
            is_change: true,
        }
    }
}

impl From<DeliveryRecord> for Moment {
    fn from(delivery: DeliveryRecord) -> Self {
        let attempts = delivery.attempts;
        let mut told = format!("{}; attempts: {attempts}", delivery.kinds);
        if let Some(error) = delivery.last_error.filter(|error| !error.is_empty()) {
            told.push_str(&format!("; {error}"));
        }
        Self {
            place: (delivery.created_at, 2, delivery.id),
            at: milliseconds(delivery.settled_at.unwrap_or(delivery.created_at)),
            what: format!("Notification to {}", delivery.destination),
            link: None,
            outcome: delivery.status,
            told,
            is_change: false,
        }
    }
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    shell: Shell,
    id: String,
    head: Option<Head>,
    /// Why there is no head.
    without_row: &'static str,
    payments: Vec<String>,
    moments: Vec<Moment>,
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(user): Extension<User>,
    Query(OneQuery { id }): Query<OneQuery>,
) -> Result<Response, Trouble> {
    let wanted = id.clone();
    let read = console.run(move |session| Box::pin(async move { story(session, &wanted).await }));
    let Story { order, changes, payments, events, deliveries } = read.await?;
    if order.is_none() && events.is_empty() {
        return Err(Trouble::NotFound);
    }
    let without_row = without_row(&events);
    let mut moments: Vec<Moment> = events.into_iter().map(Moment::from).collect();
    moments.extend(changes.into_iter().map(Moment::from));
    moments.extend(deliveries.into_iter().map(Moment::from));
    moments.sort_by_key(|moment| moment.place);
    let ids = |payment: &Payment| {
        let ids: Vec<&str> = payment.facts.ids.iter().map(|id| id.id.as_str()).collect();
        ids.join(" = ")
    };
    page(&OrderPage {
        shell: Shell::live(&user, "Orders"),
        id,
        head: order.map(Head::from),
        without_row,
        payments: payments.iter().map(ids).collect(),
        moments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(status: Status, received: i64, refunded: i64) -> OrderSnapshot {
        OrderSnapshot {
            status,
            amount_received: received,
            amount_refunded: refunded,
            currency: Some("usd".to_owned()),
            ..OrderSnapshot::default()
        }
    }

    #[test]
    fn a_sentence_says_where_the_money_is() {
        let show = |amount| money::show(amount, Some("usd"));
        for (status, received, refunded, said) in [
            (Status::Pending, 0, 0, "Nothing was received so far."),
            (Status::Pending, 100, 0, "1.00 USD was received, which does not settle the order."),
            (Status::Paid, 29900, 0, "299.00 USD was received, and nothing given back."),
            (Status::PartiallyRefunded, 29900, 100, "1.00 USD of 299.00 USD was given back."),
            (Status::Refunded, 29900, 29900, "All of 299.00 USD was given back."),
            (Status::Failed, 0, 0, "The payment failed; nothing was received."),
            (Status::Failed, 100, 0, "The newest payment failed; 1.00 USD was received before."),
            (Status::Paid, 0, 0, "There was nothing to pay."),
            (Status::Paid, 200, 50, "2.00 USD was received, and 0.50 USD of it given back."),
            (Status::Processing, 0, 0, "A payment is under way; nothing was received so far."),
            (Status::Authorized, 0, 0, "The payment is authorized, and not captured yet."),
        ] {
            assert_eq!(lead(&snapshot(status, received, refunded), &show), said);
        }
    }

    #[test]
    fn the_bar_shows_what_was_kept_refunded_and_is_missing() {
        let drawn = |received, refunded, due| {
            let shares = shares(&snapshot(Status::Paid, received, refunded), due).into_iter();
            shares.map(|share| (share.kind, share.x, share.width)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(100, 0, None), [("kept", 0, 720)]);
        assert_eq!(drawn(100, 25, Some(100)), [("kept", 0, 540), ("refunded", 540, 180)]);
        assert_eq!(drawn(50, 0, Some(100)), [("kept", 0, 360), ("missing", 360, 360)]);
        assert_eq!(drawn(0, 0, None), [("missing", 0, 720)]);
        assert_eq!(drawn(i64::MAX, i64::MAX, Some(1)), [("refunded", 0, 720)]);
    }
}
