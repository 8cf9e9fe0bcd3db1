//! The archive in SQLite's words. [`super::postgres`] has the same, in the same order.

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};

use super::{NewOutcome, Passed, Prunable, StoredEvent};
use crate::store::records::OrderRow;
use crate::store::sqlite::{json, milliseconds, order_columns, seconds};
use crate::store::{OrderRecord, StoreError};

pub(super) async fn orders_after(
    connection: &mut SqliteConnection,
    id: &str,
    limit: i64,
) -> Result<Vec<OrderRecord>, StoreError> {
    let rows: Vec<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        "
         from orders where id > ?1
         order by id
         limit ?2",
    ))
    .bind(id)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn events_passed(
    connection: &mut SqliteConnection,
    id: &str,
    since: i64,
    kind: Option<&str>,
    limit: i64,
) -> Result<Vec<Passed>, StoreError> {
    Ok(query_as(
        "select id, received_at >= ?2 and (?3 is null or type = ?3) as fits
         from events where id > ?1
         order by id
         limit ?4",
    )
    .bind(id)
    .bind(milliseconds(since))
    .bind(kind)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn stored_events(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<Vec<StoredEvent>, StoreError> {
    Ok(query_as(
        "select id, type, body, outcome,
                cast(round(unixepoch(received_at, 'subsec') * 1000) as integer) as received_at
         from events where id in (select value from json_each(?1))
         order by id",
    )
    .bind(json(&ids)?)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn update_outcomes(
    connection: &mut SqliteConnection,
    outcomes: &[NewOutcome],
) -> Result<(), StoreError> {
    let rows: Vec<_> = outcomes
        .iter()
        .map(|new| (&new.event_id, new.outcome, &new.reason, &new.payment_key, &new.order_id))
        .collect();
    query(
        "update events
         set outcome = new.outcome,
             reason = new.reason,
             payment_key = new.payment_key,
             order_id = new.order_id
         from (select value ->> 0 as id, value ->> 1 as outcome, value ->> 2 as reason,
                      value ->> 3 as payment_key, value ->> 4 as order_id
               from json_each(?1)) as new
         where events.id = new.id",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn prunable_events(
    connection: &mut SqliteConnection,
    id: &str,
    bodies_until: i64,
    events_until: i64,
    limit: i64,
) -> Result<Prunable<String>, StoreError> {
    Ok(query_as(
        "select max(id) as last,
                count(*) filter (where received_at < ?2 and has_body) as bodies,
                count(*) filter (where received_at < ?3 and not is_parked) as rows
         from (select id, received_at,
                      body is not null and outcome <> 'parked' as has_body,
                      outcome = 'parked' as is_parked
               from events where id > ?1
               order by id
               limit ?4) as page",
    )
    .bind(id)
    .bind(milliseconds(bodies_until))
    .bind(milliseconds(events_until))
    .bind(limit)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn prunable_deliveries(
    connection: &mut SqliteConnection,
    id: i64,
    until: i64,
    limit: i64,
) -> Result<Prunable<i64>, StoreError> {
    Ok(query_as(
        "select max(id) as last,
                0 as bodies,
                count(*) filter (where status <> 'waiting' and settled_at < ?2) as rows
         from (select id, status, settled_at from deliveries where id > ?1
               order by id
               limit ?3) as page",
    )
    .bind(id)
    .bind(milliseconds(until))
    .bind(limit)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn register_order(
    connection: &mut SqliteConnection,
    id: &str,
    amount_due: i64,
    currency: &str,
    email: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    query(
        "insert into orders as old (id, amount_due, currency, customer_email, created_at, updated_at)
         values (?1, ?2, ?3, ?4, ?5, ?6)
         on conflict (id) do update
         set amount_due = excluded.amount_due,
             currency = excluded.currency,
             weighed_currency = excluded.currency,
             customer_email = coalesce(excluded.customer_email, old.customer_email)",
    )
    .bind(id)
    .bind(amount_due)
    .bind(currency)
    .bind(email)
    .bind(seconds(Some(now.div_euclid(1000))))
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}
