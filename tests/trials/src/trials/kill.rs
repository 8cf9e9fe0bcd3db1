//! paidup is killed at random moments under load, again and again, on both databases.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load, Log};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::{Outcome, judge};
use crate::process::Recipe;
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
/// How long it lives, at the most, after it was ready.
const LIFE_MILLISECONDS_MAX: u64 = 400;
const READY_SECONDS_MAX: f64 = 1.0;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("kill").await?;
        kills(form, "Postgres", &url, form.pick(20, 500), form.pick(0, 1_000_000), &mut report)
            .await?;
        let url = format!("sqlite://{}/kill.db", form.folder.display());
        kills(form, "SQLite", &url, form.pick(10, 100), 0, &mut report).await?;
        Ok(report)
    })
}

/// Kills it so many times, and until so many events are acknowledged.
async fn kills(
    form: &Form,
    database: &'static str,
    url: &str,
    kills_min: u32,
    events_min: usize,
    report: &mut Report,
) -> Result<()> {
    let name = if database == "SQLite" { "lite" } else { "kill" };
    let receiver = Receiver::start().await?;
    let recipe = Recipe::new(form, name, url)?.telling(form, &receiver)?;
    let driver = Driver::start(form, Load::new(Events::new(name), CONNECTIONS, &[recipe.address]))?;
    let mut random = Random::new(Random::seed());
    let mut starts: Vec<Duration> = Vec::new();
    while starts.len() < kills_min as usize || driver.answered(200) < events_min {
        let (paidup, took) = recipe.start().await?;
        starts.push(took);
        // The longer form must get through a million events, and so lets it live for longer.
        let life = random.below(LIFE_MILLISECONDS_MAX * form.pick(1, 4) * 1000);
        sleep(Duration::from_micros(life)).await;
        paidup.kill()?;
    }
    if !form.long {
        Database::open(url).await?.end_leases().await?;
    }
    let (_paidup, _) = recipe.start().await?;
    let log = driver.finish().await?;
    let verdict = judge(url, &log, Some(&receiver)).await?;
    tell(form, database, &starts, &log, &verdict, report);
    Ok(())
}

fn tell(
    form: &Form,
    database: &str,
    starts: &[Duration],
    log: &Log,
    verdict: &Outcome,
    report: &mut Report,
) {
    report.section(database);
    report.figure("kills", starts.len());
    verdict.report(report);
    report.figure("calls that were cut off", log.unanswered);
    let slowest = starts.iter().max().copied().unwrap_or_default();
    report.milliseconds("exec to ready, the slowest", slowest);
    let mut sorted = starts.to_vec();
    sorted.sort();
    report.milliseconds("exec to ready, the median", sorted[sorted.len() / 2]);
    let is_soon = slowest.as_secs_f64() < form.seconds(READY_SECONDS_MAX);
    report.must("ready again within the promised second", is_soon);
    report.must("every event that was sent is acknowledged in the end", {
        verdict.acknowledged == log.sent as usize
    });
}
