//! The reads in SQLite's words. [`super::postgres`] has the same, in the same order.
//!
//! A list is merged from several, as there. SQLite knows no `lateral`; a list of row numbers that depends
//! on the kind does the same.

use sqlx::sqlite::SqliteConnection;
use sqlx::{query_as, query_scalar};

use super::{
    Cursor, DeliveryKind, EventKind, EventWithBody, Listed, ListedEventRow, ListedOrderRow,
    StreamedChange,
};
use crate::store::outbox::DeliveryRecord;
use crate::store::records::OrderRow;
use crate::store::sqlite::{json, order_columns};
use crate::store::{EventRecord, OrderRecord, StoreError};

pub(super) async fn listed_orders(
    connection: &mut SqliteConnection,
    statuses: &[&str],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<OrderRecord>>, StoreError> {
    let rows: Vec<ListedOrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        ",
                created_at as cursor_at
         from json_each(?1) as wanted
              cross join orders
                  on orders.rowid in (select rowid from orders as page
                                      where page.status = wanted.value
                                        and (page.created_at, page.id) < (coalesce(?2, '~'), coalesce(?3, ''))
                                      order by page.created_at desc, page.id desc
                                      limit ?4)
         order by orders.created_at desc, orders.id desc
         limit ?4",
    ))
    .bind(json(&statuses)?)
    .bind(after.map(|cursor| cursor.at.as_str()))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn listed_problems(
    connection: &mut SqliteConnection,
    problems: &[&str],
    statuses: &[&str],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<OrderRecord>>, StoreError> {
    let rows: Vec<ListedOrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        ",
                created_at as cursor_at
         from json_each(?1) as wanted
              cross join json_each(?2) as also
              cross join orders
                  on orders.rowid in (select rowid from orders as page
                                      where page.problem = wanted.value and page.status = also.value
                                        and (page.created_at, page.id) < (coalesce(?3, '~'), coalesce(?4, ''))
                                      order by page.created_at desc, page.id desc
                                      limit ?5)
         order by orders.created_at desc, orders.id desc
         limit ?5",
    ))
    .bind(json(&problems)?)
    .bind(json(&statuses)?)
    .bind(after.map(|cursor| cursor.at.as_str()))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The ids are gathered first: a condition with `or` would read the whole table.
pub(super) async fn orders_found(
    connection: &mut SqliteConnection,
    term: &str,
    limit: i64,
) -> Result<Vec<OrderRecord>, StoreError> {
    let rows: Vec<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        "
         from orders
         where id in (
             select ?1
             union all
             select order_id from payments where key = ?1
             union all
             select order_id from payments where subscription = ?1
             union all
             select payments.order_id
             from payment_links join payments on payments.key = payment_links.payment_key
             where payment_links.id = ?1
             union all
             select id from (select id from orders
                             where lower(customer_email) = lower(?1)
                               and length(cast(customer_email as blob)) <= 320
                             order by created_at desc
                             limit ?2) as written)
         order by id = ?1 desc, created_at desc, id
         limit ?2",
    ))
    .bind(term)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// From one kind to the next by the index, however many rows each has: within an outcome from type to
/// type, and then to the next outcome.
pub(super) async fn event_kinds(
    connection: &mut SqliteConnection,
) -> Result<Vec<EventKind>, StoreError> {
    Ok(query_as(
        "with recursive outcomes (outcome) as (
             select min(outcome) from events
             union all
             select (select min(outcome) from events where outcome > outcomes.outcome)
             from outcomes where outcomes.outcome is not null),
         kinds (outcome, type) as (
             select outcome, (select min(type) from events where outcome = outcomes.outcome)
             from outcomes where outcome is not null
             union all
             select outcome, (select min(type) from events
                              where outcome = kinds.outcome and type > kinds.type)
             from kinds where kinds.type is not null)
         select outcome, type from kinds where type is not null
         order by outcome, type",
    )
    .fetch_all(connection)
    .await?)
}

