//! The archive in Postgres' words. [`super::sqlite`] has the same, in the same order.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::{NewOutcome, Passed, Prunable, StoredEvent};
use crate::store::postgres::order_columns;
use crate::store::records::OrderRow;
use crate::store::{OrderRecord, StoreError};

pub(super) async fn orders_after(
    connection: &mut PgConnection,
    id: &str,
    limit: i64,
) -> Result<Vec<OrderRecord>, StoreError> {
    let rows: Vec<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        "
         from orders where id > $1
         order by id
         limit $2",
    ))
    .bind(id)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn events_passed(
    connection: &mut PgConnection,
    id: &str,
    since: i64,
    kind: Option<&str>,
    limit: i64,
) -> Result<Vec<Passed>, StoreError> {
    Ok(query_as(
        "select id,
                received_at >= to_timestamp($2 / 1000.0) and ($3::text is null or type = $3) as fits
         from events where id > $1
         order by id
         limit $4",
    )
    .bind(id)
    .bind(since)
    .bind(kind)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn stored_events(
    connection: &mut PgConnection,
    ids: &[String],
) -> Result<Vec<StoredEvent>, StoreError> {
    Ok(query_as(
        "select id, type, body, outcome,
                floor(extract(epoch from received_at) * 1000)::bigint as received_at
         from events where id = any($1)
         order by id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn update_outcomes(
    connection: &mut PgConnection,
    outcomes: &[NewOutcome],
) -> Result<(), StoreError> {
    query(
        "update events as old
         set outcome = new.outcome,
             reason = new.reason,
             payment_key = new.payment_key,
             order_id = new.order_id
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
              as new (id, outcome, reason, payment_key, order_id)
         where old.id = new.id",
    )
    .bind(outcomes.iter().map(|new| new.event_id.as_str()).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|new| new.outcome).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|new| new.reason.as_str()).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|new| new.payment_key.as_deref()).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|new| new.order_id.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn prunable_events(
    connection: &mut PgConnection,
    id: &str,
    bodies_until: i64,
    events_until: i64,
    limit: i64,
) -> Result<Prunable<String>, StoreError> {
    Ok(query_as(
        "select max(id) as last,
                count(*) filter (where received_at < to_timestamp($2 / 1000.0) and has_body) as bodies,
                count(*) filter (where received_at < to_timestamp($3 / 1000.0) and not is_parked) as rows
         from (select id, received_at,
                      body is not null and outcome <> 'parked' as has_body,
                      outcome = 'parked' as is_parked
               from events where id > $1
               order by id
               limit $4) as page",
    )
    .bind(id)
    .bind(bodies_until)
    .bind(events_until)
    .bind(limit)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn prunable_deliveries(
    connection: &mut PgConnection,
    id: i64,
    until: i64,
    limit: i64,
) -> Result<Prunable<i64>, StoreError> {
    Ok(query_as(
        "select max(id) as last,
                0::bigint as bodies,
                count(*) filter (where status <> 'waiting'
                                   and settled_at < to_timestamp($2 / 1000.0)) as rows
         from (select id, status, settled_at from deliveries where id > $1
               order by id
               limit $3) as page",
    )
    .bind(id)
    .bind(until)
    .bind(limit)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn register_order(
    connection: &mut PgConnection,
    id: &str,
    amount_due: i64,
    currency: &str,
    email: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    query(
        "insert into orders as old (id, amount_due, currency, customer_email, created_at, updated_at)
         values ($1, $2, $3, $4, to_timestamp($5::bigint / 1000), to_timestamp($5::bigint / 1000.0))
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
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
