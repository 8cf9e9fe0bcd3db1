//! The statements in SQLite's words. [`super::postgres`] has the same, in the same order.
//!
//! SQLite has no arrays: a set goes in as one JSON text, an array for each row, and is taken apart by
//! `json_each`. Bodies are no JSON; they go in as one blob, each row knowing its part. Times are kept
//! as texts (`2026-11-23T16:55:31Z`), which sort as they should and can be read by people.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, query, query_as, query_scalar, raw_sql};
use tokio::time::sleep;

use super::records::{
    ChangeRecord, EventRecord, Found, LinkRow, OrderRecord, OrderRow, PageRow, PaymentRow,
    Recorded, claim_text, disputes_text, facts_text, summary_text,
};
use super::sqlstate::Meaning;
use super::{Failure, SQLITE_BUSY_SECONDS_MAX, StoreError};
use crate::domain::order::Problem;
use crate::domain::payment::dispute::DisputeStatus;
use crate::domain::rows::{Link, Loaded, Needs, Order, Page, Payment, Unparked};

/// SQLITE_BUSY.
const BUSY_CODE: u32 = 5;
/// The pause before a file that is busy is opened again.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// The columns of an order but for its id, of a row that `$row` names.
macro_rules! order_columns {
    ($row:literal) => {
        concat!(
            $crate::store::records::order_columns_but_times!($row),
            ", ",
            "unixepoch(",
            $row,
            ".paid_at) as paid_at, ",
            "unixepoch(",
            $row,
            ".failed_at) as failed_at, ",
            "unixepoch(",
            $row,
            ".refunded_at) as refunded_at, ",
            "unixepoch(",
            $row,
            ".created_at) as created_at, ",
            "cast(round(unixepoch(",
            $row,
            ".updated_at, 'subsec') * 1000) as integer) as updated_at",
        )
    };
}
pub(super) use order_columns;

/// What a result code means to paidup (sqlite.org/rescode.html). There is one writer at a time, so nothing
/// conflicts, and no rows are locked: a database that is busy is away.
pub(super) fn meaning(code: u32) -> Meaning {
    let is_away = AWAY_CODES.iter().any(|(away, _)| *away == code & PRIMARY_MASK);
    if is_away { Meaning::Away } else { Meaning::Refused }
}

/// What a result code says to people.
pub(super) fn words(code: u32) -> &'static str {
    let mut known = AWAY_CODES.iter().chain(&REFUSED_CODES);
    let known = known.find(|(known, _)| *known == code & PRIMARY_MASK);
    known.map_or("SQLite refuses a statement", |(_, words)| words)
}

/// The lowest byte of a result code is the primary one; the rest says more.
const PRIMARY_MASK: u32 = 0xff;

const AWAY_CODES: [(u32, &str); 14] = [
    (3, "the file may not be read"),
    (BUSY_CODE, "another process writes to the file for too long"),
    (6, "another connection holds a lock on a table"),
    (7, "the memory is full"),
    (8, "the file is read-only"),
    (9, "a statement was interrupted"),
    (10, "the disk failed to read or write"),
    (11, "the file is damaged; restore it from a backup"),
    (13, "the disk is full"),
    (14, "the file cannot be opened; look at its folder and its owner"),
    (15, "the file's locks do not work, as on some network file systems"),
    (22, "the system lacks support for large files"),
    (26, "the file is not an SQLite database"),
    (0, "SQLite gave no code"),
];

