//! What is told of a change: the state as of that change, under an id that stays the same however often
//! it is told.

use serde::Serialize;

use crate::domain::money;
use crate::store::outbox::Telling;

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
            problem: None,
            amount_received: 29_900,
            amount_refunded: 0,
            currency: Some("usd".to_owned()),
            event_id: None,
            at: now,
            amount_due: None,
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
                    currency: telling.currency.as_deref(),
                    dispute: telling.dispute.as_deref(),
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

    /// What templates may show.
    #[must_use]
    pub fn shown<'a>(&'a self, shop: &'a str) -> Shown<'a> {
        let telling = &self.telling;
        let money = |amount| money::show(amount, telling.currency.as_deref());
        Shown {
            shop,
            kind: &self.kind,
            order: &telling.order_id,
            status: &telling.to_status,
            received: money(telling.amount_received),
            refunded: money(telling.amount_refunded),
            kept: money(telling.amount_received.saturating_sub(telling.amount_refunded)),
            due: telling.amount_due.map(money),
            dispute: telling.dispute.as_deref(),
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
    received: String,
    refunded: String,
    kept: String,
    due: Option<String>,
    dispute: Option<&'a str>,
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
    currency: Option<&'a str>,
    dispute: Option<&'a str>,
    problem: Option<&'a str>,
    failure: Option<Failure<'a>>,
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

fn time(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{time:.3}")
}
