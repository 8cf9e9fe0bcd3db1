//! The outbox in SQLite's words. [`super::postgres`] has the same, in the same order.

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as, query_scalar, raw_sql};

use super::{Claim, DeliveryRecord, Disabled, Settlement, Tally, Telling};
use crate::store::StoreError;
use crate::store::sqlite::{json, milliseconds};

/// Takes the one writer's place, shortly: claims and settlements share one commit.
pub(super) async fn begin_outbox(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    raw_sql("begin immediate").execute(connection).await?;
    Ok(())
}

pub(super) async fn due_destinations(
    connection: &mut SqliteConnection,
    names: &[&str],
    now: i64,
) -> Result<Vec<String>, StoreError> {
    let due = query_scalar(
        "select wanted.value from json_each(?1) as wanted
         where exists (select 1 from deliveries
                       where destination = wanted.value and status = 'waiting'
                         and next_attempt_at <= ?2)
           and not exists (select 1 from disabled_destinations as disabled
                           where disabled.name = wanted.value)",
    );
    Ok(due.bind(json(&names)?).bind(milliseconds(now)).fetch_all(connection).await?)
}

pub(super) async fn claim_deliveries(
    connection: &mut SqliteConnection,
    destination: &str,
    limit: i64,
    now: i64,
    until: i64,
) -> Result<Vec<Claim>, StoreError> {
    Ok(query_as(
        "update deliveries
         set claim = claim + 1,
             attempts = attempts + 1,
             claimed_at = ?3,
             next_attempt_at = ?4
         where id in (select id from deliveries
                      where destination = ?1 and status = 'waiting'
                        and next_attempt_at <= ?3
                      order by next_attempt_at, id
                      limit ?2)
         returning id, claim",
    )
    .bind(destination)
    .bind(limit)
    .bind(milliseconds(now))
    .bind(milliseconds(until))
    .fetch_all(connection)
    .await?)
}

pub(super) async fn tellings(
    connection: &mut SqliteConnection,
    ids: &[i64],
) -> Result<Vec<Telling>, StoreError> {
    Ok(query_as(
        "select told.id, told.order_id, told.version, told.attempts,
                cast(round(unixepoch(told.created_at, 'subsec') * 1000) as integer) as created_at,
                change.kinds, change.from_status, change.to_status, change.dispute, change.disputes,
                change.problem, change.amount_received, change.amount_refunded, change.amount_disputed,
                change.currency, change.event_id,
                cast(round(unixepoch(change.at, 'subsec') * 1000) as integer) as at,
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
         where told.id in (select value from json_each(?1))
         order by told.id",
    )
    .bind(json(&ids)?)
    .fetch_all(connection)
    .await?)
}

/// A claim that is not the newest settles nothing.
pub(super) async fn settle_deliveries(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
    now: i64,
) -> Result<Vec<i64>, StoreError> {
    let row = |settlement: &Settlement| {
        let (claim, columns) = (settlement.claim, settlement.end.columns());
        let next_attempt_at = columns.next_attempt_at.map(milliseconds);
        serde_json::json!([
            claim.id,
            claim.claim,
            columns.status,
            next_attempt_at,
            columns.error,
            columns.untried
        ])
    };
    Ok(query_scalar(
        "update deliveries as old
         set status = value ->> 2,
             attempts = old.attempts - (value ->> 5),
             next_attempt_at = coalesce(value ->> 3, old.next_attempt_at),
             last_error = case when value ->> 4 is null then old.last_error else nullif(value ->> 4, '') end,
             claimed_at = null,
             settled_at = case when value ->> 2 <> 'waiting' then ?2 end
         from json_each(?1)
         where old.id = value ->> 0 and old.claim = value ->> 1 and old.status = 'waiting'
         returning id",
    )
    .bind(json(&settlements.iter().map(row).collect::<Vec<_>>())?)
    .bind(milliseconds(now))
    .fetch_all(connection)
    .await?)
}

