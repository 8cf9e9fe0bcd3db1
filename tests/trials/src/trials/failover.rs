//! The primary dies, and its synchronous standby takes its place behind the same address.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Recipe, until};
use crate::proxy::{Fault, Proxy};
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
const FAILOVER_SECONDS_MAX: f64 = 10.0;
/// Until the standby has taken its place as the synchronous one, there is nothing to prove.
const SYNCHRONOUS: &str = "select count(*) from pg_stat_replication where sync_state = 'sync'";

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let mut slowest = Duration::ZERO;
        let rounds = form.pick(1, 10);
        for round in 0..rounds {
            report.section(&format!("failover {}", round + 1));
            slowest = slowest.max(failover(form, round, &mut report).await?);
        }
        report.section("all");
        report.figure("failovers", rounds);
        report.milliseconds("kill -9 of the primary to the next 200, the slowest", slowest);
        let is_soon = slowest.as_secs_f64() <= form.seconds(FAILOVER_SECONDS_MAX);
        report.must("serving again within 10 s", is_soon);
        Ok(report)
    })
}

async fn failover(form: &Form, round: u32, report: &mut Report) -> Result<Duration> {
    let mut primary =
        Cluster::start(form, &format!("primary-{round}"), "wal_level = replica").await?;
    primary.create("trial").await?;
    let name = format!("standby_{round}");
    let standby = primary.standby(form, &name).await?;
    primary.set(&format!("synchronous_standby_names = '{name}'"))?;
    primary.reload()?;
    let mut database = Database::open(&primary.url("postgres")).await?;
    until("the standby is synchronous", async || {
        database.number(SYNCHRONOUS).await.is_ok_and(|count| count == 1)
    })
    .await?;
    drop(database);

    let proxy = Proxy::start(primary.address).await?;
    let receiver = Receiver::start().await?;
    let url = Cluster::url_through(proxy.address, "trial");
    let recipe = Recipe::new(form, &format!("paidup-{round}"), &url)?.telling(form, &receiver)?;
    let (mut paidup, _) = recipe.start().await?;
    let load = Load::new(Events::new("over"), CONNECTIONS, &[recipe.address]);
    let driver = Driver::start(form, load)?;
    driver.more(200).await?;
    sleep(Duration::from_millis(Random::new(Random::seed()).below(500))).await;

    let died = driver.now();
    primary.kill_postmaster().await?;
    let seen = driver.answers_from(0).len();
    proxy.set(Fault::Refuse);
    standby.promote().await?;
    proxy.point_to(standby.address);
    driver.serves_again(seen, died).await?;
    let took = driver.now() - died;
    driver.more(100).await?;
    report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
    let log = driver.finish().await?;
    judge(&standby.url("trial"), &log, Some(&receiver)).await?.report(report);
    Ok(took)
}
