//! The judge is tried: it must find nothing in a database as paidup left it, and exactly what was done
//! to it in one that was tampered with. Each wrong is done to a good database, seen, and taken back.

use std::collections::HashSet;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load, Log};
use crate::events::Events;
use crate::form::Form;
use crate::judge::{Finding, judge};
use crate::process::Recipe;
use crate::receiver::{Receiver, Telling};
use crate::report::Report;

const EVENTS: u32 = 300;

/// A wrong, how it is done, how it is taken back, and the findings that must come of it, by their names.
struct Wrong {
    what: &'static str,
    done: &'static str,
    undone: &'static str,
    found: &'static [&'static str],
}

/// ORDER stands for an order that was paid, EVENT for an event of it that says what another one said
/// before. `saved` is a table to put aside what is taken away. SEQUENCE is one column more on SQLite, where
/// no generator fills it.
const WRONGS: [Wrong; 9] = [
    Wrong {
        what: "a lost event that changed nothing",
        done: "create table saved as select * from events where id = 'EVENT';
               delete from events where id = 'EVENT'",
        undone: "insert into events select * from saved; drop table saved",
        found: &["Lost"],
    },
    Wrong {
        what: "an event that nobody sent",
        done: "insert into events (id, type, livemode, outcome, body, received_at)
               select 'evt_stray', type, livemode, outcome, body, received_at from events where id = 'EVENT'",
        undone: "delete from events where id = 'evt_stray'",
        found: &["Stray"],
    },
    Wrong {
        what: "a body that is gone",
        done: "create table saved as select * from events where id = 'EVENT';
               update events set body = null where id = 'EVENT'",
        undone: "update events set body = (select body from saved) where id = 'EVENT'; drop table saved",
        found: &["Altered"],
    },
    Wrong {
        what: "an order with another status",
        done: "update orders set status = 'failed' where id = 'ORDER'",
        undone: "update orders set status = 'paid' where id = 'ORDER'",
        found: &["UntrueChange", "WrongOrder"],
    },
    Wrong {
        what: "an order that counted a payment twice",
        done: "update orders set amount_received = amount_received * 2 where id = 'ORDER'",
        undone: "update orders set amount_received = amount_received / 2 where id = 'ORDER'",
        found: &["UntrueChange", "WrongOrder"],
    },
    Wrong {
        what: "an order that no event asks for",
        done: "insert into orders (id) values ('stray')",
        undone: "delete from orders where id = 'stray'",
        found: &["StrayOrder", "UntrueChange"],
    },
    Wrong {
        what: "a hole in the versions",
        done: "update orders set version = version + 1 where id = 'ORDER'",
        undone: "update orders set version = version - 1 where id = 'ORDER'",
        found: &["Hole", "UntrueChange"],
    },
    Wrong {
        what: "a change that says something else than was told",
        done: "update order_changes set amount_received = amount_received + 1
               where order_id = 'ORDER'
                 and version = (select version from orders where id = 'ORDER')",
        undone: "update order_changes set amount_received = amount_received - 1
               where order_id = 'ORDER'
                 and version = (select version from orders where id = 'ORDER')",
        found: &["ToldFalsely", "UntrueChange"],
    },
    Wrong {
        what: "an order that is missing, with its changes",
        done: "create table saved as select * from orders where id = 'ORDER';
               create table saved_changes as select * from order_changes where order_id = 'ORDER';
               delete from orders where id = 'ORDER'",
        undone: "insert into orders select * from saved;
               insert into order_changes
                   (order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
                    amount_received, amount_refunded, amount_disputed, currency, event_id, at
                    SEQUENCE)
               select
                    order_id, version, kinds, from_status, to_status, dispute, disputes, problem,
                    amount_received, amount_refunded, amount_disputed, currency, event_id, at
                    SEQUENCE
               from saved_changes order by version;
               drop table saved; drop table saved_changes",
        found: &["NoOrder", "ToldFalsely"],
    },
];

