//! The same event a thousand times at once, over two processes.

use std::time::Duration;

use bytes::Bytes;
use paidup::domain::signature::SigningSecret;
use paidup::http::client;
use tokio::task::JoinSet;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::events::{Events, SECRET};
use crate::form::Form;
use crate::process::{Recipe, until};
use crate::receiver::Receiver;
use crate::report::Report;

const CALLS: usize = 1000;
/// The payment of the first order succeeds.
const EVENT: u32 = 2;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let rounds = form.pick(1, 20);
        let mut slowest = Duration::ZERO;
        for round in 0..rounds {
            let url = cluster.create(&format!("same_{round}")).await?;
            slowest = slowest.max(once(form, &url, &mut report).await?);
        }
        report.figure("rounds", rounds);
        report.figure("calls at once in each", CALLS);
        report.milliseconds("all answered after, the slowest round", slowest);
        Ok(report)
    })
}

async fn once(form: &Form, url: &str, report: &mut Report) -> Result<Duration> {
    let receiver = Receiver::start().await?;
    let recipes = [Recipe::new(form, "one", url)?, Recipe::new(form, "two", url)?];
    let recipes = recipes.map(|recipe| recipe.telling(form, &receiver));
    let [one, two] = recipes;
    let (one, two) = (one?, two?);
    let ((_first, _), (_second, _)) = tokio::try_join!(one.start(), two.start())?;
    let body = Events::new("same").body(EVENT);
    let secret = SigningSecret::new(SECRET).map_err(|_| "an empty secret")?;
    let signature = secret.header(paidup::unix_seconds(), &body);
    let mut calls = JoinSet::new();
    let started = std::time::Instant::now();
    for call in 0..CALLS {
        let address = if call % 2 == 0 { one.address } else { two.address };
        calls.spawn(post(
            format!("http://{address}/webhook/stripe"),
            signature.clone(),
            body.clone(),
        ));
    }
    let answers = calls.join_all().await;
    let took = started.elapsed();
    let count = |word: &str| answers.iter().filter(|answer| answer.contains(word)).count();
    let accepted = answers.iter().filter(|answer| answer.starts_with("200 ")).count();
    report.must(&format!("all are answered 200, not {accepted}"), accepted == CALLS);
    let (applied, duplicates) = (count("\"applied\""), count("\"duplicate\""));
    report.must(&format!("one is applied, not {applied}"), applied == 1);
    report.must(&format!("all others are duplicates, not {duplicates}"), duplicates == CALLS - 1);
    let mut database = Database::open(url).await?;
    until("it is told", async || !receiver.tellings().is_empty()).await?;
    until("nothing waits", async || {
        let waiting = "select count(*) from deliveries where status = 'waiting'";
        database.number(waiting).await.is_ok_and(|count| count == 0)
    })
    .await?;
    for (what, sql) in [
        ("one event", "select count(*) from events"),
        ("one order", "select count(*) from orders where status = 'paid' and version = 1"),
        ("one change", "select count(*) from order_changes"),
        ("no conflict", "select 1 + sum(conflicts)::bigint from events"),
    ] {
        let rows = database.number(sql).await?;
        report.must(&format!("{what}, not {rows}"), rows == 1);
    }
    let told: u32 = receiver.tellings().values().map(|message| message.times).sum();
    report.must(&format!("one notification, not {told}"), told == 1);
    Ok(took)
}

/// The status and the body.
async fn post(url: String, signature: String, body: Bytes) -> String {
    let headers = [("Stripe-Signature", signature.as_str())];
    match client::post(&url, &headers, body, Duration::from_secs(30)).await {
        Ok(answer) => format!("{} {}", answer.status, answer.body),
        Err(error) => error.to_string(),
    }
}
