//! Two and three processes on one Postgres, under shuffled and duplicated load, while they are killed.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Paidup, Recipe};
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 64;
const PROCESSES_MAX: usize = 3;
/// Several may share a lock with some loss; they must not lose much to it.
const THROUGHPUT_PART_MIN: f64 = 0.8;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        for processes in 2..=PROCESSES_MAX {
            report.section(&format!("{processes} processes"));
            let url = cluster.create(&format!("several_{processes}")).await?;
            kills(form, &url, processes, &mut report).await?;
        }
        report.section("throughput");
        let mut rates = Vec::new();
        for processes in 1..=PROCESSES_MAX {
            let url = cluster.create(&format!("rate_{processes}")).await?;
            let rate = throughput(form, &url, processes).await?;
            report.figure(&format!("{processes} process(es), events/s"), rate.round());
            rates.push(rate);
        }
        let one = rates.first().copied().unwrap_or_default();
        let worst = rates.iter().copied().fold(one, f64::min);
        // CI's machines are shared, and a debug build measures nothing.
        let is_kept = !form.long || worst >= one * THROUGHPUT_PART_MIN;
        report.must("several are about as fast as one", is_kept);
        Ok(report)
    })
}

async fn start_all(
    form: &Form,
    url: &str,
    count: usize,
) -> Result<(Vec<Recipe>, Vec<Option<Paidup>>)> {
    let recipes: Result<Vec<Recipe>> =
        (0..count).map(|one| Recipe::new(form, &format!("process-{one}"), url)).collect();
    let recipes = recipes?;
    let mut running = Vec::new();
    for recipe in &recipes {
        running.push(Some(recipe.start().await?.0));
    }
    Ok((recipes, running))
}

async fn kills(form: &Form, url: &str, count: usize, report: &mut Report) -> Result<()> {
    let receiver = Receiver::start().await?;
    let (recipes, mut running) = start_all(form, url, count).await?;
    let mut telling = Vec::new();
    for recipe in recipes {
        telling.push(recipe.telling(form, &receiver)?);
    }
    for (place, recipe) in running.iter_mut().zip(&telling) {
        drop(place.take());
        *place = Some(recipe.start().await?.0);
    }
    let addresses: Vec<_> = telling.iter().map(|recipe| recipe.address).collect();
    let load = Load::new(Events::new("some"), CONNECTIONS, &addresses);
    let load = Load { duplicates_percent: 30, ..load };
    let driver = Driver::start(form, load)?;
    let mut random = Random::new(Random::seed());
    let kills = form.pick(6, 100);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.below(300))).await;
        let victim = random.below(count as u64) as usize;
        if let (Some(place), Some(recipe)) = (running.get_mut(victim), telling.get(victim)) {
            if let Some(paidup) = place.take() {
                paidup.kill()?;
            }
            *place = Some(recipe.start().await?.0);
        }
        driver.more(10).await?;
    }
    if !form.long {
        Database::open(url).await?.end_leases().await?;
    }
    let log = driver.finish().await?;
    let verdict = judge(url, &log, Some(&receiver)).await?;
    report.figure("kills", kills);
    verdict.report(report);
    let statuses = log.statuses();
    report.figure("answers of 503", statuses.get(&503).copied().unwrap_or_default());
    let logs: Vec<String> = telling.iter().map(Recipe::log).collect();
    let deadlocks = logs.iter().map(|log| log.matches("40P01").count()).sum::<usize>();
    report.figure("deadlocks in the logs", deadlocks);
    report.must("no deadlock surfaces", deadlocks == 0);
    let refused =
        statuses.iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum::<usize>();
    report.must("nothing is refused while another one dies", refused == 0);
    Ok(())
}

/// Events a second, duplicates not counted.
async fn throughput(form: &Form, url: &str, count: usize) -> Result<f64> {
    let (recipes, _running) = start_all(form, url, count).await?;
    let addresses: Vec<_> = recipes.iter().map(|recipe| recipe.address).collect();
    let load = Load::new(Events::new("rate"), CONNECTIONS * form.pick(1, 2), &addresses);
    let driver = Driver::start(form, load)?;
    driver.more(form.pick(200, 5_000)).await?;
    let (seen, started) = (driver.answered(200), Instant::now());
    sleep(Duration::from_secs(form.pick(2, 20))).await;
    let rate = (driver.answered(200) - seen) as f64 / started.elapsed().as_secs_f64();
    let log = driver.finish().await?;
    let verdict = judge(url, &log, None).await?;
    match verdict.findings.first() {
        None => Ok(rate),
        Some(finding) => Err(finding.to_string().into()),
    }
}
