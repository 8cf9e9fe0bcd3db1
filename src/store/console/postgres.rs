//! What the console keeps and reads, in Postgres' words. [`super::sqlite`] has the same, in the same
//! order.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, query, query_as, query_scalar, raw_sql};

use super::{Backlog, OrderTotal, Pulse, SecretUse, Span};
use crate::store::StoreError;
use crate::store::postgres::commit;

/// One round trip. The values are ours, numbers and [`super::OUTCOMES`], and stand in the text.
pub(super) async fn count_and_commit(
    connection: &mut PgConnection,
    counts: &[(&'static str, i64)],
    now: i64,
) -> Result<(), StoreError> {
    if counts.is_empty() {
        // Nothing was written.
        return commit(connection).await;
    }
    let minute = now / 60_000;
    let rows =
        counts.iter().map(|(outcome, events)| format!("({minute}, '{outcome}', {events}, {now})"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    let statements = format!(
        "insert into event_minutes as old (minute, outcome, events, last_at) values {rows}
         on conflict (minute, outcome) do update
         set events = old.events + excluded.events,
             last_at = greatest(old.last_at, excluded.last_at);
         set local statement_timeout = '10s';
         commit"
    );
    raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}

pub(super) async fn events_by_span(
    connection: &mut PgConnection,
    from_minute: i64,
    minutes: i64,
) -> Result<Vec<Span>, StoreError> {
    let spans = query_as(
        "select minute / $2 as span, outcome, sum(events)::bigint as events
         from event_minutes
         where minute >= $1
         group by 1, outcome
         order by 1, outcome",
    );
    Ok(spans.bind(from_minute).bind(minutes).fetch_all(connection).await?)
}

pub(super) async fn pulse(connection: &mut PgConnection) -> Result<Pulse, StoreError> {
    // Each a look at the end of an index.
    let pulse = query_as(
        "select (select max(last_at) from event_minutes
                 where minute = (select max(minute) from event_minutes)) as event_at,
                (select sum(events)::bigint from event_minutes
                 where minute = (select max(minute) from event_minutes)) as minute_events,
                (select max(sequence) from order_changes) as change,
                floor(extract(epoch from greatest(
                    (select max(settled_at) from deliveries where status = 'sent'),
                    (select max(settled_at) from deliveries where status = 'skipped'),
                    (select max(settled_at) from deliveries where status = 'dead')
                )) * 1000)::bigint as settled_at",
    );
    Ok(pulse.fetch_one(connection).await?)
}

pub(super) async fn prune_minutes(
    connection: &mut PgConnection,
    until_minute: i64,
) -> Result<u64, StoreError> {
    let pruned = query("delete from event_minutes where minute < $1");
    Ok(pruned.bind(until_minute).execute(connection).await?.rows_affected())
}

/// In a transaction of its own, for the one statement that is right to read a table whole. On one processor:
/// nobody waits for it, and the others are the writer's.
pub(super) async fn order_totals(
    connection: &mut PgConnection,
) -> Result<Vec<OrderTotal>, StoreError> {
    raw_sql(
        "begin read only;
         set local enable_seqscan = on;
         set local max_parallel_workers_per_gather = 0",
    )
    .execute(&mut *connection)
    .await?;
    let totals = query_as(
        "select status, currency, count(*) as orders, count(problem) as problems,
                count(*) filter (where dispute not in ('won', 'prevented')) as disputes,
                sum(amount_received)::bigint as received, sum(amount_refunded)::bigint as refunded,
                sum(amount_disputed)::bigint as disputed
         from orders
         group by status, currency
         order by status, currency",
    )
    .fetch_all(&mut *connection)
    .await?;
    raw_sql("commit").execute(connection).await?;
    Ok(totals)
}

pub(super) async fn backlog(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Backlog, StoreError> {
    let backlog = query_as(
        "select (select count(*) from (select from events where outcome = 'parked' limit $1) as few) as parked,
                (select count(*) from (select from deliveries where status = 'waiting' limit $1) as few) as waiting,
                (select count(*) from (select from deliveries where status = 'dead' limit $1) as few) as dead",
    );
    Ok(backlog.bind(limit).fetch_one(connection).await?)
}

pub(super) async fn note_secret_uses(
    connection: &mut PgConnection,
    uses: &[(&str, i64)],
) -> Result<(), StoreError> {
    let (last4, used_at): (Vec<&str>, Vec<i64>) = uses.iter().copied().unzip();
    query(
        "insert into signing_secret_uses as old (last4, used_at)
         select last4, max(used_at) from unnest($1::text[], $2::bigint[]) as new (last4, used_at)
         group by last4
         order by last4
         on conflict (last4) do update set used_at = greatest(old.used_at, excluded.used_at)",
    )
    .bind(last4)
    .bind(used_at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn secret_uses(
    connection: &mut PgConnection,
) -> Result<Vec<SecretUse>, StoreError> {
    let uses =
        query_as("select last4, used_at from signing_secret_uses order by used_at desc, last4");
    Ok(uses.fetch_all(connection).await?)
}

pub(super) async fn open_console_session(
    connection: &mut PgConnection,
    cookie_hash: &[u8],
    expires_at: i64,
    now: i64,
) -> Result<(), StoreError> {
    query(
        "with over as (delete from console_sessions where expires_at <= $3)
         insert into console_sessions (cookie_hash, expires_at) values ($1, $2)",
    )
    .bind(cookie_hash)
    .bind(expires_at)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn console_session_is_open(
    connection: &mut PgConnection,
    cookie_hash: &[u8],
    now: i64,
) -> Result<bool, StoreError> {
    let is_open = query_scalar(
        "select exists (select from console_sessions where cookie_hash = $1 and expires_at > $2)",
    );
    Ok(is_open.bind(cookie_hash).bind(now).fetch_one(connection).await?)
}

pub(super) async fn close_console_session(
    connection: &mut PgConnection,
    cookie_hash: &[u8],
) -> Result<(), StoreError> {
    query("delete from console_sessions where cookie_hash = $1")
        .bind(cookie_hash)
        .execute(connection)
        .await?;
    Ok(())
}
