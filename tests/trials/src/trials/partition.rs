//! The network between paidup and its database fails: silently, with resets, slowly, in the middle of
//! a message, and by refusing.

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
use crate::receiver::Receiver;
use crate::report::Report;

const CONNECTIONS: usize = 32;
const ANSWER_SECONDS_MAX: f64 = 5.0;
const RECOVERY_SECONDS_MAX: f64 = 5.0;
const MEMORY_MIB_MAX: u64 = 64;

/// The faults, and how long each lasts.
const FAULTS: [(&str, Fault, u64); 6] = [
    ("silent", Fault::BlackHole, 8_000),
    ("silent for a moment", Fault::BlackHole, 1_000),
    ("resets", Fault::Reset, 1_000),
    ("late by 100 ms", Fault::Delay(Duration::from_millis(100)), 3_000),
    ("cut mid-message", Fault::Cut(700), 1_000),
    ("refuses", Fault::Refuse, 1_000),
];

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        cluster.create("trial").await?;
        let proxy = Proxy::start(cluster.address).await?;
        let url = Cluster::url_through(proxy.address, "trial");
        let receiver = Receiver::start().await?;
        let recipe = Recipe::new(form, "paidup", &url)?.telling(form, &receiver)?;
        let (mut paidup, _) = recipe.start().await?;
        let load = Load::new(Events::new("net"), CONNECTIONS, &[recipe.address]);
        let driver = Driver::start(form, load)?;
        let mut times = [(Duration::ZERO, Duration::ZERO); FAULTS.len()];
        let rounds = form.pick(1, 20);
        for _ in 0..rounds {
            for ((name, fault, milliseconds), times) in FAULTS.into_iter().zip(&mut times) {
                driver.more(50).await?;
                let seen = driver.answers_from(0).len();
                proxy.set(fault);
                let from = driver.now();
                sleep(Duration::from_millis(milliseconds)).await;
                proxy.set(Fault::None);
                let healed = driver.now();
                until(&format!("it serves again after: {name}"), async || {
                    let answers = driver.answers_from(seen);
                    answers.iter().any(|one| one.status == 200 && one.answered > healed)
                })
                .await?;
                let took = driver.now() - healed;
                // What was refused, and what was answered late, when it was healed.
                let answers = driver.answers_from(seen);
                let sent = answers.iter().filter(|one| one.sent > from && one.sent < healed);
                let longest = sent.map(Answer::took).max().unwrap_or_default();
                *times = (times.0.max(longest), times.1.max(took));
            }
        }
        for ((name, ..), (longest, recovery)) in FAULTS.iter().zip(times) {
            report.section(name);
            report.milliseconds("the slowest answer", longest);
            report.milliseconds("serving again after it heals", recovery);
        }
        let slowest = times.iter().map(|times| times.0).max().unwrap_or_default();
        let recovery = times.iter().map(|times| times.1).max().unwrap_or_default();
        report.section("all");
        report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
        let log = driver.finish().await?;
        let peak = paidup.peak_kib() / 1024;
        let verdict = judge(&cluster.url("trial"), &log, Some(&receiver)).await?;
        report.figure("faults", rounds * FAULTS.len());
        verdict.report(&mut report);
        log.report_refusals(&mut report);
        report.figure("service memory at its most, MiB", peak);
        let within =
            |time: Duration, seconds: f64| time.as_secs_f64() <= seconds + form.pick(5.0, 0.0);
        report.must("answered within 5 s", within(slowest, ANSWER_SECONDS_MAX));
        report.must("recovered within 5 s", within(recovery, RECOVERY_SECONDS_MAX));
        report.must("memory is bounded", peak < MEMORY_MIB_MAX * form.pick(4, 1));
        Ok(report)
    })
}
