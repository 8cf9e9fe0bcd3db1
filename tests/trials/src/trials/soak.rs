//! Half the peak rate for a long time, while old events are pruned: nothing may grow that should not.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Answer, Driver, Load};
use crate::events::Events;
use crate::form::Form;
use crate::judge::judge;
use crate::process::Recipe;
use crate::report::{Report, percentile};

const CONNECTIONS: usize = 64;
const SAMPLES: u32 = 60;
const SLOPE_MIB_PER_HOUR_MAX: f64 = 1.0;
/// The p99 of the last third, as a multiple of that of the first.
const P99_GROWTH_MAX: f64 = 2.0;
/// The events and their indexes, as a multiple of what their rows hold.
const SIZE_MAX: f64 = 2.0;
/// Events that came so long ago that nothing of them is kept.
const OLD: &str = "insert into events (id, type, livemode, outcome, body, received_at)
    select 'evt_old_' || n, 'charge.updated', true, 'ignored', convert_to(repeat('-', 2000), 'UTF8'),
           now() - interval '500 days'
    from generate_series(1, ";

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("trial").await?;
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (paidup, _) = recipe.start().await?;

        // How fast can it go here?
        let load = Load::new(Events::new("peak"), CONNECTIONS, &[recipe.address]);
        let driver = Driver::start(form, load.clone())?;
        let measured = Duration::from_secs(form.pick(3, 20));
        sleep(measured).await;
        let peak = driver.answered(200) as f64 / measured.as_secs_f64();
        driver.finish().await?;

        let mut database = Database::open(&url).await?;
        database.execute("truncate events, payments, payment_links, orders cascade").await?;
        let old = form.pick(5_000, 300_000);
        database.execute(&format!("{OLD}{old}) as n")).await?;
        // What is old when it starts is pruned first.
        paidup.kill()?;
        let (paidup, _) = recipe.start().await?;
        let half = Load { events: Events::new("soak"), per_second: Some(peak / 2.0), ..load };
        let driver = Driver::start(form, half)?;
        let length = Duration::from_secs(form.pick(60, 3600));
        // The first third warms up: allocators and plans come to rest.
        let (started, mut memory) = (Instant::now(), Vec::new());
        for _ in 0..SAMPLES {
            sleep(length / SAMPLES).await;
            memory.push((
                started.elapsed().as_secs_f64() / 3600.0,
                paidup.resident_kib() as f64 / 1024.0,
            ));
        }
        let rate = driver.answered(200) as f64 / started.elapsed().as_secs_f64();
        let log = driver.finish().await?;
        let third = log.answers.len() / 3;
        let first = p99(log.answers.get(..third).unwrap_or_default());
        let last = p99(log.answers.get(2 * third..).unwrap_or_default());
        let slope = slope(memory.get(SAMPLES as usize / 3..).unwrap_or_default());
        // It finds the old events, should they still be there.
        judge(&url, &log, None).await?.report(&mut report);
        report.figure("old events that were pruned", old);
        report.figure("peak, events/s", peak.round());
        report.figure("sent, events/s", rate.round());
        report.figure("for, s", length.as_secs());
        report.milliseconds("p99 in the first third", first);
        report.milliseconds("p99 in the last third", last);
        report.figure(
            "service memory at the end, MiB",
            memory.last().map_or(0.0, |one| one.1).round(),
        );
        report.figure("service memory grew by, MiB/h", (slope * 10.0).round() / 10.0);
        let growth = last.as_secs_f64() / first.as_secs_f64().max(f64::MIN_POSITIVE);
        report.must("p99 is flat", !form.long || growth < P99_GROWTH_MAX);
        // A minute's noise is many MiB an hour: CI only sees what grows fast.
        report.must("memory is flat", slope < form.pick(3600.0, SLOPE_MIB_PER_HOUR_MAX));
        bloat(form, &mut database, &mut report).await?;
        Ok(report)
    })
}

/// The room that rows and their dead versions take.
async fn bloat(form: &Form, database: &mut Database, report: &mut Report) -> Result<()> {
    let size = database.number("select pg_total_relation_size('events')").await? as f64;
    let rows = "select coalesce(sum(pg_column_size(events.*)), 0)::bigint from events";
    let rows = database.number(rows).await? as f64;
    report.figure("events and their indexes, MiB", (size / 1_048_576.0).round());
    report.figure("what the rows of events hold, MiB", (rows / 1_048_576.0).round());
    let dead = "select coalesce(sum(n_dead_tup) * 100 / greatest(sum(n_live_tup), 1), 0)::bigint
                from pg_stat_user_tables";
    report.figure("dead rows, percent of the living", database.number(dead).await?);
    report.must("the table of events is not bloated", !form.long || size < rows * SIZE_MAX);
    Ok(())
}

fn p99(answers: &[Answer]) -> Duration {
    percentile(&answers.iter().map(Answer::took).collect::<Vec<_>>(), 99)
}

/// The slope of the line of least squares through these points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let rise: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    rise / run.max(f64::MIN_POSITIVE)
}