pub(super) async fn disable_destination(
    connection: &mut SqliteConnection,
    name: &str,
    reason: &str,
    now: i64,
) -> Result<(), StoreError> {
    query(
        "insert into disabled_destinations (name, reason, disabled_at)
         values (?1, ?2, ?3)
         on conflict (name) do nothing",
    )
    .bind(name)
    .bind(reason)
    .bind(milliseconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn enable_destination(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<u64, StoreError> {
    let enabled = query("delete from disabled_destinations where name = ?1").bind(name);
    Ok(enabled.execute(connection).await?.rows_affected())
}

/// From one name to the next by the index, however many rows each has.
pub(super) async fn waiting_destinations(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
) -> Result<Vec<Disabled>, StoreError> {
    Ok(query_as(
        "select name, reason, cast(round(unixepoch(disabled_at, 'subsec') * 1000) as integer) as disabled_at
         from disabled_destinations order by name",
    )
    .fetch_all(connection)
    .await?)
}

/// Numbers grow with time, so the first one in the index is the oldest.
pub(super) async fn oldest_waiting(
    connection: &mut SqliteConnection,
    names: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(query_as(
        "select wanted.value, cast(round(unixepoch(created_at, 'subsec') * 1000) as integer)
         from json_each(?1) as wanted
              join deliveries on deliveries.id = (select id from deliveries
                                                  where destination = wanted.value
                                                    and status = 'waiting'
                                                  order by id
                                                  limit 1)",
    )
    .bind(json(&names)?)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn prune_deliveries(
    connection: &mut SqliteConnection,
    until: i64,
    limit: i64,
) -> Result<u64, StoreError> {
    let pruned = query(
        "delete from deliveries
         where id in (select id from deliveries
                      where status in ('sent', 'skipped', 'dead') and settled_at < ?1
                      limit ?2)",
    );
    Ok(pruned.bind(milliseconds(until)).bind(limit).execute(connection).await?.rows_affected())
}

pub(super) async fn delivery(
    connection: &mut SqliteConnection,
    id: i64,
) -> Result<Option<DeliveryRecord>, StoreError> {
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
         where told.id = ?1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn deliveries(
    connection: &mut SqliteConnection,
    status: Option<&str>,
    destination: Option<&str>,
    limit: i64,
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
         where (?1 is null or told.status = ?1)
           and (?2 is null or told.destination = ?2)
         order by told.id desc
         limit ?3",
    )
    .bind(status)
    .bind(destination)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

pub(super) async fn tallies(connection: &mut SqliteConnection) -> Result<Vec<Tally>, StoreError> {
    Ok(query_as(
        "select destination, status, count(*) as count,
                cast(round(unixepoch(min(created_at), 'subsec') * 1000) as integer) as oldest_at
         from deliveries
         group by destination, status
         order by destination, status",
    )
    .fetch_all(connection)
    .await?)
}

/// The next number of its claim, so that an attempt whose lease has ended settles nothing.
pub(super) async fn retry_delivery(
    connection: &mut SqliteConnection,
    id: i64,
    now: i64,
) -> Result<u64, StoreError> {
    let retried = query(
        "update deliveries
         set status = 'waiting', attempts = 0, claim = claim + 1, claimed_at = null, settled_at = null,
             next_attempt_at = ?2
         where id = ?1
           and (claimed_at is null or next_attempt_at <= ?2)",
    );
    Ok(retried.bind(id).bind(milliseconds(now)).execute(connection).await?.rows_affected())
}

pub(super) async fn retry_dead(
    connection: &mut SqliteConnection,
    destination: Option<&str>,
    now: i64,
) -> Result<u64, StoreError> {
    let retried = query(
        "update deliveries
         set status = 'waiting', attempts = 0, claim = claim + 1, claimed_at = null, settled_at = null,
             next_attempt_at = ?2
         where status = 'dead' and (?1 is null or destination = ?1)",
    );
    Ok(retried.bind(destination).bind(milliseconds(now)).execute(connection).await?.rows_affected())
}
