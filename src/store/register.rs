//! Registers an order as the shop's own INSERT does, and folds what came before in the same transaction.

use super::transaction::{Rules, load, write};
use super::{OrderRecord, Session, StoreError};
use crate::domain::ledger::Ledger;

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
    /// It was there, and now has, or had already, this amount.
    Known(OrderRecord),
    /// It is registered with another amount or currency, which stays.
    Differs,
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
    if let Some(due) = known.as_ref().and_then(|known| known.order.due.as_ref())
        && (due.amount, &due.currency) != (*amount_due, currency)
    {
        session.rollback().await?;
        return Ok(Registered::Differs);
    }
    session.register_order(id, *amount_due, currency, customer_email.as_deref(), now).await?;
    let mut ledger = Ledger::new(rules.policy);
    let ids = [id.clone()];
    load(session, &mut ledger, &[], &ids).await?;
    ledger.take_up(id);
    write(session, rules, &[], &ledger.finish(), now).await?;
    session.settle_held(&ids, "applied when the order was registered").await?;
    let record = session.order(id).await?;
    session.commit().await?;
    let gone = || StoreError::Refused("the order is gone from its own transaction".to_owned());
    let record = record.ok_or_else(gone)?;
    Ok(if known.is_none() { Registered::New(record) } else { Registered::Known(record) })
}
