//! The database becomes slow, a second for each word of it, and more comes than the queue holds.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::driver::{Answer, Driver, Load};
use crate::events::Events;
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Recipe, until};
use crate::proxy::{Fault, Proxy};
use crate::report::Report;

/// As many as paidup takes; each has one event under way.
const CONNECTIONS: usize = 1_500;
const LATE: Duration = Duration::from_secs(1);
const MEMORY_MIB_MAX: u64 = 64;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        cluster.create("trial").await?;
        let proxy = Proxy::start(cluster.address).await?;
        let url = Cluster::url_through(proxy.address, "trial");
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (mut paidup, _) = recipe.start().await?;
        let connections = form.pick(300, CONNECTIONS);
        let load = Load::new(Events::new("slow"), connections, &[recipe.address]);
        let driver = Driver::start(form, load)?;
        driver.more(connections).await?;
        let before = paidup.resident_kib();
        let seen = driver.answers_from(0).len();
        proxy.set(Fault::Delay(LATE));
        sleep(Duration::from_secs(form.pick(12, 60))).await;
        let during = paidup.resident_kib();
        let answers = driver.answers_from(seen);
        proxy.set(Fault::None);
        let healed = driver.now();
        let seen = seen + answers.len();
        until("it serves again", async || {
            driver.answers_from(seen).iter().any(|one| one.status == 200 && one.sent > healed)
        })
        .await?;
        let recovery = driver.now() - healed;
        report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
        let log = driver.finish().await?;
        let verdict = judge(&cluster.url("trial"), &log, None).await?;
        verdict.report(&mut report);
        let count = |status: u16| answers.iter().filter(|one| one.status == status).count();
        report.figure("while slow: answers of 200", count(200));
        report.figure("while slow: answers of 503", count(503));
        let slowest = answers.iter().map(Answer::took).max().unwrap_or_default();
        report.milliseconds("while slow: the slowest answer", slowest);
        report.milliseconds("serving again after it is fast", recovery);
        report.figure("service memory before, MiB", before / 1024);
        report.figure("service memory while slow, MiB", during / 1024);
        report.figure("service memory at its most, MiB", paidup.peak_kib() / 1024);
        let other = log.statuses().into_keys().find(|status| ![200, 503].contains(status));
        report.must(&format!("only 200 and 503, not {other:?}"), other.is_none());
        report.must("what cannot be recorded in time is refused", count(503) > 0);
        let is_small = paidup.peak_kib() / 1024 < MEMORY_MIB_MAX * form.pick(4, 1);
        report.must("memory does not grow", is_small);
        Ok(report)
    })
}
