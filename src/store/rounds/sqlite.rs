//! The rounds in SQLite's words. [`super::postgres`] has the same, in the same order.

use sqlx::sqlite::SqliteConnection;
use sqlx::{query, query_as};

use super::{Round, RoundsRecord};
use crate::store::StoreError;
use crate::store::sqlite::milliseconds;

pub(super) async fn rounds(connection: &mut SqliteConnection) -> Result<RoundsRecord, StoreError> {
    Ok(query_as(
        "select watermark,
                cast(round(unixepoch(next_at, 'subsec') * 1000) as integer) as next_at,
                cast(round(unixepoch(succeeded_at, 'subsec') * 1000) as integer) as succeeded_at
         from backfill_rounds",
    )
    .fetch_one(connection)
    .await?)
}

pub(super) async fn claim_round(
    connection: &mut SqliteConnection,
    now: i64,
    until: i64,
) -> Result<Option<Round>, StoreError> {
    Ok(query_as(
        "update backfill_rounds
         set claim = claim + 1, leased_until = ?2
         where (leased_until is null or leased_until <= ?1)
           and (next_at is null or next_at <= ?1)
         returning claim, watermark",
    )
    .bind(milliseconds(now))
    .bind(milliseconds(until))
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn extend_round(
    connection: &mut SqliteConnection,
    claim: i64,
    until: i64,
) -> Result<u64, StoreError> {
    let extended = query(
        "update backfill_rounds set leased_until = ?2
         where claim = ?1 and leased_until is not null",
    );
    Ok(extended.bind(claim).bind(milliseconds(until)).execute(connection).await?.rows_affected())
}

pub(super) async fn finish_round(
    connection: &mut SqliteConnection,
    claim: i64,
    watermark: Option<i64>,
    now: i64,
    next_at: i64,
) -> Result<u64, StoreError> {
    let finished = query(
        "update backfill_rounds
         set watermark = ?2,
             leased_until = null,
             next_at = ?4,
             succeeded_at = ?3
         where claim = ?1 and leased_until is not null",
    );
    let finished =
        finished.bind(claim).bind(watermark).bind(milliseconds(now)).bind(milliseconds(next_at));
    Ok(finished.execute(connection).await?.rows_affected())
}

pub(super) async fn release_round(
    connection: &mut SqliteConnection,
    claim: i64,
    next_at: i64,
) -> Result<u64, StoreError> {
    let released = query(
        "update backfill_rounds
         set leased_until = null, next_at = ?2
         where claim = ?1 and leased_until is not null",
    );
    Ok(released.bind(claim).bind(milliseconds(next_at)).execute(connection).await?.rows_affected())
}
