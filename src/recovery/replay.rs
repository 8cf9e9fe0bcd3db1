//! `paidup replay`: folds recorded events once more, a page at a time.
//!
//! Signatures are not checked again: they were when the events were recorded, and are not kept. The
//! order in which the events come makes no difference, so they go by id, and a replay that was broken
//! off is simply begun again.

use std::io::Write;

use clap::Args;

use super::{RecoveryError, progress, run, since};
use crate::store::archive::events_of_order;
use crate::store::connection::Connection;
use crate::store::replay::{Again, Keep, REPLAY_EVENTS_MAX, Replayed, replay as fold_again};
use crate::store::transaction::Rules;
use crate::store::{Session, Store, StoreError};
use crate::tell;
use crate::unix_milliseconds;

/// The most events that are looked at to find those that fit.
pub const PASSED_EVENTS_MAX: i64 = 1000;

/// Which events, and whether to keep what comes of it.
#[derive(Debug, Default, Clone, Args)]
pub struct ReplayArgs {
    /// Only what came since then: 30m, 12h, 3d, or 2026-11-23T16:00:00Z.
    #[arg(long)]
    pub since: Option<String>,
    /// Only events of this type, e.g. charge.refunded.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only the events of this order.
    #[arg(long)]
    pub order: Option<String>,
    /// Only this event.
    #[arg(long, conflicts_with_all = ["since", "kind", "order"])]
    pub event: Option<String>,
    /// Shows what would change, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What a replay came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Events that were folded again.
    pub events: u64,
    /// Changes of orders.
    pub changes: u64,
    /// Events that something else became of than before.
    pub moved: u64,
    /// Events whose body was pruned or cannot be read.
    pub without_body: u64,
}

impl Tally {
    fn add(&mut self, replayed: &Replayed) {
        self.events += replayed.events.len() as u64;
        self.changes += replayed.changes.len() as u64;
        for event in &replayed.events {
            match event.again {
                Again::Same => {}
                Again::Moved { .. } => self.moved += 1,
                Again::NoBody | Again::Unreadable => self.without_body += 1,
            }
        }
    }
}

/// Replays, and tells on `out` what changes.
///
/// # Errors
/// [`RecoveryError`]. What was committed before it stays.
pub async fn replay(
    store: &Store,
    rules: &Rules,
    args: &ReplayArgs,
    out: &mut impl Write,
) -> Result<Tally, RecoveryError> {
    tell::open(store).await?.close().await;
    let mut connection = Connection::new(store.clone(), super::AWAY_TOLD);
    let mut pages = Pages::of(args, &mut connection).await?;
    let keep = if args.dry_run { Keep::DryRun } else { Keep::Commit };
    let bar = progress("events");
    let mut tally = Tally::default();
    while let Some(ids) = pages.next(&mut connection).await? {
        for ids in ids.chunks(REPLAY_EVENTS_MAX) {
            let replayed = run(&mut connection, async |session| {
                fold_again(session, rules, ids, unix_milliseconds(), keep).await
            })
            .await?;
            tally.add(&replayed);
            bar.set_position(tally.events);
            // Beside a bar the lines would be torn.
            bar.suspend(|| show(&replayed, args.dry_run, out))?;
        }
    }
    bar.finish_and_clear();
    connection.close().await;
    if let (Some(event), 0) = (&args.event, tally.events) {
        return Err(RecoveryError::NoEvent(event.clone()));
    }
    Ok(tally)
}

fn show(replayed: &Replayed, dry_run: bool, out: &mut impl Write) -> std::io::Result<()> {
    let would = if dry_run { "would be " } else { "" };
    for change in &replayed.changes {
        let from = change.from.map_or("new", |from| from.name());
        let to = &change.to;
        let id = tell::printable(&change.order_id);
        writeln!(
            out,
            "order {id}: {would}{from} → {}, received {}, refunded {}",
            to.status.name(),
            crate::domain::money::show(to.amount_received, to.currency.as_deref()),
            crate::domain::money::show(to.amount_refunded, to.currency.as_deref()),
        )?;
    }
    for event in &replayed.events {
        match &event.again {
            Again::Same => {}
            Again::Moved { was, is, reason } => {
                let reason = tell::printable(reason);
                writeln!(
                    out,
                    "event {} ({}): {would}{was} → {is}: {reason}",
                    event.id, event.kind
                )?;
            }
            Again::NoBody => {
                writeln!(out, "event {} ({}): its body was pruned", event.id, event.kind)?;
            }
            Again::Unreadable => {
                writeln!(out, "event {} ({}): its body cannot be read", event.id, event.kind)?;
            }
        }
    }
    Ok(())
}

/// The events to replay, a page at a time.
struct Pages {
    /// All that there is to replay, if that is known from the start.
    chosen: Option<Vec<String>>,
    after: Option<String>,
    since: i64,
    kind: Option<String>,
}

impl Pages {
    async fn of(args: &ReplayArgs, connection: &mut Connection) -> Result<Self, RecoveryError> {
        let from =
            args.since.as_deref().map(|text| since(text, unix_milliseconds())).transpose()?;
        let from = from.unwrap_or(0);
        let kind = args.kind.clone();
        let chosen = match (&args.event, &args.order) {
            (Some(event), _) => Some(vec![event.clone()]),
            (None, Some(order)) => {
                let fits = |event: &crate::store::EventRecord| {
                    event.received_at >= from
                        && kind.as_ref().is_none_or(|kind| *kind == event.kind)
                };
                let events = run(connection, async |session: &mut Session| {
                    let changes = session.order_changes(order).await?;
                    Ok(events_of_order(session, order, &changes).await?.1)
                });
                let events = events.await?;
                if events.is_empty() {
                    return Err(tell::TellError::NoOrder(order.clone()).into());
                }
                Some(events.into_iter().filter(fits).map(|event| event.id).collect())
            }
            (None, None) => None,
        };
        Ok(Self { chosen, after: Some(String::new()), since: from, kind })
    }

    /// The next ones; a page may be empty. `None` when there are no more.
    async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let Some(after) = self.after.take() else { return Ok(None) };
        if let Some(chosen) = self.chosen.take() {
            return Ok(Some(chosen));
        }
        let passed = run(connection, async |session: &mut Session| {
            session.events_passed(&after, self.since, self.kind.as_deref(), PASSED_EVENTS_MAX).await
        })
        .await?;
        self.after = passed.last().map(|last| last.id.clone());
        let fitting = passed.into_iter().filter(|event| event.fits).map(|event| event.id);
        Ok(Some(fitting.collect()))
    }
}
