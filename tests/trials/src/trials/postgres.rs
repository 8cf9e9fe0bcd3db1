//! Postgres is killed and started again under load, while paidup runs on.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::driver::{Answer, Driver, Load};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::judge;
use crate::process::Recipe;
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
/// How long it runs, at the most, before it is killed.
const LIFE_MILLISECONDS_MAX: u64 = 500;
/// How long it stays away, at the most: paidup must notice, and answer 503.
const AWAY_MILLISECONDS_MAX: u64 = 1000;
const SERVING_SECONDS_MAX: f64 = 1.0;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let mut cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("trial").await?;
        let receiver = Receiver::start().await?;
        let recipe = Recipe::new(form, "paidup", &url)?.telling(form, &receiver)?;
        let (mut paidup, _) = recipe.start().await?;
        let load = Load::new(Events::new("away"), CONNECTIONS, &[recipe.address]);
        let driver = Driver::start(form, load)?;
        let mut random = Random::new(Random::seed());
        let (mut served_after, mut false_200s) = (Vec::new(), 0);
        let kills = form.pick(5, 100);
        for kill in 0..kills {
            driver.more(20).await?;
            sleep(Duration::from_millis(random.below(LIFE_MILLISECONDS_MAX))).await;
            if kill % 2 == 0 {
                cluster.stop_immediately().await?;
            } else {
                cluster.kill_postmaster().await?;
            }
            let away_from = driver.now();
            let seen = driver.answers_from(0).len();
            sleep(Duration::from_millis(random.below(AWAY_MILLISECONDS_MAX))).await;
            let away_until = driver.now();
            cluster.restart().await?;
            let back = driver.now();
            let is_200 = |answer: &Answer| answer.status == 200;
            driver.serves_again(seen, away_from).await?;
            let answers = driver.answers_from(seen);
            let mut accepted = answers.iter().filter(|one| is_200(one) && one.sent > away_from);
            // Sent while it was away and answered while it was away: nothing can have been committed.
            false_200s += accepted.clone().filter(|one| one.answered < away_until).count();
            let first = accepted.next().map_or(back, |answer| answer.answered);
            served_after.push(first.saturating_sub(back));
        }
        report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
        let log = driver.finish().await?;
        let verdict = judge(&url, &log, Some(&receiver)).await?;
        report.figure("Postgres killed", kills);
        verdict.report(&mut report);
        report.figure("200s while it was away", false_200s);
        report.must("never a 200 while it is down", false_200s == 0);
        log.report_refusals(&mut report);
        served_after.sort();
        let slowest = served_after.last().copied().unwrap_or_default();
        report.milliseconds("serving again after it takes connections, the slowest", slowest);
        report.milliseconds("serving again, the median", served_after[served_after.len() / 2]);
        let is_soon = slowest.as_secs_f64() <= form.seconds(SERVING_SECONDS_MAX);
        report.must("serving within a second", is_soon);
        Ok(report)
    })
}
