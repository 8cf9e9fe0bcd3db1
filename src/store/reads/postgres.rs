//! The reads in Postgres' words. [`super::sqlite`] has the same, in the same order.
//!
//! A list is merged from several: for each kind of row the newest are found by the index, so many as the
//! page has, and the newest of all these are the page. What filters is in each the begin of the index, so
//! that no plan, whenever it was made, looks through what does not fit.

use sqlx::postgres::PgConnection;
use sqlx::{query_as, query_scalar};

use super::{
    Cursor, DeliveryKind, EventKind, EventWithBody, Listed, ListedEventRow, ListedOrderRow,
    StreamedChange,
};
use crate::store::outbox::DeliveryRecord;
use crate::store::postgres::order_columns;
use crate::store::records::OrderRow;
use crate::store::{EventRecord, OrderRecord, StoreError};

/// The last second of the year 9999; times beyond it are in no row.
const MICROSECONDS_MAX: i64 = 253_402_300_799_999_999;

/// A place's time in microseconds, which is as exactly as a row has it.
fn microseconds(cursor: &Cursor) -> i64 {
    cursor.at.parse::<i64>().unwrap_or_default().clamp(0, MICROSECONDS_MAX)
}

pub(super) async fn listed_orders(
    connection: &mut PgConnection,
    statuses: &[&str],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<OrderRecord>>, StoreError> {
    let rows: Vec<ListedOrderRow> = query_as(concat!(
        "select page.id, ",
        order_columns!("page"),
        ",
                (extract(epoch from page.created_at) * 1000000)::bigint::text as cursor_at
         from unnest($1::text[]) as wanted (status)
              cross join lateral (
                  select * from orders
                  where orders.status collate \"C\" = wanted.status
                    and (created_at, id) < (coalesce(timestamptz 'epoch' + $2 * interval '1 microsecond',
                                                     timestamptz 'infinity'),
                                            coalesce($3, ''))
                  order by created_at desc, id desc
                  limit $4) as page
         order by page.created_at desc, page.id desc
         limit $4",
    ))
    .bind(statuses)
    .bind(after.map(microseconds))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn listed_problems(
    connection: &mut PgConnection,
    problems: &[&str],
    statuses: &[&str],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<OrderRecord>>, StoreError> {
    let rows: Vec<ListedOrderRow> = query_as(concat!(
        "select page.id, ",
        order_columns!("page"),
        ",
                (extract(epoch from page.created_at) * 1000000)::bigint::text as cursor_at
         from unnest($1::text[]) as wanted (problem)
              cross join unnest($2::text[]) as also (status)
              cross join lateral (
                  select * from orders
                  where orders.problem collate \"C\" = wanted.problem
                    and orders.status collate \"C\" = also.status
                    and (created_at, id) < (coalesce(timestamptz 'epoch' + $3 * interval '1 microsecond',
                                                     timestamptz 'infinity'),
                                            coalesce($4, ''))
                  order by created_at desc, id desc
                  limit $5) as page
         order by page.created_at desc, page.id desc
         limit $5",
    ))
    .bind(problems)
    .bind(statuses)
    .bind(after.map(microseconds))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The ids are gathered first: a condition with `or` would read the whole table.
pub(super) async fn orders_found(
    connection: &mut PgConnection,
    term: &str,
    limit: i64,
) -> Result<Vec<OrderRecord>, StoreError> {
    let rows: Vec<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        "
         from orders
         where id = any (array(
             select $1
             union all
             select order_id from payments where key = $1
             union all
             select order_id from payments where subscription = $1
             union all
             select payments.order_id
             from payment_links join payments on payments.key = payment_links.payment_key
             where payment_links.id = $1
             union all
             (select id from orders
              where hashtextextended(lower(customer_email), 0) = hashtextextended(lower($1), 0)
                and lower(customer_email) = lower($1) and customer_email is not null
              order by created_at desc
              limit $2)))
         order by id = $1 desc, created_at desc, id
         limit $2",
    ))
    .bind(term)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// From one kind to the next by the index, however many rows each has.
pub(super) async fn event_kinds(
    connection: &mut PgConnection,
) -> Result<Vec<EventKind>, StoreError> {
    Ok(query_as(
        "with recursive kinds (outcome, type) as (
             (select outcome collate \"C\", type collate \"C\" from events
              order by outcome collate \"C\", type collate \"C\"
              limit 1)
             union all
             select next.outcome, next.type
             from kinds
                  cross join lateral (
                      select outcome collate \"C\" as outcome, type collate \"C\" as type from events
                      where (outcome collate \"C\", type collate \"C\") > (kinds.outcome, kinds.type)
                      order by outcome collate \"C\", type collate \"C\"
                      limit 1) as next)
         select outcome, type from kinds",
    )
    .fetch_all(connection)
    .await?)
}

pub(super) async fn listed_events(
    connection: &mut PgConnection,
    kinds: &[EventKind],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<EventRecord>>, StoreError> {
    let rows: Vec<ListedEventRow> = query_as(
        "select page.id, page.type, api_version, livemode,
                floor(extract(epoch from created))::bigint as created,
                payment_key, order_id, page.outcome, reason, conflicts::bigint as conflicts,
                floor(extract(epoch from page.received_at) * 1000)::bigint as received_at,
                (extract(epoch from page.received_at) * 1000000)::bigint::text as cursor_at
         from unnest($1::text[], $2::text[]) as kind (outcome, type)
              cross join lateral (
                  select id, type, api_version, livemode, created, payment_key, order_id, outcome, reason,
                         conflicts, received_at
                  from events
                  where events.outcome collate \"C\" = kind.outcome
                    and events.type collate \"C\" = kind.type
                    and (received_at, id) < (coalesce(timestamptz 'epoch' + $3 * interval '1 microsecond',
                                                      timestamptz 'infinity'),
                                             coalesce($4, ''))
                  order by received_at desc, id desc
                  limit $5) as page
         order by page.received_at desc, page.id desc
         limit $5",
    )
    .bind(kinds.iter().map(|kind| kind.outcome.as_str()).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.kind.as_str()).collect::<Vec<_>>())
    .bind(after.map(microseconds))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn event(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Option<EventWithBody>, StoreError> {
    Ok(query_as(
        "select id, type, api_version, livemode,
                floor(extract(epoch from created))::bigint as created,
                payment_key, order_id, outcome, reason, conflicts::bigint as conflicts,
                floor(extract(epoch from received_at) * 1000)::bigint as received_at,
                body
         from events where id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn delivery_kinds(
    connection: &mut PgConnection,
) -> Result<Vec<DeliveryKind>, StoreError> {
    Ok(query_as(
        "with recursive kinds (status, destination) as (
             (select status, destination from deliveries order by status, destination limit 1)
             union all
             select next.status, next.destination
             from kinds
                  cross join lateral (
                      select status, destination from deliveries
                      where (status, destination) > (kinds.status, kinds.destination)
                      order by status, destination
                      limit 1) as next)
         select status, destination from kinds",
    )
    .fetch_all(connection)
    .await?)
}

/// Rows are compared as the index has them, not with `=`: with that, and ids in order, Postgres would read
/// all ids from the newest on to find a few that are rare.
pub(super) async fn listed_deliveries(
    connection: &mut PgConnection,
    kinds: &[DeliveryKind],
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    Ok(query_as(
        "select told.id, told.order_id, told.version, change.kinds, told.destination, told.status,
                told.attempts::bigint as attempts,
                floor(extract(epoch from told.next_attempt_at) * 1000)::bigint as next_attempt_at,
                floor(extract(epoch from told.claimed_at) * 1000)::bigint as claimed_at,
                told.last_error,
                floor(extract(epoch from told.created_at) * 1000)::bigint as created_at,
                floor(extract(epoch from told.settled_at) * 1000)::bigint as settled_at
         from (select page.*
               from unnest($1::text[], $2::text[]) as kind (status, destination)
                    cross join lateral (
                        select * from deliveries
                        where (deliveries.status, deliveries.destination, id)
                                > (kind.status, kind.destination, 0)
                          and (deliveries.status, deliveries.destination, id)
                                < (kind.status, kind.destination, coalesce($3, 9223372036854775807))
                        order by deliveries.status desc, deliveries.destination desc, id desc
                        limit $4) as page
               order by page.id desc
               limit $4) as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
         order by told.id desc",
    )
    .bind(kinds.iter().map(|kind| kind.status.as_str()).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.destination.as_str()).collect::<Vec<_>>())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn order_deliveries(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    Ok(query_as(
        "select told.id, told.order_id, told.version, change.kinds, told.destination, told.status,
                told.attempts::bigint as attempts,
                floor(extract(epoch from told.next_attempt_at) * 1000)::bigint as next_attempt_at,
                floor(extract(epoch from told.claimed_at) * 1000)::bigint as claimed_at,
                told.last_error,
                floor(extract(epoch from told.created_at) * 1000)::bigint as created_at,
                floor(extract(epoch from told.settled_at) * 1000)::bigint as settled_at
         from deliveries as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
         where told.order_id = $1
         order by told.id",
    )
    .bind(id)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn changes_after(
    connection: &mut PgConnection,
    sequence: i64,
    limit: i64,
) -> Result<Vec<StreamedChange>, StoreError> {
    Ok(query_as(
        "select sequence, order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
                amount_received, amount_refunded, amount_disputed, currency, event_id,
                floor(extract(epoch from at) * 1000)::bigint as at
         from order_changes where sequence > $1
         order by sequence
         limit $2",
    )
    .bind(sequence)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn last_change(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let last = query_scalar("select coalesce(max(sequence), 0) from order_changes");
    Ok(last.fetch_one(connection).await?)
}
