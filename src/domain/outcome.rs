//! What became of an event, from the fold to the answer, the log, the metrics and the API; and why an
//! event that is authentic counts for no order.

use std::fmt;

use super::text::{ORDER_ID_BYTES_MAX, SHOWN_CHARS_MAX};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// No order depends on it.
    Ignored,
    /// It is kept until its order is known.
    Parked,
    /// It is recorded; its order is as it was.
    Unchanged,
    /// It changed its order.
    Applied,
    /// It was recorded before.
    Duplicate,
}

impl Outcome {
    /// What may stand beside a recorded event.
    pub const RECORDED: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Parked, Self::Ignored];
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Applied, Self::Unchanged, Self::Parked, Self::Ignored, Self::Duplicate];

    /// The outcome of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// As in the database, the answer, the log and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Parked => "parked",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Why an event counts for no order. The text is for `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoredReason {
    /// No order depends on events of this type.
    Type,
    /// A thin event carries no object.
    Thin,
    /// The object has no id.
    NoObjectId,
    /// A subscription's metadata names no order.
    SubscriptionWithoutOrder,
    /// A test event in a live service.
    TestEvent,
    /// A live event in a test service.
    LiveEvent,
    /// The account is not one that the settings allow.
    Account(String),
    /// The order id does not match the pattern of the settings.
    OrderIdPattern(String),
    /// The order id is of the wrong length, in bytes.
    OrderIdLength(usize),
    /// The order id holds control characters.
    OrderIdControl,
    /// The order id is no text.
    OrderIdKind,
    /// An amount of this name is no whole, non-negative number.
    Amount(&'static str),
}

impl IgnoredReason {
    /// The setting that decides it, if one does: the log names it.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::TestEvent | Self::LiveEvent => Some("STRIPE_MODE"),
            Self::Account(_) => Some("STRIPE_ACCOUNTS"),
            Self::OrderIdPattern(_) => Some("ORDER_ID_PATTERN"),
            _ => None,
        }
    }
}

impl fmt::Display for IgnoredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => f.write_str("no order depends on events of this type"),
            Self::Thin => f.write_str("a thin event carries no object to read"),
            Self::NoObjectId => f.write_str("its object has no id"),
            Self::SubscriptionWithoutOrder => {
                f.write_str("this subscription's metadata names no order")
            }
            Self::TestEvent => f.write_str("a test event, and STRIPE_MODE is live"),
            Self::LiveEvent => f.write_str("a live event, and STRIPE_MODE is test"),
            Self::Account(account) => {
                write!(f, "an event of account {account}, which STRIPE_ACCOUNTS does not list")
            }
            Self::OrderIdPattern(id) => {
                let shown: String = id.chars().take(SHOWN_CHARS_MAX).collect();
                write!(f, "its order id {shown:?} does not match ORDER_ID_PATTERN")
            }
            Self::OrderIdLength(bytes) => {
                write!(
                    f,
                    "its order id is {bytes} bytes long; 1 to {ORDER_ID_BYTES_MAX} are allowed"
                )
            }
            Self::OrderIdControl => f.write_str("its order id holds control characters"),
            Self::OrderIdKind => f.write_str("its order id is not a text"),
            Self::Amount(name) => {
                write!(f, "{name} is not a whole, non-negative number of minor units")
            }
        }
    }
}
