//! The first page: is Stripe reaching us, and is anything stuck?
//!
//! Refusals, the queue and commit times are this process's own and shown as that; the rest is in the
//! database, and everybody's. Totals of orders read a whole table, so they are counted beside the page, at
//! most once a minute while somebody looks, and the page says as of when they are.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::chart::{Chart, Frame};
use super::process::Measured;
use super::shell::{Shell, Trouble, page};
use super::words::{age, grouped, milliseconds, time};
use super::{Console, User};
use crate::domain::money;
use crate::ingest::QUEUE_EVENTS_MAX;
use crate::store::console::{Backlog, OrderTotal, Pulse, SecretUse, Span};
use crate::store::{Session, StoreError};

/// Totals are counted no more often than this.
pub const TOTALS_SECONDS: u64 = 60;
/// A count rests for so many times as long as it took: with a large table it takes 2 % of one processor.
pub const TOTALS_REST: u32 = 50;
/// What waits is counted so far.
pub const BACKLOG_MAX: i64 = 10_000;
/// A secret that was not used for so long can be left out: it is longer than Stripe tries again.
pub const SECRET_QUIET_DAYS: i64 = 4;
const HOUR: Frame = Frame {
    id: "hour",
    title: "Events per minute, last hour",
    bars: 60,
    minutes: 1,
    mark_every: 10,
};
const DAY: Frame = Frame {
    id: "day",
    title: "Events per quarter of an hour, last day",
    bars: 96,
    minutes: 15,
    mark_every: 12,
};

/// The last totals.
#[derive(Default)]
pub(super) struct Totals {
    rows: Option<Vec<OrderTotal>>,
    /// The last count did not come to an end.
    is_failed: bool,
    /// When they were counted, in milliseconds.
    counted_at: i64,
    /// When the next count may begin; at once if there was none.
    next: Option<Instant>,
}

/// A figure at the head of the page.
struct Tile {
    name: &'static str,
    value: String,
    beside: String,
    /// `good`, `warn`, `bad` or nothing.
    mood: &'static str,
    link: Option<&'static str>,
}

struct TotalRow {
    status: String,
    orders: String,
    received: String,
    refunded: String,
    kept: String,
    problems: i64,
    disputes: i64,
}

struct SecretRow {
    last4: String,
    used: String,
    told: &'static str,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    tiles: Vec<Tile>,
    charts: [Chart; 2],
    totals: Option<Vec<TotalRow>>,
    counted_at: String,
    is_uncounted: bool,
    secrets: Vec<SecretRow>,
    refusals: Vec<(String, u64)>,
}

/// What is read for the page.
struct Read {
    pulse: Pulse,
    hour: Vec<Span>,
    day: Vec<Span>,
    backlog: Backlog,
    secrets: Vec<SecretUse>,
}

async fn read(session: &mut Session, minute: i64) -> Result<Read, StoreError> {
    Ok(Read {
        pulse: session.pulse().await?,
        hour: session.events_by_span(HOUR.first(minute) * HOUR.minutes, HOUR.minutes).await?,
        day: session.events_by_span(DAY.first(minute) * DAY.minutes, DAY.minutes).await?,
        backlog: session.backlog(BACKLOG_MAX).await?,
        secrets: session.secret_uses().await?,
    })
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(user): Extension<User>,
) -> Result<Response, Trouble> {
    let now = console.now();
    let minute = now / 60_000;
    let read = console.run(move |session| Box::pin(read(session, minute))).await?;
    let measured = Measured::read(&console.0.parts.metrics.render());
    let (totals, counted_at, is_uncounted) = totals(&console);
    page(&OverviewPage {
        shell: Shell::live(&user, "Overview"),
        tiles: tiles(&console, &read, &measured, now),
        charts: [HOUR.draw(&read.hour, minute), DAY.draw(&read.day, minute)],
        totals: totals.map(|rows| rows.iter().map(total_row).collect()),
        counted_at: milliseconds(counted_at),
        is_uncounted,
        secrets: secrets(&console.0.parts.secrets.all(), read.secrets, now),
        refusals: measured.refusals,
    })
}

fn tiles(console: &Console, read: &Read, measured: &Measured, now: i64) -> Vec<Tile> {
    let tile = |name, value, beside: &str, mood| Tile {
        name,
        value,
        beside: beside.to_owned(),
        mood,
        link: None,
    };
    let last = read.pulse.event_at.map_or_else(|| "none yet".to_owned(), |at| age(now - at));
    let queued = console.0.parts.ingest.queued();
    let queue_mood = if queued * 2 > QUEUE_EVENTS_MAX { "bad" } else { "" };
    let Backlog { parked, waiting, dead } = read.backlog;
    let refused = measured.refusals.iter().map(|(_, count)| count).sum::<u64>();
    let p99 = format!("p99 {}", time(measured.commit_p99));
    vec![
        tile("Last event", last, "from Stripe, recorded", ""),
        tile("Commit time", time(measured.commit_p50), &format!("median; {p99}"), ""),
        tile("Queue", queued.to_string(), &format!("of {QUEUE_EVENTS_MAX} events"), queue_mood),
        tile("Refused calls", grouped(refused.cast_signed()), "since this process started", ""),
        Tile {
            link: Some("/console/events?outcome=parked"),
            ..tile("Parked events", upto(parked), "wait for their order", mood(parked, "warn"))
        },
        Tile {
            link: Some("/console/notifications?status=waiting"),
            ..tile("Notifications waiting", upto(waiting), "to be sent", "")
        },
        Tile {
            link: Some("/console/notifications?status=dead"),
            ..tile("Notifications dead", upto(dead), "given up", mood(dead, "bad"))
        },
    ]
}

