//! What the service does every few seconds with the orders that the shop has written.

use paidup::store::transaction::{Rules, WEIGH_ORDERS_MAX, weigh};
use paidup::store::{Session, StoreError};

/// Weighs them, in one transaction; says how many. `now` is in milliseconds.
pub async fn weigh_changed(
    session: &mut Session,
    rules: &Rules,
    now: i64,
) -> Result<usize, StoreError> {
    session.begin().await?;
    let orders = session.orders_to_weigh("", WEIGH_ORDERS_MAX).await?;
    weigh(session, rules, &orders, now).await
}
