//! What is told of a change: the state as of that change, under an id that stays the same however often
//! it is told.

use serde::Serialize;

use crate::domain::money;
use crate::domain::payment::dispute::Dispute;
use crate::store::outbox::Telling;
use crate::store::records::{Disputes, disputes_of};

/// The type of a message that an operator sends to see whether it arrives.
pub const TEST_KIND: &str = "test";

/// One message to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same for every attempt, and no other message's.
    pub id: String,
    /// The first kind of the change that the destination wants.
    pub kind: String,
    /// What there is to tell.
    pub telling: Telling,
}

impl Message {
    /// The message for a destination that wants these kinds.
    #[must_use]
    pub fn new(telling: Telling, wants: &[&str]) -> Self {
        let mut kinds = telling.kinds.split(' ');
        let wanted = kinds.clone().find(|kind| wants.contains(kind)).or_else(|| kinds.next());
        let kind = wanted.unwrap_or_default().to_owned();
        // With the time, since a database that was restored gives out its numbers again.
        let id = format!("msg_{:x}_{}", telling.created_at, telling.id);
        Self { id, kind, telling }
    }

    /// One that tells of no order, for an operator to see whether it arrives. `now` is in milliseconds.
    #[must_use]
    pub fn test(now: i64) -> Self {
        let telling = Telling {
            id: 0,
            order_id: "TEST".to_owned(),
            version: 0,
            attempts: 1,
            created_at: now,
            kinds: TEST_KIND.to_owned(),
            from_status: None,
            to_status: "paid".to_owned(),
            dispute: None,
            disputes: None,
            problem: None,
            amount_received: 29_900,
            amount_refunded: 0,
            amount_disputed: 0,
            currency: Some("usd".to_owned()),
            event_id: None,
            at: now,
            amount_due: None,
            due_currency: None,
            failure_code: None,
            failure_message: None,
            customer_email: None,
            is_overtaken: false,
        };
        Self::new(telling, &[])
    }

    /// The body of a webhook call. It is the same for every attempt, but for `failure` and `amount_due`,
    /// which are the order's and may have changed since. No e-mail address: a receiver that needs it has
    /// the order, and one that does not should not have it.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let telling = &self.telling;
        let failure = telling
            .failure_code
            .as_deref()
            .map(|code| Failure { code, message: telling.failure_message.as_deref() });
        let body = Body {
            kind: &self.kind,
            timestamp: time(telling.at),
            data: Data {
                order: OrderBody {
                    id: &telling.order_id,
                    status: &telling.to_status,
                    amount_due: telling.amount_due,
                    amount_received: telling.amount_received,
                    amount_refunded: telling.amount_refunded,
                    amount_disputed: telling.amount_disputed,
                    currency: telling.currency.as_deref(),
                    dispute: telling.dispute.as_deref(),
                    disputes: self.disputes().into_iter().map(DisputeBody::from).collect(),
                    problem: telling.problem.as_deref(),
                    failure,
                },
                change: ChangeBody {
                    types: telling.kinds.split(' ').collect(),
                    from: telling.from_status.as_deref(),
                    to: &telling.to_status,
                    event: telling.event_id.as_deref(),
                },
                version: telling.version,
            },
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn disputes(&self) -> Disputes {
        disputes_of(self.telling.disputes.as_deref()).unwrap_or_default()
    }

    /// What templates may show.
    #[must_use]
    pub fn shown<'a>(&'a self, shop: &'a str) -> Shown<'a> {
        let telling = &self.telling;
        let money = |amount| money::show(amount, telling.currency.as_deref());
        let net = telling.amount_received.saturating_sub(telling.amount_refunded);
        // The most pressing one is what the shop has to know of.
        let pressing = self.disputes().into_values().max_by_key(|one| one.status.urgency());
        Shown {
            shop,
            kind: &self.kind,
            order: &telling.order_id,
            status: &telling.to_status,
            received: (telling.amount_received != 0).then(|| money(telling.amount_received)),
            refunded: money(telling.amount_refunded),
            kept: money(net.saturating_sub(telling.amount_disputed)),
            due: telling.amount_due.map(|due| {
                let currency = telling.due_currency.as_ref().or(telling.currency.as_ref());
                money::show(due, currency.map(String::as_str))
            }),
            dispute: telling.dispute.as_deref(),
            disputed: pressing.as_ref().and_then(|dispute| {
                Some(money::show(dispute.amount?, dispute.currency.as_deref()))
            }),
            dispute_reason: pressing
                .as_ref()
                .and_then(|dispute| dispute.reason.as_deref())
                .map(|reason| reason.replace('_', " ")),
            dispute_due: pressing.and_then(|dispute| dispute.due_by).map(second),
            problem: telling.problem.as_deref().map(|problem| problem.replace('_', " ")),
            failure: telling.failure_message.as_deref().or(telling.failure_code.as_deref()),
            version: telling.version,
            at: time(telling.at),
        }
    }
}

/// What templates may show. Amounts are texts, right for their currency.
#[derive(Debug, Clone, Serialize)]
pub struct Shown<'a> {
    shop: &'a str,
    kind: &'a str,
    order: &'a str,
    status: &'a str,
    /// None if nothing was received.
    received: Option<String>,
    refunded: String,
    kept: String,
    due: Option<String>,
    dispute: Option<&'a str>,
    /// Of the most pressing dispute: its amount, its reason, and until when the shop has to answer.
    disputed: Option<String>,
    dispute_reason: Option<String>,
    dispute_due: Option<String>,
    problem: Option<String>,
    failure: Option<&'a str>,
    version: i64,
    at: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    order: OrderBody<'a>,
    change: ChangeBody<'a>,
    version: i64,
}

#[derive(Serialize)]
struct OrderBody<'a> {
    id: &'a str,
    status: &'a str,
    amount_due: Option<i64>,
    amount_received: i64,
    amount_refunded: i64,
    amount_disputed: i64,
    currency: Option<&'a str>,
    dispute: Option<&'a str>,
    disputes: Vec<DisputeBody>,
    problem: Option<&'a str>,
    failure: Option<Failure<'a>>,
}

#[derive(Serialize)]
struct DisputeBody {
    id: String,
    status: &'static str,
    amount: Option<i64>,
    currency: Option<String>,
    reason: Option<String>,
    due_by: Option<String>,
}

impl From<(String, Dispute)> for DisputeBody {
    fn from((id, dispute): (String, Dispute)) -> Self {
        Self {
            id,
            status: dispute.status.name(),
            amount: dispute.amount,
            currency: dispute.currency,
            reason: dispute.reason,
            due_by: dispute.due_by.map(second),
        }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct ChangeBody<'a> {
    types: Vec<&'a str>,
    from: Option<&'a str>,
    to: &'a str,
    event: Option<&'a str>,
}

fn second(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    format!("{time:.0}")
}

fn time(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{time:.3}")
}