fn mood(count: i64, mood: &'static str) -> &'static str {
    if count > 0 { mood } else { "" }
}

fn upto(count: i64) -> String {
    let more = if count >= BACKLOG_MAX { "+" } else { "" };
    format!("{}{more}", grouped(count))
}

fn total_row(total: &OrderTotal) -> TotalRow {
    let show = |amount| money::show(amount, total.currency.as_deref());
    TotalRow {
        status: total.status.clone(),
        orders: grouped(total.orders),
        received: show(total.received),
        refunded: show(total.refunded),
        kept: show(total.received.saturating_sub(total.refunded)),
        problems: total.problems,
        disputes: total.disputes,
    }
}

/// What every process has noted and what this one knows, as one.
fn secrets(ours: &[(String, i64)], noted: Vec<SecretUse>, now: i64) -> Vec<SecretRow> {
    let mut all = noted;
    for (last4, used_at) in ours {
        match all.iter_mut().find(|one| one.last4 == *last4) {
            Some(one) => one.used_at = one.used_at.max(*used_at),
            None => all.push(SecretUse { last4: last4.clone(), used_at: *used_at }),
        }
    }
    all.sort_by(|one, other| (other.used_at, &one.last4).cmp(&(one.used_at, &other.last4)));
    let row = |secret: SecretUse| {
        let is_set = ours.iter().any(|(last4, _)| *last4 == secret.last4);
        let is_quiet = now - secret.used_at > SECRET_QUIET_DAYS * 24 * 60 * 60 * 1000;
        let told = match (is_set, is_quiet) {
            (false, _) => "not set any more",
            (true, true) if ours.len() > 1 => "may be left out, if it is the old one",
            (true, _) => "in use",
        };
        let used = match secret.used_at {
            0 => "never".to_owned(),
            at => age(now - at),
        };
        SecretRow { last4: secret.last4, used, told }
    };
    all.into_iter().map(row).collect()
}

/// The last totals. If they are old, a count begins, and open pages hear of it when it is done.
fn totals(console: &Console) -> (Option<Vec<OrderTotal>>, i64, bool) {
    let mut totals = console.0.totals.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    if totals.next.is_none_or(|next| begun >= next) {
        totals.next = Some(begun + rest(Duration::ZERO));
        let console = console.clone();
        tokio::spawn(async move {
            let counted_at = console.now();
            let count = console.run(|session| Box::pin(session.order_totals()));
            let counted = count.await;
            let mut totals = console.0.totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.next = Some(begun + rest(begun.elapsed()));
            totals.is_failed = counted.is_err();
            if let Ok(rows) = counted {
                (totals.rows, totals.counted_at) = (Some(rows), counted_at);
            }
            drop(totals);
            console.0.live.beat();
        });
    }
    (totals.rows.clone(), totals.counted_at, totals.is_failed)
}

/// From the beginning of a count that took so long to that of the next one.
fn rest(took: Duration) -> Duration {
    (took * TOTALS_REST).max(Duration::from_secs(TOTALS_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_takes_long_is_rare() {
        for (took, seconds) in [(0, 60), (1000, 60), (1200, 60), (2000, 100), (10_000, 500)] {
            assert_eq!(
                rest(Duration::from_millis(took)),
                Duration::from_secs(seconds),
                "{took} ms"
            );
        }
    }

    #[test]
    fn numbers_are_shown_to_be_read() {
        for (count, shown) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (9999, "9,999"), (BACKLOG_MAX, "10,000+")]
        {
            assert_eq!(upto(count), shown);
        }
    }

    #[test]
    fn a_secret_that_rests_may_be_left_out() {
        let (now, day) = (100 * 86_400_000, 86_400_000);
        let told = |ours: &[(&str, i64)], noted: &[(&str, i64)]| {
            let ours: Vec<(String, i64)> =
                ours.iter().map(|(last4, at)| ((*last4).to_owned(), *at)).collect();
            let noted = noted.iter();
            let noted = noted.map(|(last4, used_at)| SecretUse {
                last4: (*last4).to_owned(),
                used_at: *used_at,
            });
            let rows = secrets(&ours, noted.collect(), now).into_iter();
            rows.map(|row| (row.last4, row.used, row.told)).collect::<Vec<_>>()
        };
        let row = |last4: &str, used: &str, told| (last4.to_owned(), used.to_owned(), told);
        assert_eq!(told(&[("abcd", 0)], &[]), [row("abcd", "never", "in use")]);
        assert_eq!(
            told(&[("new1", now - 1000), ("old1", 0)], &[("old1", now - 5 * day), ("gone", 0)]),
            [
                row("new1", "1 s ago", "in use"),
                row("old1", "5 days ago", "may be left out, if it is the old one"),
                row("gone", "never", "not set any more"),
            ]
        );
        // What another process saw counts.
        assert_eq!(
            told(&[("new1", 0)], &[("new1", now - 2000)]),
            [row("new1", "2 s ago", "in use")]
        );
    }
}
