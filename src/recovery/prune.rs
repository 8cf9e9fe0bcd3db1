//! `paidup prune`: drops now what the service would drop within the hour.

use super::{RecoveryError, progress, run};
use crate::ingest::{Old, PRUNE_ROWS_MAX, Retention};
use crate::store::connection::Connection;
use crate::store::{Session, Store};
use crate::tell;
use crate::unix_milliseconds;

/// The most rows that one statement of a dry run looks at.
pub const LOOK_ROWS_MAX: i64 = 5000;

/// How much was, or would be, pruned.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Bodies dropped.
    pub bodies: u64,
    /// Events deleted.
    pub events: u64,
    /// Settled notifications deleted.
    pub deliveries: u64,
}

/// Prunes what is older than the retention; nothing, if bodies are kept for ever. A dry run counts.
///
/// # Errors
/// [`RecoveryError`]. What was pruned before it stays so.
pub async fn prune(
    store: &Store,
    retention: Retention,
    dry_run: bool,
) -> Result<Pruned, RecoveryError> {
    tell::open(store).await?.close().await;
    let Some(old) = retention.old(unix_milliseconds()) else { return Ok(Pruned::default()) };
    let mut connection = Connection::new(store.clone(), super::AWAY_TOLD);
    let pruned = if dry_run {
        count(&mut connection, old).await?
    } else {
        all(&mut connection, old).await?
    };
    connection.close().await;
    Ok(pruned)
}

/// Looks at every row, so many at a time that a statement is short however many there are.
async fn count(
    connection: &mut Connection,
    Old { bodies_until, ids_until }: Old,
) -> Result<Pruned, RecoveryError> {
    let bar = progress("rows");
    let mut pruned = Pruned::default();
    let mut after = String::new();
    loop {
        let page = run(connection, async |session: &mut Session| {
            session.prunable_events(&after, bodies_until, ids_until, LOOK_ROWS_MAX).await
        });
        let page = page.await?;
        pruned.bodies += page.bodies.unsigned_abs();
        pruned.events += page.rows.unsigned_abs();
        bar.inc(LOOK_ROWS_MAX.unsigned_abs());
        let Some(last) = page.last else { break };
        after = last;
    }
    let mut after = 0;
    loop {
        let page = run(connection, async |session: &mut Session| {
            session.prunable_deliveries(after, bodies_until, LOOK_ROWS_MAX).await
        });
        let page = page.await?;
        pruned.deliveries += page.rows.unsigned_abs();
        bar.inc(LOOK_ROWS_MAX.unsigned_abs());
        let Some(last) = page.last else { break };
        after = last;
    }
    bar.finish_and_clear();
    Ok(pruned)
}

async fn all(
    connection: &mut Connection,
    Old { bodies_until, ids_until }: Old,
) -> Result<Pruned, RecoveryError> {
    let bar = progress("rows");
    let mut pruned = Pruned::default();
    loop {
        let step = run(connection, async |session: &mut Session| {
            // The events first: a body need not be dropped from a row that goes as well.
            let events = session.prune_events(0, ids_until, PRUNE_ROWS_MAX).await?;
            let bodies = session.prune_bodies(0, bodies_until, PRUNE_ROWS_MAX).await?;
            let deliveries = session.prune_deliveries(bodies_until, PRUNE_ROWS_MAX).await?;
            Ok(Pruned { bodies, events, deliveries })
        })
        .await?;
        pruned.bodies += step.bodies;
        pruned.events += step.events;
        pruned.deliveries += step.deliveries;
        bar.set_position(pruned.bodies + pruned.events + pruned.deliveries);
        if step == Pruned::default() {
            bar.finish_and_clear();
            return Ok(pruned);
        }
    }
}
