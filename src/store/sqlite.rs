//! The statements in SQLite's words. [`super::postgres`] has the same, in the same order.
//!
//! SQLite has no arrays: a set goes in as one JSON text, an array for each row, and is taken apart by
//! `json_each`. Bodies are no JSON; they go in as one blob, each row knowing its part. Times are kept
//! as texts (`2026-11-23T16:55:31Z`), which sort as they should and can be read by people.

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, query, query_as, query_scalar, raw_sql};
use tokio::time::sleep;

use super::records::{
    ChangeRecord, EventRecord, Found, LinkRow, OrderRecord, OrderRow, PaymentRow, Recorded,
    claim_text, facts_text,
};
use super::{SQLITE_BUSY_SECONDS_MAX, StoreError};
use crate::domain::ledger::{Join, Link, Needs, Order, Payment};

/// SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH (sqlite.org/rescode.html).
const REFUSED_CODES: [u32; 3] = [18, 19, 20];
/// SQLITE_BUSY.
const BUSY_CODE: u32 = 5;
/// The pause before a file that is busy is opened again.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What a result code means to paidup. There is one writer at a time, so nothing conflicts, and no
/// rows are locked: a database that is busy is away.
pub(super) fn classify(code: &str, told: String) -> StoreError {
    if REFUSED_CODES.contains(&primary(code)) {
        StoreError::Refused(told)
    } else {
        StoreError::Away(told)
    }
}

/// The lowest byte of a result code is the primary one; the rest says more.
fn primary(code: &str) -> u32 {
    code.parse::<u32>().map(|code| code & 0xff).unwrap_or_default()
}

/// `synchronous = full` makes a commit outlast a power cut; in WAL mode the default does not.
pub(super) fn with_settings(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(SQLITE_BUSY_SECONDS_MAX))
}

