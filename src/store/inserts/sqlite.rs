//! In SQLite's words: a statement for each table, since a round trip is a call. See [`super`].

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_scalar};

use super::NewRows;
use crate::domain::order::{Problem, Status};
use crate::domain::payment::dispute::DisputeStatus;
use crate::domain::rows::{Change, Link, Order, Payment};
use crate::store::records::disputes_text;
use crate::store::sqlite::{json, link_rows, milliseconds, order_rows, payment_rows, seconds};
use crate::store::{NewDelivery, NewEvent, StoreError};

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    rows: &NewRows<'_>,
    now: i64,
) -> Result<(), StoreError> {
    if !rows.events.is_empty() {
        insert_events(connection, rows.events, now).await?;
    }
    if !rows.payments.is_empty() {
        insert_payments(connection, rows.payments).await?;
    }
    if !rows.links.is_empty() {
        insert_links(connection, rows.links).await?;
    }
    if !rows.orders.is_empty() {
        insert_orders(connection, rows.orders, now).await?;
    }
    if !rows.changes.is_empty() {
        insert_changes(connection, rows.changes, now).await?;
    }
    if !rows.deliveries.is_empty() {
        insert_deliveries(connection, rows.deliveries, now).await?;
    }
    Ok(())
}

async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[NewEvent<'_>],
    now: i64,
) -> Result<(), StoreError> {
    let mut bodies = Vec::with_capacity(events.iter().map(|new| new.event.body().len()).sum());
    let mut rows = Vec::with_capacity(events.len());
    for NewEvent { event, outcome } in events {
        let head = event.head();
        // SQLite counts from 1.
        let place = (bodies.len() + 1, event.body().len());
        bodies.extend_from_slice(event.body());
        rows.push((
            &head.id,
            &head.kind,
            &head.api_version,
            &head.account,
            head.livemode,
            seconds(head.created),
            &head.object_id,
            &outcome.payment_key,
            &outcome.order_id,
            outcome.outcome.name(),
            &outcome.reason,
            place.0,
            place.1,
        ));
    }
    query(
        "insert into events
             (id, type, api_version, account, livemode, created, object_id,
              payment_key, order_id, outcome, reason, body, received_at)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10,
                substr(?2, value ->> 11, value ->> 12), ?3
         from json_each(?1)",
    )
    .bind(json(&rows)?)
    .bind(bodies)
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_payments(
    connection: &mut SqliteConnection,
    payments: &[Payment],
) -> Result<(), StoreError> {
    query(
        "insert into payments (key, order_id, page, subscription, facts)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
         from json_each(?1)",
    )
    .bind(payment_rows(payments)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_links(
    connection: &mut SqliteConnection,
    links: &[(String, Link)],
) -> Result<(), StoreError> {
    query(
        "insert into payment_links (id, payment_key, order_claim)
         select value ->> 0, value ->> 1, value ->> 2 from json_each(?1)",
    )
    .bind(link_rows(links)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_orders(
    connection: &mut SqliteConnection,
    orders: &[(String, Order)],
    now: i64,
) -> Result<(), StoreError> {
    // Nobody can have come in between: this transaction is the only one that writes.
    query(
        "insert into orders
             (id, status, currency, amount_received, amount_refunded, amount_disputed,
              failure_code, failure_message, dispute, disputes, problem, renewals,
              refunds_failed, customer_email, email_written, version, announced, weighed_due,
              weighed_currency, paid_at, failed_at, refunded_at, created_at,
              currency_written, weighed, updated_at)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
                value ->> 12, value ->> 13, value ->> 14, value ->> 15, value ->> 16,
                value ->> 17, value ->> 18, value ->> 19, value ->> 20, value ->> 21,
                value ->> 22,
                value ->> 2, 1, ?2
         from json_each(?1)",
    )
    .bind(order_rows(orders)?)
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_changes(
    connection: &mut SqliteConnection,
    changes: &[Change],
    now: i64,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let to = &change.to;
        rows.push(serde_json::json!([
            change.order_id,
            change.version,
            change.kinds.join(" "),
            change.from.map(Status::name),
            to.status.name(),
            to.dispute.map(DisputeStatus::name),
            disputes_text(&to.disputes)?,
            to.problem.map(Problem::name),
            to.amount_received,
            to.amount_refunded,
            to.amount_disputed,
            to.currency,
            change.event_id,
        ]));
    }
    // Not one more than the newest row has: that one may have been deleted, and its number was told.
    let first: i64 =
        query_scalar("update last_change set sequence = sequence + ?1 returning sequence - ?1 + 1")
            .bind(changes.len() as i64)
            .fetch_one(&mut *connection)
            .await?;
    query(
        "insert into order_changes
             (order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
              amount_received, amount_refunded, amount_disputed, currency, event_id, at, sequence)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
                value ->> 12, ?2, ?3 + key
         from json_each(?1)",
    )
    .bind(json(&rows)?)
    .bind(milliseconds(now))
    .bind(first)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_deliveries(
    connection: &mut SqliteConnection,
    deliveries: &[NewDelivery],
    now: i64,
) -> Result<(), StoreError> {
    let row = |new: &NewDelivery| serde_json::json!([new.order_id, new.version, new.destination]);
    query(
        "insert into deliveries (order_id, version, destination, next_attempt_at, created_at)
         select value ->> 0, value ->> 1, value ->> 2, ?2, ?2
         from json_each(?1)",
    )
    .bind(json(&deliveries.iter().map(row).collect::<Vec<_>>())?)
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}