/// No foreign key keeps this out on Postgres; one does on SQLite.
const STRAY_CHANGES: Wrong = Wrong {
    what: "changes of an order that is not there",
    done: "insert into order_changes
               (order_id, version, kinds, to_status, amount_received, amount_refunded, amount_disputed, at)
           values ('stray', 1, '', 'pending', 0, 0, 0, now())",
    undone: "delete from order_changes where order_id = 'stray'",
    found: &["StrayChanges"],
};

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("judge").await?;
        let wrongs: Vec<&Wrong> = WRONGS.iter().chain([&STRAY_CHANGES]).collect();
        try_on(form, "Postgres", &url, &wrongs, &mut report).await?;
        // Postgres lets a table lose its key, so that an event can be there twice.
        let double = "alter table events drop constraint events_pkey;
                      insert into events select * from events where id = 'evt_judge_0'";
        let log = log_of(form, "again", &url).await?;
        Database::open(&url).await?.execute(double).await?;
        expect("an event that is there twice", &["Double"], &url, &log, None, &mut report).await?;
        let url = format!("sqlite://{}/judge.db", form.folder.display());
        try_on(form, "SQLite", &url, &WRONGS.each_ref(), &mut report).await?;
        Ok(report)
    })
}

/// The log of a load of [`EVENTS`], all of which are there already.
async fn log_of(form: &Form, name: &str, url: &str) -> Result<Log> {
    let recipe = Recipe::new(form, name, url)?;
    let (_paidup, _) = recipe.start().await?;
    Driver::start(form, load(&recipe))?.finish().await
}

fn load(recipe: &Recipe) -> Load {
    let load = Load::new(Events::at("judge", 1_790_000_000), 8, &[recipe.address]);
    Load { events_max: Some(EVENTS), ..load }
}

async fn try_on(
    form: &Form,
    database: &str,
    url: &str,
    wrongs: &[&Wrong],
    report: &mut Report,
) -> Result<()> {
    report.section(database);
    let receiver = Receiver::start().await?;
    let recipe = Recipe::new(form, database, url)?.telling(form, &receiver)?;
    let (paidup, _) = recipe.start().await?;
    let log = Driver::start(form, load(&recipe))?.finish().await?;
    let verdict = judge(url, &log, Some(&receiver)).await?;
    verdict.report(report);
    report.must("all that was sent is acknowledged", verdict.acknowledged == EVENTS as usize);
    report.must("something was notified", verdict.notified > 0);
    paidup.kill()?;

    // The first scenario is a PaymentIntent that is created, charged, and succeeds.
    let (event, order) = (log.events().id(2), log.events().order(2));
    for wrong in wrongs {
        let sequence = if url.starts_with("sqlite:") { ", sequence" } else { "" };
        let of_this = |sql: &str| {
            sql.replace("EVENT", &event).replace("ORDER", &order).replace("SEQUENCE", sequence)
        };
        let mut connection = Database::open(url).await?;
        connection.execute(&of_this(wrong.done)).await?;
        expect(wrong.what, wrong.found, url, &log, Some(&receiver), report).await?;
        connection.execute(&of_this(wrong.undone)).await?;
    }
    // An order may have several changes on the way; the last is the one that is told anew.
    let tellings = receiver.tellings();
    let of_order = tellings.into_values().filter(|message| message.telling.order == order);
    let tellings: Vec<Telling> = of_order.map(|message| message.telling).collect();
    receiver.forget(&order);
    expect("a change that was told to nobody", &["Untold"], url, &log, Some(&receiver), report)
        .await?;
    for telling in &tellings {
        receiver.invent(telling);
    }
    expect("… and is told as two messages", &["ToldTwice"], url, &log, Some(&receiver), report)
        .await
}

/// The judge must find this, and nothing else.
async fn expect(
    what: &str,
    must_find: &[&str],
    url: &str,
    log: &Log,
    receiver: Option<&Receiver>,
    report: &mut Report,
) -> Result<()> {
    let verdict = judge(url, log, receiver).await?;
    let found: HashSet<&str> = verdict.findings.iter().map(Finding::name).collect();
    let is_seen = found == must_find.iter().copied().collect();
    report.figure(&format!("seen: {what}"), is_seen);
    report.must(&format!("{what}: found {found:?}, should be {must_find:?}"), is_seen);
    Ok(())
}
