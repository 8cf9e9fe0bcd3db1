//! What a transaction adds: all new rows, in one go.
//!
//! On Postgres that is one statement for six tables. With the machine busy, each round trip costs the
//! batch about as much as a table does, because both ends wait to be scheduled. What is known already is
//! updated by the statements of [`super`].

pub mod postgres;
pub mod sqlite;

use super::{NewDelivery, NewEvent, Session, StoreError, statements};
use crate::domain::rows::{Change, Link, Order, Payment};

/// The rows to add. Any of the sets may be empty.
#[derive(Debug, Default)]
pub struct NewRows<'a> {
    /// Events that are not recorded yet.
    pub events: &'a [NewEvent<'a>],
    /// Payments by new keys.
    pub payments: &'a [Payment],
    /// Links of new ids.
    pub links: &'a [(String, Link)],
    /// Orders that have no row.
    pub orders: &'a [(String, Order)],
    /// Changes, of these orders and of known ones.
    pub changes: &'a [Change],
    /// Whom to tell of them.
    pub deliveries: &'a [NewDelivery],
}

impl NewRows<'_> {
    /// Whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.payments.is_empty()
            && self.links.is_empty()
            && self.orders.is_empty()
            && self.changes.is_empty()
            && self.deliveries.is_empty()
    }
}

statements! {
    /// Adds rows. `now` is in milliseconds. [`StoreError::Conflict`]: the shop has just inserted one of
    /// the orders, perhaps with an amount due, so that the events must be folded again.
    insert(rows: &NewRows<'_>, now: i64) -> ();
}