pub(super) async fn listed_events(
    connection: &mut SqliteConnection,
    kinds: &[EventKind],
    after: Option<&Cursor>,
    limit: i64,
) -> Result<Vec<Listed<EventRecord>>, StoreError> {
    let kinds: Vec<_> = kinds.iter().map(|kind| (&kind.outcome, &kind.kind)).collect();
    let rows: Vec<ListedEventRow> = query_as(
        "select events.id, events.type, api_version, livemode,
                unixepoch(created) as created,
                payment_key, order_id, outcome, reason, conflicts,
                cast(round(unixepoch(received_at, 'subsec') * 1000) as integer) as received_at,
                received_at as cursor_at
         from json_each(?1) as kind
              cross join events
                  on events.rowid in (select rowid from events as page
                                      where page.outcome = kind.value ->> 0 and page.type = kind.value ->> 1
                                        and (page.received_at, page.id) < (coalesce(?2, '~'), coalesce(?3, ''))
                                      order by page.received_at desc, page.id desc
                                      limit ?4)
         order by events.received_at desc, events.id desc
         limit ?4",
    )
    .bind(json(&kinds)?)
    .bind(after.map(|cursor| cursor.at.as_str()))
    .bind(after.map(|cursor| cursor.id.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn event(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Option<EventWithBody>, StoreError> {
    Ok(query_as(
        "select id, type, api_version, livemode,
                unixepoch(created) as created,
                payment_key, order_id, outcome, reason, conflicts,
                cast(round(unixepoch(received_at, 'subsec') * 1000) as integer) as received_at,
                body
         from events where id = ?1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn delivery_kinds(
    connection: &mut SqliteConnection,
) -> Result<Vec<DeliveryKind>, StoreError> {
    Ok(query_as(
        "with recursive statuses (status) as (
             select min(status) from deliveries
             union all
             select (select min(status) from deliveries where status > statuses.status)
             from statuses where statuses.status is not null),
         kinds (status, destination) as (
             select status, (select min(destination) from deliveries where status = statuses.status)
             from statuses where status is not null
             union all
             select status, (select min(destination) from deliveries
                             where status = kinds.status and destination > kinds.destination)
             from kinds where kinds.destination is not null)
         select status, destination from kinds where destination is not null
         order by status, destination",
    )
    .fetch_all(connection)
    .await?)
}

pub(super) async fn listed_deliveries(
    connection: &mut SqliteConnection,
    kinds: &[DeliveryKind],
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let kinds: Vec<_> = kinds.iter().map(|kind| (&kind.status, &kind.destination)).collect();
    Ok(query_as(
        "select told.id, told.order_id, told.version, change.kinds, told.destination, told.status,
                told.attempts,
                cast(round(unixepoch(told.next_attempt_at, 'subsec') * 1000) as integer) as next_attempt_at,
                cast(round(unixepoch(told.claimed_at, 'subsec') * 1000) as integer) as claimed_at,
                told.last_error,
                cast(round(unixepoch(told.created_at, 'subsec') * 1000) as integer) as created_at,
                cast(round(unixepoch(told.settled_at, 'subsec') * 1000) as integer) as settled_at
         from (select deliveries.*
               from json_each(?1) as kind
                    cross join deliveries
                        on deliveries.id in (select page.id from deliveries as page
                                             where page.status = kind.value ->> 0
                                               and page.destination = kind.value ->> 1
                                               and page.id < coalesce(?2, 9223372036854775807)
                                             order by page.id desc
                                             limit ?3)
               order by deliveries.id desc
               limit ?3) as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
         order by told.id desc",
    )
    .bind(json(&kinds)?)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn order_deliveries(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    Ok(query_as(
        "select told.id, told.order_id, told.version, change.kinds, told.destination, told.status,
                told.attempts,
                cast(round(unixepoch(told.next_attempt_at, 'subsec') * 1000) as integer) as next_attempt_at,
                cast(round(unixepoch(told.claimed_at, 'subsec') * 1000) as integer) as claimed_at,
                told.last_error,
                cast(round(unixepoch(told.created_at, 'subsec') * 1000) as integer) as created_at,
                cast(round(unixepoch(told.settled_at, 'subsec') * 1000) as integer) as settled_at
         from deliveries as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
         where told.order_id = ?1
         order by told.id",
    )
    .bind(id)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn changes_after(
    connection: &mut SqliteConnection,
    sequence: i64,
    limit: i64,
) -> Result<Vec<StreamedChange>, StoreError> {
    Ok(query_as(
        "select sequence, order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
                amount_received, amount_refunded, amount_disputed, currency, event_id,
                cast(round(unixepoch(at, 'subsec') * 1000) as integer) as at
         from order_changes where sequence > ?1
         order by sequence
         limit ?2",
    )
    .bind(sequence)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn last_change(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let last = query_scalar("select coalesce(max(sequence), 0) from order_changes");
    Ok(last.fetch_one(connection).await?)
}
