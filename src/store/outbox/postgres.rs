//! The outbox in Postgres' words. [`super::sqlite`] has the same, in the same order.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as, query_scalar, raw_sql};

use super::{Claim, DeliveryRecord, Disabled, Settlement, Tally, Telling};
use crate::store::StoreError;

/// No lock for all: rows are claimed by whoever locks them first.
pub(super) async fn begin_outbox(connection: &mut PgConnection) -> Result<(), StoreError> {
    raw_sql("begin isolation level read committed").execute(connection).await?;
    Ok(())
}

pub(super) async fn due_destinations(
    connection: &mut PgConnection,
    names: &[&str],
    now: i64,
) -> Result<Vec<String>, StoreError> {
    let due = query_scalar(
        "select name from unnest($1::text[]) as wanted (name)
         where exists (select 1 from deliveries
                       where destination = wanted.name and status = 'waiting'
                         and next_attempt_at <= to_timestamp($2 / 1000.0))
           and not exists (select 1 from disabled_destinations as disabled
                           where disabled.name = wanted.name)",
    );
    Ok(due.bind(names).bind(now).fetch_all(connection).await?)
}

/// Rows that another process is about to claim are left to it.
pub(super) async fn claim_deliveries(
    connection: &mut PgConnection,
    destination: &str,
    limit: i64,
    now: i64,
    until: i64,
) -> Result<Vec<Claim>, StoreError> {
    Ok(query_as(
        "update deliveries
         set claim = claim + 1,
             attempts = attempts + 1,
             claimed_at = to_timestamp($3 / 1000.0),
             next_attempt_at = to_timestamp($4 / 1000.0)
         where id = any (array(
                   select id from deliveries
                   where destination = $1 and status = 'waiting'
                     and next_attempt_at <= to_timestamp($3 / 1000.0)
                   order by next_attempt_at, id
                   limit $2
                   for update skip locked))
         returning id, claim",
    )
    .bind(destination)
    .bind(limit)
    .bind(now)
    .bind(until)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn tellings(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<Telling>, StoreError> {
    Ok(query_as(
        "select told.id, told.order_id, told.version, told.attempts::bigint as attempts,
                floor(extract(epoch from told.created_at) * 1000)::bigint as created_at,
                change.kinds, change.from_status, change.to_status, change.dispute, change.disputes,
                change.problem, change.amount_received, change.amount_refunded, change.amount_disputed,
                change.currency, change.event_id,
                floor(extract(epoch from change.at) * 1000)::bigint as at,
                orders.amount_due, orders.customer_email,
                coalesce(orders.weighed_currency, orders.currency) as due_currency,
                case when orders.version = told.version then orders.failure_code end as failure_code,
                case when orders.version = told.version then orders.failure_message end as failure_message,
                exists (select 1 from deliveries as later
                        where later.order_id = told.order_id
                          and later.destination = told.destination
                          and later.version > told.version
                          and later.status = 'sent') as is_overtaken
         from deliveries as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
              join orders on orders.id = told.order_id
         where told.id = any($1)
         order by told.id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?)
}

/// A claim that is not the newest settles nothing. The ids are given twice: by the second the rows are
/// found, whatever Postgres thinks of how many wait.
pub(super) async fn settle_deliveries(
    connection: &mut PgConnection,
    settlements: &[Settlement],
    now: i64,
) -> Result<Vec<i64>, StoreError> {
    let claims = || settlements.iter().map(|settlement| settlement.claim);
    let columns = || settlements.iter().map(|settlement| settlement.end.columns());
    Ok(query_scalar(
        "update deliveries as old
         set status = new.status,
             attempts = old.attempts - new.untried,
             next_attempt_at = coalesce(to_timestamp(new.next_attempt_at / 1000.0), old.next_attempt_at),
             last_error = case when new.error is null then old.last_error else nullif(new.error, '') end,
             claimed_at = null,
             settled_at = case when new.status <> 'waiting' then to_timestamp($7 / 1000.0) end
         from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
              as new (id, claim, status, next_attempt_at, error, untried)
         where old.id = new.id and old.claim = new.claim and old.status = 'waiting'
           and old.id = any($1)
         returning old.id",
    )
    .bind(claims().map(|claim| claim.id).collect::<Vec<_>>())
    .bind(claims().map(|claim| claim.claim).collect::<Vec<_>>())
    .bind(columns().map(|columns| columns.status).collect::<Vec<_>>())
    .bind(columns().map(|columns| columns.next_attempt_at).collect::<Vec<_>>())
    .bind(columns().map(|columns| columns.error).collect::<Vec<_>>())
    .bind(columns().map(|columns| columns.untried).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn disable_destination(
    connection: &mut PgConnection,
    name: &str,
    reason: &str,
    now: i64,
) -> Result<(), StoreError> {
    query(
        "insert into disabled_destinations (name, reason, disabled_at)
         values ($1, $2, to_timestamp($3 / 1000.0))
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(reason)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn enable_destination(
    connection: &mut PgConnection,
    name: &str,
) -> Result<u64, StoreError> {
    let enabled = query("delete from disabled_destinations where name = $1").bind(name);
    Ok(enabled.execute(connection).await?.rows_affected())
}

/// From one name to the next by the index, however many rows each has.
pub(super) async fn waiting_destinations(
    connection: &mut PgConnection,
) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "with recursive names (name) as (
             select min(destination) from deliveries where status = 'waiting'
             union all
             select (select min(destination) from deliveries
                     where status = 'waiting' and destination > names.name)
             from names where names.name is not null)
         select name from names where name is not null",
    )
    .fetch_all(connection)
    .await?)
}

pub(super) async fn disabled_destinations(
    connection: &mut PgConnection,
) -> Result<Vec<Disabled>, StoreError> {
    Ok(query_as(
        "select name, reason, floor(extract(epoch from disabled_at) * 1000)::bigint as disabled_at
         from disabled_destinations order by name",
    )
    .fetch_all(connection)
    .await?)
}

/// Numbers grow with time, so the first one in the index is the oldest.
pub(super) async fn oldest_waiting(
    connection: &mut PgConnection,
    names: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(query_as(
        "select wanted.name, floor(extract(epoch from oldest.created_at) * 1000)::bigint
         from unnest($1::text[]) as wanted (name)
              cross join lateral (select created_at from deliveries
                                  where destination = wanted.name and status = 'waiting'
                                  order by id
                                  limit 1) as oldest",
    )
    .bind(names)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn prune_deliveries(
    connection: &mut PgConnection,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "delete from deliveries
         where id = any (array(
                   select id from deliveries
                   where status in ('sent', 'skipped', 'dead')
                     and settled_at < to_timestamp($1 / 1000.0)
                   limit $2))
           and status <> 'waiting'",
    );
    Ok(pruned.bind(until).bind(limit).execute(connection).await?.rows_affected())
}

pub(super) async fn delivery(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Option<DeliveryRecord>, StoreError> {
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
         where told.id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn deliveries(
    connection: &mut PgConnection,
    status: Option<&str>,
    destination: Option<&str>,
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
         from deliveries as told
              join order_changes as change
                  on change.order_id = told.order_id and change.version = told.version
         where ($1::text is null or told.status = $1)
           and ($2::text is null or told.destination = $2)
         order by told.id desc
         limit $3",
    )
    .bind(status)
    .bind(destination)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn tallies(connection: &mut PgConnection) -> Result<Vec<Tally>, StoreError> {
    Ok(query_as(
        "select destination, status, count(*) as count,
                floor(extract(epoch from min(created_at)) * 1000)::bigint as oldest_at
         from deliveries
         group by destination, status
         order by destination, status",
    )
    .fetch_all(connection)
    .await?)
}

/// The next number of its claim, so that an attempt whose lease has ended settles nothing.
pub(super) async fn retry_delivery(
    connection: &mut PgConnection,
    id: i64,
    now: i64,
) -> Result<u64, StoreError> {
    let retried = query(
        "update deliveries
         set status = 'waiting', attempts = 0, claim = claim + 1, claimed_at = null, settled_at = null,
             next_attempt_at = to_timestamp($2 / 1000.0)
         where id = $1
           and (claimed_at is null or next_attempt_at <= to_timestamp($2 / 1000.0))",
    );
    Ok(retried.bind(id).bind(now).execute(connection).await?.rows_affected())
}

pub(super) async fn retry_dead(
    connection: &mut PgConnection,
    destination: Option<&str>,
    now: i64,
) -> Result<u64, StoreError> {
    let retried = query(
        "update deliveries
         set status = 'waiting', attempts = 0, claim = claim + 1, claimed_at = null, settled_at = null,
             next_attempt_at = to_timestamp($2 / 1000.0)
         where status = 'dead' and ($1::text is null or destination = $1)",
    );
    Ok(retried.bind(destination).bind(now).execute(connection).await?.rows_affected())
}
