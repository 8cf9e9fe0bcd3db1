//! What the console keeps and reads, in SQLite's words. [`super::postgres`] has the same, in the same
//! order.

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar};

use super::{Backlog, OrderTotal, Pulse, SecretUse, Span};
use crate::store::StoreError;
use crate::store::sqlite::commit;

pub(super) async fn count_and_commit(
    connection: &mut SqliteConnection,
    counts: &[(&'static str, i64)],
    now: i64,
) -> Result<(), StoreError> {
    // A handful at most, and in the same process: a statement for each is as good as one for all.
    for (outcome, events) in counts {
        query(
            "insert into event_minutes (minute, outcome, events, last_at)
             values (?3 / 60000, ?1, ?2, ?3)
             on conflict (minute, outcome) do update
             set events = events + excluded.events,
                 last_at = max(last_at, excluded.last_at)",
        )
        .bind(*outcome)
        .bind(events)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    commit(connection).await
}

pub(super) async fn events_by_span(
    connection: &mut SqliteConnection,
    from_minute: i64,
    minutes: i64,
) -> Result<Vec<Span>, StoreError> {
    let spans = query_as(
        "select minute / ?2 as span, outcome, sum(events) as events
         from event_minutes
         where minute >= ?1
         group by 1, outcome
         order by 1, outcome",
    );
    Ok(spans.bind(from_minute).bind(minutes).fetch_all(connection).await?)
}

pub(super) async fn pulse(connection: &mut SqliteConnection) -> Result<Pulse, StoreError> {
    // Each a look at the end of an index. Times are texts that sort as they should.
    let pulse = query_as(
        "select (select max(last_at) from event_minutes
                 where minute = (select max(minute) from event_minutes)) as event_at,
                (select sum(events) from event_minutes
                 where minute = (select max(minute) from event_minutes)) as minute_events,
                (select max(sequence) from order_changes) as change,
                cast(round(unixepoch(nullif(max(
                    coalesce((select max(settled_at) from deliveries where status = 'sent'), ''),
                    coalesce((select max(settled_at) from deliveries where status = 'skipped'), ''),
                    coalesce((select max(settled_at) from deliveries where status = 'dead'), '')
                ), ''), 'subsec') * 1000) as integer) as settled_at",
    );
    Ok(pulse.fetch_one(connection).await?)
}

pub(super) async fn prune_minutes(
    connection: &mut SqliteConnection,
    until_minute: i64,
) -> Result<u64, StoreError> {
    let pruned = query("delete from event_minutes where minute < ?1");
    Ok(pruned.bind(until_minute).execute(connection).await?.rows_affected())
}

pub(super) async fn order_totals(
    connection: &mut SqliteConnection,
) -> Result<Vec<OrderTotal>, StoreError> {
    let totals = query_as(
        "select status, currency, count(*) as orders, count(problem) as problems,
                count(*) filter (where dispute not in ('won', 'prevented')) as disputes,
                sum(amount_received) as received, sum(amount_refunded) as refunded,
                sum(amount_disputed) as disputed
         from orders
         group by status, currency
         order by status, currency",
    );
    Ok(totals.fetch_all(connection).await?)
}

pub(super) async fn backlog(
    connection: &mut SqliteConnection,
    limit: i64,
) -> Result<Backlog, StoreError> {
    let backlog = query_as(
        "select (select count(*) from (select 1 from events where outcome = 'parked' limit ?1)) as parked,
                (select count(*) from (select 1 from deliveries where status = 'waiting' limit ?1)) as waiting,
                (select count(*) from (select 1 from deliveries where status = 'dead' limit ?1)) as dead",
    );
    Ok(backlog.bind(limit).fetch_one(connection).await?)
}

pub(super) async fn note_secret_uses(
    connection: &mut SqliteConnection,
    uses: &[(&str, i64)],
) -> Result<(), StoreError> {
    for (last4, used_at) in uses {
        query(
            "insert into signing_secret_uses (last4, used_at) values (?1, ?2)
             on conflict (last4) do update set used_at = max(used_at, excluded.used_at)",
        )
        .bind(*last4)
        .bind(used_at)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn secret_uses(
    connection: &mut SqliteConnection,
) -> Result<Vec<SecretUse>, StoreError> {
    let uses =
        query_as("select last4, used_at from signing_secret_uses order by used_at desc, last4");
    Ok(uses.fetch_all(connection).await?)
}

pub(super) async fn open_console_session(
    connection: &mut SqliteConnection,
    cookie_hash: &[u8],
    expires_at: i64,
    now: i64,
) -> Result<(), StoreError> {
    query("delete from console_sessions where expires_at <= ?1")
        .bind(now)
        .execute(&mut *connection)
        .await?;
    query("insert into console_sessions (cookie_hash, expires_at) values (?1, ?2)")
        .bind(cookie_hash)
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn console_session_is_open(
    connection: &mut SqliteConnection,
    cookie_hash: &[u8],
    now: i64,
) -> Result<bool, StoreError> {
    let is_open = query_scalar(
        "select exists (select 1 from console_sessions where cookie_hash = ?1 and expires_at > ?2)",
    );
    Ok(is_open.bind(cookie_hash).bind(now).fetch_one(connection).await?)
}

pub(super) async fn close_console_session(
    connection: &mut SqliteConnection,
    cookie_hash: &[u8],
) -> Result<(), StoreError> {
    query("delete from console_sessions where cookie_hash = ?1")
        .bind(cookie_hash)
        .execute(connection)
        .await?;
    Ok(())
}
