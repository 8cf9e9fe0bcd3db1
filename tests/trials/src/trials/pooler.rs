//! Two paidups behind pgbouncer, in session mode and in transaction mode, while pgbouncer is killed and
//! its connections to Postgres are cut.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::{Events, Random};
use crate::form::Form;
use crate::judge::judge;
use crate::pooler::{self, Mode, Pooler};
use crate::process::Recipe;
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
const LIFE_MILLISECONDS_MAX: u64 = 500;
const SERVING_SECONDS_MAX: f64 = 5.0;
/// Since then it knows prepared statements, which paidup uses, in transaction mode.
const PREPARED_SINCE: (u32, u32) = (1, 21);
/// What a session would set, which in transaction mode is nobody's own. As in docs/internals/testing.md.
const ROLE_SETTINGS: &str = "alter role paidup in database trial set statement_timeout = '10s';
    alter role paidup in database trial set idle_in_transaction_session_timeout = '5s';
    alter role paidup in database trial set synchronous_commit = 'on';
    alter role paidup in database trial set enable_seqscan = off;
    alter role paidup in database trial set enable_hashjoin = off;
    alter role paidup in database trial set enable_mergejoin = off";
const CUT: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = 'trial' and pid <> pg_backend_pid()";

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let Some((program, version)) = pooler::installed() else {
            report.not_tried("pgbouncer is not installed (PGBOUNCER names it)".to_owned());
            return Ok(report);
        };
        for mode in [Mode::Session, Mode::Transaction] {
            report.section(&format!("{} mode", mode.name()));
            if mode == Mode::Transaction && version < PREPARED_SINCE {
                let (major, minor) = version;
                report.not_tried(format!("this needs pgbouncer 1.21, here is {major}.{minor}"));
                continue;
            }
            let cluster = Cluster::start(form, &format!("postgres-{}", mode.name()), "").await?;
            let pooler = Pooler::start(form, program.clone(), mode, &cluster).await?;
            behind(form, mode, &cluster, pooler, &mut report).await?;
        }
        Ok(report)
    })
}

async fn behind(
    form: &Form,
    mode: Mode,
    cluster: &Cluster,
    mut pooler: Pooler,
    report: &mut Report,
) -> Result<()> {
    let direct = cluster.create("trial").await?;
    let through = Cluster::url_through(pooler.address, "trial");
    if mode == Mode::Transaction {
        // Migrations lock for a session: an operator runs them past the pooler.
        Recipe::new(form, "migrates", &direct)?.start().await?.0.kill()?;
        Database::open(&direct).await?.execute(ROLE_SETTINGS).await?;
    }
    let receiver = Receiver::start().await?;
    let mut recipes = Vec::new();
    let mut running = Vec::new();
    for process in 1..=2 {
        let name = format!("paidup-{}-{process}", mode.name());
        let recipe = Recipe::new(form, &name, &through)?.telling(form, &receiver)?;
        running.push(recipe.start().await?.0);
        recipes.push(recipe);
    }
    let addresses: Vec<_> = recipes.iter().map(|recipe| recipe.address).collect();
    let load = Load::new(Events::new(mode.name()), CONNECTIONS, &addresses);
    let driver = Driver::start(form, load)?;
    let mut random = Random::new(Random::seed());
    let mut slowest = Duration::ZERO;
    let faults = form.pick(4, 40);
    for fault in 0..faults {
        driver.more(50).await?;
        sleep(Duration::from_millis(random.below(LIFE_MILLISECONDS_MAX))).await;
        if fault % 2 == 0 {
            pooler.kill()?;
            pooler.restart().await?;
        } else {
            Database::open(&cluster.url("postgres")).await?.number(CUT).await?;
        }
        let (seen, back) = (driver.answers_from(0).len(), driver.now());
        driver.serves_again(seen, back).await?;
        slowest = slowest.max(driver.now() - back);
    }
    for paidup in &mut running {
        report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
    }
    if !form.long {
        Database::open(&direct).await?.end_leases().await?;
    }
    let log = driver.finish().await?;
    report.figure("pgbouncer killed, or its connections cut", faults);
    judge(&direct, &log, Some(&receiver)).await?.report(report);
    log.report_refusals(report);
    report.milliseconds("serving again, the slowest", slowest);
    let is_soon = slowest.as_secs_f64() <= form.seconds(SERVING_SECONDS_MAX);
    report.must("serving again within 5 s", is_soon);
    Ok(())
}
