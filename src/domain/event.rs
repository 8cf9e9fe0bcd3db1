//! A verified body as an event: which it is, and what it adds.
//!
//! What its object says is left to [`super::reading`]. Fields that are not needed may hold anything.

use bytes::Bytes;

use super::delta::Reading;
use super::lenient;
use super::order_ids::OrderIdRules;
use super::origin::{Fetched, Stored};
use super::outcome::IgnoredReason;
use super::payment::claim::Claim;
use super::reading::object::Envelope;
use super::reading::{Source, created, read_object, stripe_id};
use super::signature::Verified;

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

impl Event {
    /// Reads a verified body.
    ///
    /// # Errors
    /// [`NotAnEvent`] if the body is not JSON, or has no `id` or `type`. Nothing else is refused.
    pub fn read(verified: &Verified, rules: &OrderIdRules) -> Result<Self, NotAnEvent> {
        Self::read_body(verified.body().clone(), verified.signed_at(), rules)
    }

    /// Reads a body that Stripe's API gave.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_fetched(fetched: &Fetched, rules: &OrderIdRules) -> Result<Self, NotAnEvent> {
        let (body, asked_at) = fetched.parts();
        Self::read_body(body.clone(), asked_at, rules)
    }

    /// Reads a recorded body once more.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_again(stored: &Stored, rules: &OrderIdRules) -> Result<Self, NotAnEvent> {
        let (body, received_at) = stored.parts();
        Self::read_body(body.clone(), received_at, rules)
    }

    /// An event without `created` happened when it was sent (`sent_at`, Unix seconds): nothing better
    /// is known.
    fn read_body(body: Bytes, sent_at: i64, rules: &OrderIdRules) -> Result<Self, NotAnEvent> {
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
            Reading::Ignored(IgnoredReason::Thin)
        } else {
            let source = Source {
                kind: &head.kind,
                account: head.account.as_deref(),
                livemode: head.livemode,
                api_version: head.api_version.as_deref(),
                at: head.created.unwrap_or(sent_at),
                rules,
            };
            match read_object(&source, object) {
                Ok(delta) => Reading::Relevant(Box::new(delta)),
                Err(reason) => Reading::Ignored(reason),
            }
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
            Reading::Relevant(delta) => delta.claims().next().map(Claim::order_id),
            Reading::Ignored(_) => None,
        }
    }

    /// Whether it says which order a subscription belongs to.
    #[must_use]
    pub fn names_a_subscriptions_order(&self) -> bool {
        match &self.reading {
            Reading::Relevant(delta) => delta.subscription_claim.is_some(),
            Reading::Ignored(_) => false,
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
    pub fn says_the_same_as(&self, body: &[u8], rules: &OrderIdRules) -> bool {
        if self.body == body {
            return true;
        }
        // Without `created` the times of sending would differ, so both are read as of time 0.
        let read = |body| Self::read_body(body, 0, rules).map(|event| (event.head, event.reading));
        match (read(self.body.clone()), read(Bytes::copy_from_slice(body))) {
            (Ok(this), Ok(other)) => this == other,
            _ => false,
        }
    }
}
