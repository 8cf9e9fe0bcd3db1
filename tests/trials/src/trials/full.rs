//! The disk is full: under Postgres, and under the SQLite file. And SQLite's fdatasync fails.
//!
//! The small disk is a tmpfs, which only root may mount, and not in every container. Where it cannot be,
//! or where there is no strace, the report says what was not tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::cluster::Cluster;
use crate::driver::{Driver, Load};
use crate::events::Events;
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Recipe, until};
use crate::report::Report;

const CONNECTIONS: usize = 16;

/// A small disk, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(form: &Form, name: &str, mebibytes: u32) -> Result<Self> {
        let at = form.folder.join(name);
        fs::create_dir(&at)?;
        let size = format!("size={mebibytes}m,mode=777");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output()?;
        if !mounted.status.success() {
            let told = String::from_utf8_lossy(&mounted.stderr).into_owned();
            return Err(format!("a small disk needs a tmpfs, which root may mount: {told}").into());
        }
        Ok(Self(at))
    }

    /// Takes all the room that is left.
    fn fill(&self) -> Result<PathBuf> {
        let ballast = self.0.join("ballast");
        let piece = vec![0; 4096];
        let mut file = fs::File::create(&ballast)?;
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        report.section("Postgres");
        match Disk::mount(form, "postgres-disk", 256) {
            Ok(disk) => full_postgres(form, &disk, &mut report).await?,
            Err(error) => report.not_tried(error.to_string()),
        }
        report.section("SQLite");
        match Disk::mount(form, "sqlite-disk", 16) {
            Ok(disk) => {
                let url = format!("sqlite://{}/paidup.db", disk.0.display());
                full(form, "litefull", &url, &disk, None, &mut report).await?;
            }
            Err(error) => report.not_tried(error.to_string()),
        }
        report.section("SQLite, fdatasync fails");
        failing_sync(form, &mut report).await?;
        Ok(report)
    })
}

async fn full_postgres(form: &Form, disk: &Disk, report: &mut Report) -> Result<()> {
    let settings = "max_wal_size = 64MB\nmin_wal_size = 32MB\nshared_buffers = 16MB";
    let mut cluster = Cluster::start_in(form, &disk.0, "postgres", settings).await?;
    let url = cluster.create("trial").await?;
    let mut restarts = 0;
    full(form, "pgfull", &url, disk, Some((&mut cluster, &mut restarts)), report).await?;
    report.figure("times that Postgres gave up and was started again", restarts);
    Ok(())
}

async fn full(
    form: &Form,
    name: &'static str,
    url: &str,
    disk: &Disk,
    mut cluster: Option<(&mut Cluster, &mut u32)>,
    report: &mut Report,
) -> Result<()> {
    let recipe = Recipe::new(form, name, url)?;
    let (mut paidup, _) = recipe.start().await?;
    let load = Load::new(Events::new(name), CONNECTIONS, &[recipe.address]);
    let driver = Driver::start(form, load)?;
    let rounds = form.pick(1, 10);
    let mut recovery = Duration::ZERO;
    for _ in 0..rounds {
        driver.more(100).await?;
        let ballast = disk.fill()?;
        let mut seen = driver.answers_from(0).len();
        // Some go on for as long as room is left in files that are there.
        until("it answers 503", async || {
            let answers = driver.answers_from(seen);
            seen += answers.len();
            answers.len() > 4 && answers.iter().all(|answer| answer.status == 503)
        })
        .await?;
        sleep(Duration::from_millis(500)).await;
        fs::remove_file(&ballast)?;
        let freed = driver.now();
        if let Some((cluster, restarts)) = &mut cluster
            && !cluster.answers().await
        {
            // It panics when its log cannot grow; whoever runs it starts it again.
            cluster.stop_immediately().await?;
            cluster.restart().await?;
            **restarts += 1;
        }
        driver.serves_again(seen, freed).await?;
        recovery = recovery.max(driver.now() - freed);
    }
    report.must("it was the same paidup all the time", paidup.has_ended()?.is_none());
    let log = driver.finish().await?;
    judge(url, &log, None).await?.report(report);
    report.figure("times that the disk was full", rounds);
    log.report_refusals(report);
    report.milliseconds("serving again after there is room, the slowest", recovery);
    Ok(())
}

/// strace makes every fdatasync and fsync of a paidup fail that runs under load, then lets it go.
async fn failing_sync(form: &Form, report: &mut Report) -> Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        report.not_tried("there is no strace to make the syncs fail".to_owned());
        return Ok(());
    }
    let url = format!("sqlite://{}/sync.db", form.folder.display());
    let recipe = Recipe::new(form, "sync", &url)?;
    let (paidup, _) = recipe.start().await?;
    let load = Load::new(Events::new("sync"), CONNECTIONS, &[recipe.address]);
    let driver = Driver::start(form, load)?;
    driver.more(100).await?;
    let trace = form.folder.join("strace.log");
    let seen = driver.answers_from(0).len();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync,fsync"])
        .args(["-e", "inject=fdatasync,fsync:error=EIO"])
        .arg("-o")
        .arg(&trace)
        .args(["-p", &paidup.id().to_string()])
        .spawn()?;
    let first_refusal = until("events are refused", async || {
        driver.answers_from(seen).iter().any(|answer| answer.status == 503)
    });
    let refused = first_refusal.await;
    let from = driver.now();
    sleep(Duration::from_secs(form.pick(1, 10))).await;
    let until_then = driver.now();
    let false_200s = driver
        .answers_from(seen)
        .into_iter()
        .filter(|one| one.status == 200 && one.sent > from && one.answered < until_then);
    let false_200s = false_200s.count();
    // What was acknowledged is in the file, whatever the failed syncs left in memory.
    paidup.kill()?;
    strace.kill()?;
    strace.wait()?;
    refused?;
    let (_paidup, _) = recipe.start().await?;
    let log = driver.finish().await?;
    judge(&url, &log, None).await?.report(report);
    let failed = failed_syncs(&trace);
    report.figure("syncs that failed", failed);
    report.figure("200s while they did", false_200s);
    report.must("some syncs failed", failed > 0);
    report.must("never a 200 on a failed sync", false_200s == 0);
    Ok(())
}

fn failed_syncs(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter(|line| line.contains("EIO") && line.contains("INJECTED")).count()
}