/// Opens a connection. A new file's first one turns on its write-ahead log, for which it needs the file
/// alone, and SQLite does not wait for that: so others wait here, for as long as for a statement.
pub(super) async fn connect(
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, sqlx::Error> {
    let deadline = Instant::now() + Duration::from_secs(SQLITE_BUSY_SECONDS_MAX);
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| primary(&code) == BUSY_CODE)
                    && Instant::now() < deadline =>
            {
                sleep(CONNECT_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Takes the one writer's place at once: to become a writer later in a transaction can fail.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    raw_sql("begin immediate").execute(connection).await?;
    Ok(())
}

pub(super) async fn commit(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    raw_sql("commit").execute(connection).await?;
    Ok(())
}

pub(super) async fn rollback(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    raw_sql("rollback").execute(connection).await?;
    Ok(())
}

pub(super) async fn ping(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    query("select 1 from orders limit 1").fetch_optional(connection).await?;
    Ok(())
}

pub(super) async fn migration(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let is_there: bool =
        query_scalar("select exists (select 1 from sqlite_master where name = '_sqlx_migrations')")
            .fetch_one(&mut *connection)
            .await?;
    if !is_there {
        return Ok(0);
    }
    let newest =
        query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success");
    Ok(newest.fetch_one(connection).await?)
}

pub(super) async fn clock(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let now = query_scalar("select cast(round(unixepoch('now', 'subsec') * 1000) as integer)");
    Ok(now.fetch_one(connection).await?)
}

pub(super) async fn recorded_events(
    connection: &mut SqliteConnection,
    ids: &[&str],
) -> Result<Vec<Recorded>, StoreError> {
    Ok(query_as("select id, body from events where id in (select value from json_each(?1))")
        .bind(json(&ids)?)
        .fetch_all(connection)
        .await?)
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    ids: &[&str],
    needs: &Needs,
) -> Result<Found, StoreError> {
    let recorded =
        if ids.is_empty() { Vec::new() } else { recorded_events(connection, ids).await? };
    let links = if needs.links.is_empty() { Vec::new() } else { links(connection, needs).await? };
    let payments = payments(connection, needs).await?;
    let orders =
        if needs.orders.is_empty() { Vec::new() } else { orders(connection, needs).await? };
    Ok(Found { recorded, links, payments, orders })
}

async fn links(
    connection: &mut SqliteConnection,
    needs: &Needs,
) -> Result<Vec<(String, Link)>, StoreError> {
    let rows: Vec<LinkRow> = query_as(
        "select id, payment_key, order_claim from payment_links
         where id in (select value from json_each(?1))",
    )
    .bind(json(&needs.links)?)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

async fn payments(
    connection: &mut SqliteConnection,
    needs: &Needs,
) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<PaymentRow> = query_as(
        "select order_id, facts from payments
         where key in (select value from json_each(?1))
         union all
         select order_id, facts from payments
         where order_id in (select value from json_each(?2))
         union all
         select order_id, facts from payments
         where subscription in (select value from json_each(?3))",
    )
    .bind(json(&needs.payments)?)
    .bind(json(&needs.orders)?)
    .bind(json(&needs.subscriptions)?)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// No lock: this transaction is the only one that writes.
async fn orders(
    connection: &mut SqliteConnection,
    needs: &Needs,
) -> Result<Vec<(String, Order)>, StoreError> {
    let rows: Vec<OrderRow> = query_as(
        "select id, status, amount_due, currency, amount_received, amount_refunded,
                failure_code, failure_message, dispute, problem, customer_email, email_written, version,
                unixepoch(paid_at) as paid_at,
                unixepoch(failed_at) as failed_at,
                unixepoch(refunded_at) as refunded_at,
                unixepoch(created_at) as created_at,
                cast(round(unixepoch(updated_at, 'subsec') * 1000) as integer) as updated_at
         from orders where id in (select value from json_each(?1))
         order by id",
    )
    .bind(json(&needs.orders)?)
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(OrderRecord::try_from);
    records.map(|record| record.map(|record| (record.id, record.order))).collect()
}

pub(super) async fn count_conflicts(
    connection: &mut SqliteConnection,
    ids: &[&str],
) -> Result<(), StoreError> {
    query(
        "update events set conflicts = conflicts + 1
         where id in (select value from json_each(?1))",
    )
    .bind(json(&ids)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn update_payments(
    connection: &mut SqliteConnection,
    payments: &[Payment],
) -> Result<(), StoreError> {
    // json_each has a column key of its own.
    query(
        "update payments
         set order_id = value ->> 1,
             subscription = value ->> 2,
             facts = value ->> 3
         from json_each(?1)
         where payments.key = value ->> 0",
    )
    .bind(payment_rows(payments)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn payment_rows(payments: &[Payment]) -> Result<String, StoreError> {
    let mut rows = Vec::with_capacity(payments.len());
    for payment in payments {
        let facts = facts_text(&payment.facts)?;
        rows.push((payment.key(), &payment.order_id, &payment.facts.subscription, facts));
    }
    json(&rows)
}

pub(super) async fn delete_payments(
    connection: &mut SqliteConnection,
    keys: &[String],
) -> Result<(), StoreError> {
    query("delete from payments where key in (select value from json_each(?1))")
        .bind(json(&keys)?)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn update_links(
    connection: &mut SqliteConnection,
    links: &[(String, Link)],
) -> Result<(), StoreError> {
    // And an id.
    query(
        "update payment_links
         set payment_key = value ->> 1,
             order_claim = value ->> 2
         from json_each(?1)
         where payment_links.id = value ->> 0",
    )
    .bind(link_rows(links)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn link_rows(links: &[(String, Link)]) -> Result<String, StoreError> {
    let mut rows = Vec::with_capacity(links.len());
    for (id, link) in links {
        rows.push((id, &link.payment_key, claim_text(link)?));
    }
    json(&rows)
}

/// `amount_due` is the shop's, and so is `currency` beside it.
pub(super) async fn update_orders(
    connection: &mut SqliteConnection,
    orders: &[(String, Order)],
    now: i64,
) -> Result<(), StoreError> {
    query(
        "update orders as old
         set status = value ->> 1,
             currency = case when old.amount_due is null then value ->> 2 else old.currency end,
             amount_received = value ->> 3,
             amount_refunded = value ->> 4,
             failure_code = value ->> 5,
             failure_message = value ->> 6,
             dispute = value ->> 7,
             problem = value ->> 8,
             customer_email = value ->> 9,
             email_written = value ->> 10,
             version = value ->> 11,
             paid_at = value ->> 12,
             failed_at = value ->> 13,
             refunded_at = value ->> 14,
             created_at = case
                 when unixepoch(value ->> 15) < unixepoch(old.created_at)
                 then value ->> 15 else old.created_at end,
             updated_at = ?2
         from json_each(?1)
         where old.id = value ->> 0",
    )
    .bind(order_rows(orders)?)
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows of the two statements above.
pub(super) fn order_rows(orders: &[(String, Order)]) -> Result<String, StoreError> {
    let row = |(id, order): &(String, Order)| {
        let told = &order.told;
        serde_json::json!([
            id,
            told.status.name(),
            told.currency,
            told.amount_received,
            told.amount_refunded,
            order.failure_code,
            order.failure_message,
            told.dispute.map(|dispute| dispute.name()),
            told.problem.map(|problem| problem.name()),
            order.customer_email,
            order.email_written,
            order.version,
            seconds(order.paid_at),
            seconds(order.failed_at),
            seconds(order.refunded_at),
            seconds(Some(order.created_at)),
        ])
    };
    json(&orders.iter().map(row).collect::<Vec<_>>())
}

pub(super) async fn join_parked(
    connection: &mut SqliteConnection,
    joins: &[Join],
) -> Result<(), StoreError> {
    let rows: Vec<_> = joins
        .iter()
        .flat_map(|join| {
            join.payment_keys
                .iter()
                .map(|key| (key, &join.order_id, join.is_settled, &join.event_id))
        })
        .collect();
    query(
        "update events as old
         set order_id = value ->> 1,
             outcome = case when value ->> 2 then 'applied' else old.outcome end,
             reason = case when value ->> 2 then 'joined to its order by ' || (value ->> 3)
                           else 'the order has no row yet; it waits until the shop inserts one' end
         from json_each(?1)
         where old.payment_key = value ->> 0 and old.outcome = 'parked' and old.id <> value ->> 3",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn held_orders(
    connection: &mut SqliteConnection,
    may_create: bool,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar(
        "select distinct events.order_id
         from events left join orders on orders.id = events.order_id
         where events.outcome = 'parked' and events.order_id is not null
           and (?1 or orders.id is not null)
         limit ?2",
    );
    Ok(ids.bind(may_create).bind(limit).fetch_all(connection).await?)
}

pub(super) async fn settle_held(
    connection: &mut SqliteConnection,
    orders: &[String],
    reason: &str,
) -> Result<(), StoreError> {
    query(
        "update events set outcome = 'applied', reason = ?2
         where outcome = 'parked' and order_id in (select value from json_each(?1))",
    )
    .bind(json(&orders)?)
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows are numbered as they come, so the search ends at the first that is too young.
pub(super) async fn prune_bodies(
    connection: &mut SqliteConnection,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "update events set body = null
         where rowid in (select rowid from events
                         where received_at >= ?1 and received_at < ?2
                           and body is not null and outcome <> 'parked'
                         limit ?3)",
    );
    let pruned = pruned.bind(milliseconds(from)).bind(milliseconds(until)).bind(limit);
    Ok(pruned.execute(connection).await?.rows_affected())
}

pub(super) async fn prune_events(
    connection: &mut SqliteConnection,
    from: i64,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "delete from events
         where rowid in (select rowid from events
                         where received_at >= ?1 and received_at < ?2
                           and outcome <> 'parked'
                         limit ?3)",
    );
    let pruned = pruned.bind(milliseconds(from)).bind(milliseconds(until)).bind(limit);
    Ok(pruned.execute(connection).await?.rows_affected())
}

pub(super) async fn order(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Option<OrderRecord>, StoreError> {
    let row: Option<OrderRow> = query_as(
        "select id, status, amount_due, currency, amount_received, amount_refunded,
                failure_code, failure_message, dispute, problem, customer_email, email_written, version,
                unixepoch(paid_at) as paid_at,
                unixepoch(failed_at) as failed_at,
                unixepoch(refunded_at) as refunded_at,
                unixepoch(created_at) as created_at,
                cast(round(unixepoch(updated_at, 'subsec') * 1000) as integer) as updated_at
         from orders where id = ?1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    row.map(TryInto::try_into).transpose()
}

pub(super) async fn order_changes(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Vec<ChangeRecord>, StoreError> {
    Ok(query_as(
        "select version, kinds, from_status, to_status, dispute, problem,
                amount_received, amount_refunded, currency, event_id,
                cast(round(unixepoch(at, 'subsec') * 1000) as integer) as at
         from order_changes where order_id = ?1
         order by version",
    )
    .bind(id)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn order_payments(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<PaymentRow> =
        query_as("select order_id, facts from payments where order_id = ?1 order by key")
            .bind(id)
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn events_of(
    connection: &mut SqliteConnection,
    payment_keys: &[String],
    event_ids: &[String],
) -> Result<Vec<EventRecord>, StoreError> {
    Ok(query_as(
        "select id, type, api_version, livemode,
                unixepoch(created) as created,
                payment_key, order_id, outcome, reason, conflicts,
                cast(round(unixepoch(received_at, 'subsec') * 1000) as integer) as received_at
         from events
         where payment_key in (select value from json_each(?1))
            or id in (select value from json_each(?2))
         order by received_at, created, id",
    )
    .bind(json(&payment_keys)?)
    .bind(json(&event_ids)?)
    .fetch_all(connection)
    .await?)
}

pub(super) fn json<T: Serialize>(rows: &T) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_| StoreError::Refused("a row is no JSON".to_owned()))
}

/// A time of Stripe's, which are whole seconds; out of the calendar's range, none.
pub(super) fn seconds(seconds: Option<i64>) -> Option<String> {
    jiff::Timestamp::from_second(seconds?).ok().map(|time| format!("{time:.0}"))
}

/// A time of ours.
pub(super) fn milliseconds(milliseconds: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    format!("{time:.3}")
}
