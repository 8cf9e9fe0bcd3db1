//! Registers an order as the shop's own INSERT does, and folds what came before in the same transaction.

use super::transaction::{Rules, load, write};
use super::{Failure, OrderRecord, Session, StoreError};
use crate::domain::working_set::WorkingSet;

/// What the shop says of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The shop's id.
    pub id: String,
    /// What is due, in minor units.
    pub amount_due: i64,
    /// Of the amount, in lower case.
    pub currency: String,
    /// The customer's address, if the shop knows it.
    pub customer_email: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The order is new.
    New(OrderRecord),
    /// It was there, and has this amount now.
    Known(OrderRecord),
}

/// Registers in one transaction. `now` is in milliseconds.
///
/// # Errors
/// Any [`StoreError`]; nothing is written then, and the session is to be rolled back or dropped.
pub async fn register(
    session: &mut Session,
    rules: &Rules,
    registration: &Registration,
    now: i64,
) -> Result<Registered, StoreError> {
    let Registration { id, amount_due, currency, customer_email } = registration;
    session.begin().await?;
    let known = session.order(id).await?;
    session.register_order(id, *amount_due, currency, customer_email.as_deref(), now).await?;
    let mut working_set = WorkingSet::new(rules.policy.clone());
    let ids = [id.clone()];
    load(session, &mut working_set, &[], &ids).await?;
    working_set.take_up(id);
    write(session, rules, &[], &working_set.finish(), now).await?;
    let record = session.order(id).await?;
    session.commit().await?;
    let gone = || StoreError::Refused(Failure::new("the order is gone from its own transaction"));
    let record = record.ok_or_else(gone)?;
    Ok(if known.is_none() { Registered::New(record) } else { Registered::Known(record) })
}
