//! The rounds in Postgres' words. [`super::sqlite`] has the same, in the same order.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::{Round, RoundsRecord};
use crate::store::StoreError;

pub(super) async fn rounds(connection: &mut PgConnection) -> Result<RoundsRecord, StoreError> {
    Ok(query_as(
        "select watermark,
                floor(extract(epoch from next_at) * 1000)::bigint as next_at,
                floor(extract(epoch from succeeded_at) * 1000)::bigint as succeeded_at
         from backfill_rounds",
    )
    .fetch_one(connection)
    .await?)
}

/// Of two who come at once, the second waits for the first one's row, and then it does not fit any more.
pub(super) async fn claim_round(
    connection: &mut PgConnection,
    now: i64,
    until: i64,
) -> Result<Option<Round>, StoreError> {
    Ok(query_as(
        "update backfill_rounds
         set claim = claim + 1, leased_until = to_timestamp($2 / 1000.0)
         where (leased_until is null or leased_until <= to_timestamp($1 / 1000.0))
           and (next_at is null or next_at <= to_timestamp($1 / 1000.0))
         returning claim, watermark",
    )
    .bind(now)
    .bind(until)
    .fetch_optional(connection)
    .await?)
}

pub(super) async fn extend_round(
    connection: &mut PgConnection,
    claim: i64,
    until: i64,
) -> Result<u64, StoreError> {
    let extended = query(
        "update backfill_rounds set leased_until = to_timestamp($2 / 1000.0)
         where claim = $1 and leased_until is not null",
    );
    Ok(extended.bind(claim).bind(until).execute(connection).await?.rows_affected())
}

pub(super) async fn finish_round(
    connection: &mut PgConnection,
    claim: i64,
    watermark: Option<i64>,
    now: i64,
    next_at: i64,
) -> Result<u64, StoreError> {
    let finished = query(
        "update backfill_rounds
         set watermark = $2,
             leased_until = null,
             next_at = to_timestamp($4 / 1000.0),
             succeeded_at = to_timestamp($3 / 1000.0)
         where claim = $1 and leased_until is not null",
    );
    let finished = finished.bind(claim).bind(watermark).bind(now).bind(next_at);
    Ok(finished.execute(connection).await?.rows_affected())
}

pub(super) async fn release_round(
    connection: &mut PgConnection,
    claim: i64,
    next_at: i64,
) -> Result<u64, StoreError> {
    let released = query(
        "update backfill_rounds
         set leased_until = null, next_at = to_timestamp($2 / 1000.0)
         where claim = $1 and leased_until is not null",
    );
    Ok(released.bind(claim).bind(next_at).execute(connection).await?.rows_affected())
}
