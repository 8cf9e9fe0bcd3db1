//! The machine's clock is wrong by 400 s, either way: Stripe's calls are refused, with a line in the log
//! that names the clock; what is recorded is replayed without harm; and with the clock right again the
//! same events are taken.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use paidup::domain::signature::SigningSecret;
use paidup::http::client;

use crate::Result;
use crate::database::Database;
use crate::events::{Events, SECRET};
use crate::form::Form;
use crate::process::{PATIENCE, Recipe};
use crate::report::Report;

const OFF_SECONDS: i64 = 400;
const EVENTS: u32 = 40;
/// Where Debian, Fedora and Homebrew put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

pub fn run(form: &Form) -> Result<Report> {
    let library = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
    let library =
        library.ok_or("libfaketime is not installed (Debian: apt-get install faketime)")?;
    form.run(async {
        let mut report = Report::default();
        for (off, reason) in [(OFF_SECONDS, "too_old"), (-OFF_SECONDS, "too_new")] {
            report.section(&format!("{off:+} s"));
            wrong(form, library, off, reason, &mut report).await?;
        }
        Ok(report)
    })
}

async fn wrong(
    form: &Form,
    library: &str,
    off: i64,
    reason: &str,
    report: &mut Report,
) -> Result<()> {
    let url = format!("sqlite://{}/clock{off}.db", form.folder.display());
    let right = Recipe::new(form, &format!("right{off}"), &url)?;
    let events = Events::new("clock");
    let (paidup, _) = right.start().await?;
    let taken = send(&right, &events, 0..EVENTS / 2).await?;
    report.must("with the right clock all are 200", taken.iter().all(|status| *status == 200));
    paidup.terminate()?;
    paidup.ended().await?;

    let offset = format!("{off:+}s");
    let bent = Recipe::new(form, &format!("wrong{off}"), &url)?
        .with("LD_PRELOAD", library)
        .with("FAKETIME", &offset)
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let (paidup, _) = bent.start().await?;
    let refused = send(&bent, &events, EVENTS / 2..EVENTS).await?;
    report.must("with the wrong clock all are 400", refused.iter().all(|status| *status == 400));
    let counted = paidup.metric(&format!("paidup_refusals_total{{reason=\"{reason}\"}}")).await?;
    report.must("they are counted by their reason", counted as usize == refused.len());
    let log = bent.log();
    let names =
        log.lines().find(|line| line.contains(reason) && line.contains("clock of this machine"));
    report.must("a line of the log names the clock", names.is_some());
    report.figure("refused", refused.len());

    // The replay asks no clock whether a signature is fresh.
    let before = orders(&url).await?;
    let mut replay = Command::new(&form.paidup);
    replay.arg("replay").env_clear().env("DATABASE_URL", &url).current_dir(&form.folder);
    replay.env("LD_PRELOAD", library).env("FAKETIME", &offset);
    let ran = replay.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").output()?;
    report.must("the replay succeeds", ran.status.success());
    report.must("the replay changes nothing", before == orders(&url).await?);
    report.must("there is something to replay", !before.is_empty());
    paidup.terminate()?;
    paidup.ended().await?;

    let (_paidup, _) = right.start().await?;
    let again = send(&right, &events, EVENTS / 2..EVENTS).await?;
    report.must("with the right clock they are taken", again.iter().all(|status| *status == 200));
    let stored = Database::open(&url).await?.number("select count(*) from events").await?;
    report.must("each is there once", stored == i64::from(EVENTS));
    Ok(())
}

async fn send(to: &Recipe, events: &Events, numbers: std::ops::Range<u32>) -> Result<Vec<u16>> {
    let secret = SigningSecret::new(SECRET)?;
    let url = format!("http://{}/webhook/stripe", to.address);
    let mut statuses = Vec::new();
    for number in numbers {
        let body = events.body(number);
        let signature = secret.header(paidup::unix_seconds(), &body);
        let headers = [("Stripe-Signature", &*signature)];
        statuses.push(
            client::post(&url, &headers, body, PATIENCE.min(Duration::from_secs(30))).await?.status,
        );
    }
    Ok(statuses)
}

async fn orders(url: &str) -> Result<Vec<Vec<Option<String>>>> {
    let sql = "select id, status, cast(amount_received as text), cast(amount_refunded as text), paid_at, \
               cast(version as text), updated_at from orders order by id";
    Database::open(url).await?.rows(sql).await
}
