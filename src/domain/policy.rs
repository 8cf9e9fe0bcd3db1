//! The operator's choices that the fold depends on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::Event;
use super::order_ids::OrderIdRules;
use super::outcome::IgnoredReason;

/// Which events count: one service and its database serve one mode.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    #[default]
    Live,
    /// Stripe's test mode and sandboxes.
    Test,
}

/// What to do with an order that the shop has not inserted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum UnknownOrders {
    /// Make its row from the event.
    #[default]
    Create,
    /// Keep its events parked until the shop inserts the row.
    Hold,
}

/// Whose events count beside those of the account itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Nobody's: an event with `account` is ignored.
    #[default]
    Own,
    /// Those of these connected accounts.
    Listed(BTreeSet<String>),
    /// Those of every connected account.
    Any,
}

/// The operator's choices.
#[derive(Debug, Default, Clone)]
pub struct Policy {
    /// Which events count.
    pub mode: Mode,
    /// What to do with unknown orders.
    pub unknown_orders: UnknownOrders,
    /// Whose events count.
    pub accounts: Accounts,
    /// Which words of an event name an order.
    pub order_ids: Arc<OrderIdRules>,
}

impl Policy {
    /// Whether an event of this mode and account counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admits(&self, event: &Event) -> Result<(), IgnoredReason> {
        match (self.mode, event.livemode()) {
            (Mode::Live, false) => return Err(IgnoredReason::TestEvent),
            (Mode::Test, true) => return Err(IgnoredReason::LiveEvent),
            _ => {}
        }
        let Some(account) = &event.head().account else { return Ok(()) };
        let is_admitted = match &self.accounts {
            Accounts::Own => false,
            Accounts::Listed(accounts) => accounts.contains(account),
            Accounts::Any => true,
        };
        if is_admitted { Ok(()) } else { Err(IgnoredReason::Account(account.clone())) }
    }
}
