//! SIGTERM under load, again and again: what was accepted is answered, and it ends in time.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::judge;
use crate::process::Recipe;
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
const LIFE_MILLISECONDS_MAX: u64 = 300;
/// The deadline of a stop: docs/concepts/architecture.md's limits add up to no more.
const STOP_SECONDS_MAX: f64 = 25.0;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        report.section("one process");
        stops(form, &cluster.create("stops").await?, &mut report).await?;
        report.section("a rolling upgrade");
        upgrade(form, &cluster.create("upgrade").await?, &mut report).await?;
        Ok(report)
    })
}

async fn stops(form: &Form, url: &str, report: &mut Report) -> Result<()> {
    let receiver = Receiver::start().await?;
    let recipe = Recipe::new(form, "stops", url)?.telling(form, &receiver)?;
    let driver =
        Driver::start(form, Load::new(Events::new("stop"), CONNECTIONS, &[recipe.address]))?;
    let mut random = Random::new(Random::seed());
    let (stops, mut slowest) = (form.pick(10, 50), Duration::ZERO);
    for _ in 0..stops {
        let (paidup, _) = recipe.start().await?;
        driver.more(20).await?;
        sleep(Duration::from_millis(random.below(LIFE_MILLISECONDS_MAX))).await;
        paidup.terminate()?;
        let (status, took) = paidup.ended().await?;
        report.must(&format!("it ends with 0, not {status}"), status.code() == Some(0));
        slowest = slowest.max(took);
    }
    let (_paidup, _) = recipe.start().await?;
    let log = driver.finish().await?;
    let verdict = judge(url, &log, Some(&receiver)).await?;
    report.figure("stops", stops);
    verdict.report(report);
    report.figure("calls that were cut off", log.unanswered);
    report.must("every accepted request is answered", log.unanswered == 0);
    report.milliseconds("SIGTERM to exit, the slowest", slowest);
    report.must("it ends within its deadline", slowest.as_secs_f64() < STOP_SECONDS_MAX);
    Ok(())
}

/// Two processes on the schema of the last version are replaced by two of this one, one by one. The new
/// one migrates at its start while the other still serves.
async fn upgrade(form: &Form, url: &str, report: &mut Report) -> Result<()> {
    let recipes = [Recipe::new(form, "first", url)?, Recipe::new(form, "second", url)?];
    // This version's migrations but the last are what the last version would have left, and its
    // statements do not know the difference: so this program stands for its predecessor.
    let [first, second] = &recipes;
    let (old_first, _) = first.start().await?;
    let (old_second, _) = second.start().await?;
    let addresses = [first.address, second.address];
    let driver = Driver::start(form, Load::new(Events::new("roll"), CONNECTIONS, &addresses))?;
    driver.more(200).await?;
    // A migration of the future, as the next version would apply it, while both serve.
    let mut database = Database::open(url).await?;
    old_first.terminate()?;
    let (status, _) = old_first.ended().await?;
    report.must(&format!("the first ends with 0, not {status}"), status.code() == Some(0));
    database.execute("alter table orders add column of_the_future text").await?;
    let (new_first, _) = first.start().await?;
    driver.more(200).await?;
    old_second.terminate()?;
    let (status, _) = old_second.ended().await?;
    report.must(&format!("the second ends with 0, not {status}"), status.code() == Some(0));
    let (new_second, _) = second.start().await?;
    driver.more(200).await?;
    let log = driver.finish().await?;
    drop((new_first, new_second));
    let verdict = judge(url, &log, None).await?;
    verdict.report(report);
    let refused = log.answers.iter().filter(|answer| answer.status != 200).count();
    report.figure("requests that failed", refused as u64 + log.unanswered);
    report.must("no request failed", refused == 0 && log.unanswered == 0);
    Ok(())
}
