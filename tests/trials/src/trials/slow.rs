//! The database becomes slow, a second for each word of it, and more comes than the queue holds.

use std::time::Duration;

use paidup::http::error::RETRY_AFTER_SECONDS;
use paidup::ingest::QUEUE_EVENTS_MAX;
use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::driver::{Answer, Driver, Load};
use crate::events::Events;
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Recipe, need_files, until};
use crate::proxy::{Fault, Proxy};
use crate::report::Report;

/// More than the queue holds: each has one event under way.
const CONNECTIONS: usize = QUEUE_EVENTS_MAX + 1904;
const CONNECTIONS_SHORT: usize = QUEUE_EVENTS_MAX + 404;
const LATE: Duration = Duration::from_secs(1);
const MEMORY_MIB_MAX: u64 = 192;
/// What may come on top after the first third of the time. Whatever leaks does so with every call.
const GROWTH_MIB_MAX: u64 = 16;
const QUEUE_FULL: &str = "paidup_refusals_total{reason=\"queue_full\"}";

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let connections = form.pick(CONNECTIONS_SHORT, CONNECTIONS);
        need_files(connections + 1000)?;
        let cluster = Cluster::start(form, "postgres", "").await?;
        cluster.create("trial").await?;
        let proxy = Proxy::start(cluster.address).await?;
        let url = Cluster::url_through(proxy.address, "trial");
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (mut paidup, _) = recipe.start().await?;
        let load = Load::new(Events::new("slow"), connections, &[recipe.address]);
        // They come again when they were told to.
        let pause = Duration::from_secs(u64::from(RETRY_AFTER_SECONDS));
        let driver = Driver::start(form, Load { pause, ..load })?;
        driver.more(form.pick(200, connections)).await?;
        let before = paidup.resident_kib();
        let full_before = paidup.metric(QUEUE_FULL).await?;
        let seen = driver.answers_from(0).len();
        proxy.set(Fault::Delay(LATE));
        let third = Duration::from_secs(form.pick(8, 40));
        sleep(third).await;
        let early = paidup.resident_kib();
        sleep(third * 2).await;
        let late = paidup.resident_kib();
        let full = paidup.metric(QUEUE_FULL).await? - full_before;
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
        report.figure("connections, each with an event under way", connections);
        report.figure("while slow: answers of 200", count(200));
        report.figure("while slow: answers of 503", count(503));
        report.figure("… because the queue was full", full);
        report.figure("answers of 503 without Retry-After", log.unadvised);
        let slowest = answers.iter().map(Answer::took).max().unwrap_or_default();
        report.milliseconds("while slow: the slowest answer", slowest);
        report.milliseconds("serving again after it is fast", recovery);
        report.figure("service memory before, MiB", before / 1024);
        report.figure("service memory after a third, MiB", early / 1024);
        report.figure("service memory at the end, MiB", late / 1024);
        report.figure("service memory at its most, MiB", paidup.peak_kib() / 1024);
        let other = log.statuses().into_keys().find(|status| ![200, 503].contains(status));
        report.must(&format!("only 200 and 503, not {other:?}"), other.is_none());
        report.must("what cannot be recorded in time is refused", count(503) > 0);
        report.must("the queue was full", full > 0.0);
        report.must("every 503 says when to come again", log.unadvised == 0);
        let is_small = paidup.peak_kib() / 1024 < MEMORY_MIB_MAX * form.pick(2, 1);
        report.must("memory is bounded", is_small);
        report.must("memory does not grow", late / 1024 < early / 1024 + GROWTH_MIB_MAX);
        Ok(report)
    })
}
