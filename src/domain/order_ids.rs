//! Which words of an event name an order: the keys of metadata, the pattern, and the account.

use regex::Regex;

use super::lenient::{Metadata, Value};
use super::outcome::IgnoredReason;
use super::text::ORDER_ID_BYTES_MAX;

/// The metadata key that names the order, unless `ORDER_ID_KEYS` says otherwise.
pub const ORDER_ID_KEY_DEFAULT: &str = "order_id";
/// In `ORDER_ID_KEYS`: a Checkout Session's `client_reference_id` names the order too.
pub const CLIENT_REFERENCE_KEY: &str = "@client_reference_id";
/// The longest metadata key that Stripe takes, in characters (docs.stripe.com/api/metadata).
const KEY_CHARS_MAX: usize = 40;

/// Why the keys or the pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderIdRulesError {
    /// A key is empty or too long.
    #[error(
        "{0:?} is not a metadata key; write 1 to 40 characters, several keys separated by commas"
    )]
    Key(String),
    /// No metadata key is left.
    #[error("names no metadata key; write one before @client_reference_id, such as order_id")]
    NoKey,
    /// The pattern is no regular expression.
    #[error("is not a regular expression: {0}")]
    Pattern(String),
    /// The pattern captures more than the order id.
    #[error("captures {0} parts; at most one part, the order id, can be captured")]
    Captures(usize),
}

/// Where an order id may stand and what it must look like.
#[derive(Debug, Clone)]
pub struct OrderIdRules {
    keys: Vec<String>,
    reads_client_reference: bool,
    pattern: Option<Regex>,
}

impl Default for OrderIdRules {
    fn default() -> Self {
        let keys = vec![ORDER_ID_KEY_DEFAULT.to_owned()];
        Self { keys, reads_client_reference: false, pattern: None }
    }
}

impl OrderIdRules {
    /// Reads a list of keys, in order of preference, and a pattern.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn new(keys: Option<&str>, pattern: Option<&str>) -> Result<Self, OrderIdRulesError> {
        let mut rules = Self::default();
        if let Some(keys) = keys {
            rules.keys.clear();
            for key in keys.split(',').map(str::trim) {
                if key == CLIENT_REFERENCE_KEY {
                    rules.reads_client_reference = true;
                } else if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
                    return Err(OrderIdRulesError::Key(key.to_owned()));
                } else {
                    rules.keys.push(key.to_owned());
                }
            }
            if rules.keys.is_empty() {
                return Err(OrderIdRulesError::NoKey);
            }
        }
        if let Some(pattern) = pattern {
            let whole = Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|error| OrderIdRulesError::Pattern(error.to_string()))?;
            let captures = whole.captures_len() - 1;
            if captures > 1 {
                return Err(OrderIdRulesError::Captures(captures));
            }
            rules.pattern = Some(whole);
        }
        Ok(rules)
    }

    /// Whether a Checkout Session's `client_reference_id` is read.
    #[must_use]
    pub fn reads_client_reference(&self) -> bool {
        self.reads_client_reference
    }

    /// The order that this metadata names, by the first key that is there.
    ///
    /// # Errors
    /// Why that is no order id: the event counts for no order.
    pub fn in_metadata(&self, metadata: &Metadata<'_>) -> Result<Option<String>, IgnoredReason> {
        for key in &self.keys {
            if let Some(id) = self.order_id(&metadata.get(key))? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The order id that a value is.
    ///
    /// # Errors
    /// Why it is no order id.
    pub fn order_id(&self, value: &Value<'_>) -> Result<Option<String>, IgnoredReason> {
        let text = match value {
            Value::Absent => return Ok(None),
            Value::Text(text) => text.to_string(),
            // Stripe's metadata are texts; a hand-made test may write a number.
            Value::Whole(number) => number.to_string(),
            Value::Flag(_) | Value::Other => return Err(IgnoredReason::OrderIdKind),
        };
        if text.is_empty() || text.len() > ORDER_ID_BYTES_MAX {
            return Err(IgnoredReason::OrderIdLength(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(IgnoredReason::OrderIdControl);
        }
        let Some(pattern) = &self.pattern else { return Ok(Some(text)) };
        let id = pattern.captures(&text).and_then(|found| {
            let id = if found.len() > 1 { found.get(1)? } else { found.get(0)? };
            Some(id.as_str().to_owned()).filter(|id| !id.is_empty())
        });
        id.map(Some).ok_or(IgnoredReason::OrderIdPattern(text))
    }
}

/// The id of a connected account's order: order 7 of two accounts is two orders.
#[must_use]
pub fn of_account(account: Option<&str>, order_id: String) -> String {
    match account {
        Some(account) => format!("{account}/{order_id}"),
        None => order_id,
    }
}