const REFUSED_CODES: [(u32, &str); 4] = [
    (1, "a statement does not fit the tables; look at triggers of your own on paidup's tables"),
    (18, "a text or a body is too large"),
    (19, "a constraint or a trigger refuses the row"),
    (20, "a value is of another type than its column"),
];

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
                if error.code().is_some_and(|code| {
                    code.parse::<u32>().is_ok_and(|code| code & PRIMARY_MASK == BUSY_CODE)
                }) && Instant::now() < deadline =>
            {
                sleep(CONNECT_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Takes the one writer's place at once: to become a writer later in a transaction can fail.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let begun = raw_sql("begin immediate").execute(connection).await;
    begun.map(drop).map_err(|error| StoreError::from(error).before_begin())
}

/// SQLite has no limit for a statement.
pub(super) async fn begin_batch(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    begin(connection).await
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

pub(super) async fn try_write(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<(), StoreError> {
    let id = id.replace('\'', "");
    let statements = format!(
        "begin immediate;
         insert into events (id, type, livemode, outcome, received_at)
             values ('{id}', 'paidup.trial', false, 'ignored', current_timestamp);
         insert into payments (key, facts) values ('{id}', '{{}}');
         insert into payment_links (id, payment_key) values ('{id}', '{id}');
         insert into orders (id) values ('{id}');
         update orders set weighed = true where id = '{id}';
         insert into order_changes (order_id, version, kinds, to_status, amount_received,
                                    amount_refunded, amount_disputed, at, sequence)
             values ('{id}', 1, '', 'pending', 0, 0, 0, current_timestamp, -1);
         rollback"
    );
    raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
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
    let (orders, pages) = if needs.orders.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        (orders(connection, needs).await?, order_pages(connection, needs).await?)
    };
    Ok(Found { recorded, locked: Vec::new(), loaded: Loaded { links, payments, orders, pages } })
}

pub(super) async fn pages(
    connection: &mut SqliteConnection,
    pages: &BTreeSet<(String, i64)>,
) -> Result<Vec<Payment>, StoreError> {
    let rows: Vec<PaymentRow> = query_as(
        "select payments.order_id, payments.page, facts
         from json_each(?1)
              cross join payments
                  on payments.order_id = value ->> 0 and payments.page = value ->> 1",
    )
    .bind(json(&pages)?)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

async fn order_pages(
    connection: &mut SqliteConnection,
    needs: &Needs,
) -> Result<Vec<Page>, StoreError> {
    let rows: Vec<PageRow> = query_as(
        "select order_id, page, summary from order_pages
         where order_id in (select value from json_each(?1))",
    )
    .bind(json(&needs.orders)?)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
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
        "select order_id, page, facts from payments
         where key in (select value from json_each(?1))
         union all
         select order_id, page, facts from payments
         where order_id in (select value from json_each(?2)) and page = 0
         union all
         select order_id, page, facts from payments
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
    let rows: Vec<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        " from orders where id in (select value from json_each(?1)) order by id"
    ))
    .bind(json(&needs.orders)?)
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(OrderRecord::try_from);
    records.map(|record| record.map(|record| (record.id, record.order))).collect()
}

/// No other session writes while this one does.
pub(super) async fn orders_being_inserted(
    _: &mut SqliteConnection,
    _: &[&str],
) -> Result<Vec<String>, StoreError> {
    Ok(Vec::new())
}

pub(super) async fn tables_are_free(_: &mut SqliteConnection) -> Result<bool, StoreError> {
    Ok(true)
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
             page = value ->> 2,
             subscription = value ->> 3,
             facts = value ->> 4
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
        let (order, subscription) = (&payment.order_id, &payment.facts.subscription);
        rows.push((payment.key(), order, payment.page, subscription, facts));
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

pub(super) async fn write_pages(
    connection: &mut SqliteConnection,
    pages: &[Page],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(pages.len());
    for page in pages {
        rows.push((&page.order_id, page.page, summary_text(page)?));
    }
    // Without `where` SQLite takes `on` for a part of the join.
    query(
        "insert into order_pages (order_id, page, summary)
         select value ->> 0, value ->> 1, value ->> 2 from json_each(?1) where true
         on conflict (order_id, page) do update set summary = excluded.summary",
    )
    .bind(json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// `amount_due` is the shop's. `currency` is what the shop wrote, or that of the money that came.
pub(super) async fn update_orders(
    connection: &mut SqliteConnection,
    orders: &[(String, Order)],
    now: i64,
) -> Result<(), StoreError> {
    query(
        "update orders as old
         set status = value ->> 1,
             currency = value ->> 2,
             amount_received = value ->> 3,
             amount_refunded = value ->> 4,
             amount_disputed = value ->> 5,
             failure_code = value ->> 6,
             failure_message = value ->> 7,
             dispute = value ->> 8,
             disputes = value ->> 9,
             problem = value ->> 10,
             renewals = value ->> 11,
             refunds_failed = value ->> 12,
             customer_email = value ->> 13,
             email_written = value ->> 14,
             version = value ->> 15,
             announced = value ->> 16,
             weighed = 1,
             weighed_due = value ->> 17,
             weighed_currency = value ->> 18,
             currency_written = value ->> 2,
             paid_at = value ->> 19,
             failed_at = value ->> 20,
             refunded_at = value ->> 21,
             created_at = case
                 when unixepoch(value ->> 22) < unixepoch(old.created_at)
                 then value ->> 22 else old.created_at end,
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

/// The rows of the two statements that write orders.
pub(super) fn order_rows(orders: &[(String, Order)]) -> Result<String, StoreError> {
    let mut rows = Vec::with_capacity(orders.len());
    for (id, order) in orders {
        let snapshot = &order.snapshot;
        rows.push(serde_json::json!([
            id,
            snapshot.status.name(),
            snapshot.currency,
            snapshot.amount_received,
            snapshot.amount_refunded,
            snapshot.amount_disputed,
            order.failure_code,
            order.failure_message,
            snapshot.dispute.map(DisputeStatus::name),
            disputes_text(&snapshot.disputes)?,
            snapshot.problem.map(Problem::name),
            snapshot.renewals,
            snapshot.refunds_failed,
            order.customer_email,
            order.email_written,
            order.version,
            order.announced,
            order.due.as_ref().map(|due| due.amount),
            order.due.as_ref().map(|due| &due.currency),
            seconds(order.paid_at),
            seconds(order.failed_at),
            seconds(order.refunded_at),
            seconds(Some(order.created_at)),
        ]));
    }
    json(&rows)
}

pub(super) async fn settle_unparked(
    connection: &mut SqliteConnection,
    unparked: &[Unparked],
) -> Result<(), StoreError> {
    let rows: Vec<_> = unparked
        .iter()
        .flat_map(|one| {
            let keys = one.payment_keys.iter();
            keys.map(|key| (key, &one.order_id, one.is_settled, &one.event_id))
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

pub(super) async fn orders_to_weigh(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar(
        "select id from orders
         where (not weighed
                or amount_due is not weighed_due
                or currency is not currency_written)
           and id > ?1
         order by id
         limit ?2",
    );
    Ok(ids.bind(after).bind(limit).fetch_all(connection).await?)
}

pub(super) async fn parked_orders(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar(
        "select distinct order_id from events
         where outcome = 'parked' and order_id > ?1
         order by order_id
         limit ?2",
    );
    Ok(ids.bind(after).bind(limit).fetch_all(connection).await?)
}

pub(super) async fn settle_held(
    connection: &mut SqliteConnection,
    orders: &[String],
    reason: &str,
) -> Result<(), StoreError> {
    query(
        "update events set outcome = 'applied', reason = ?2
         where outcome = 'parked' and order_id in (select value from json_each(?1))
           and exists (select 1 from orders where orders.id = events.order_id)",
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
    let row: Option<OrderRow> = query_as(concat!(
        "select orders.id, ",
        order_columns!("orders"),
        " from orders where id = ?1"
    ))
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
        "select version, kinds, from_status, to_status, dispute, disputes, problem,
                amount_received, amount_refunded, amount_disputed, currency, event_id,
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
        query_as("select order_id, page, facts from payments where order_id = ?1 order by key")
            .bind(id)
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn events_of(
    connection: &mut SqliteConnection,
    payment_keys: &[String],
    event_ids: &[String],
    order_id: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    Ok(query_as(
        "select id, type, api_version, livemode,
                unixepoch(created) as created,
                payment_key, order_id, outcome, reason, conflicts,
                cast(round(unixepoch(received_at, 'subsec') * 1000) as integer) as received_at
         from events
         where payment_key in (select value from json_each(?1))
            or id in (select value from json_each(?2))
            or (order_id = ?3 and outcome = 'ignored')
         order by received_at, created, id",
    )
    .bind(json(&payment_keys)?)
    .bind(json(&event_ids)?)
    .bind(order_id)
    .fetch_all(connection)
    .await?)
}

pub(super) fn json<T: Serialize>(rows: &T) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_| StoreError::Refused(Failure::new("a row is no JSON")))
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
