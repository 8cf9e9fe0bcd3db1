//! Events that the database refuses, among others: a trigger of the shop's raises an error for them.

use std::collections::HashSet;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::Events;
use crate::form::Form;
use crate::judge::judge;
use crate::process::{Recipe, until};
use crate::report::Report;

const CONNECTIONS: usize = 64;
/// One event in so many is refused.
const POISONED_ONE_IN: u32 = 50;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("trial").await?;
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (paidup, _) = recipe.start().await?;
        let mut database = Database::open(&url).await?;
        database
            .execute(&format!(
                "create function refuse() returns trigger language plpgsql as $$ begin
                 if substring(new.id from '[0-9]+$')::int % {POISONED_ONE_IN} = 7 then
                     raise exception 'no %', new.id;
                 end if;
                 return new;
             end $$;
             create trigger refuse before insert on events for each row execute function refuse()"
            ))
            .await?;
        let events = form.pick(1_000, 50_000);
        let load = Load::new(Events::new("bad"), CONNECTIONS, &[recipe.address]);
        // Else the refused ones, more than there are connections, would keep all others waiting.
        let load = Load { events_max: Some(events), is_patient: true, ..load };
        let driver = Driver::start(form, load)?;
        let is_poison = |number: u32| number % POISONED_ONE_IN == 7;
        let good = (0..events).filter(|number| !is_poison(*number)).count();
        let poison = events as usize - good;
        let (mut seen, mut landed, mut refused) = (0, HashSet::new(), HashSet::new());
        let took = until("all good events land, and each poisoned one is refused", async || {
            let answers = driver.answers_from(seen);
            seen += answers.len();
            for answer in answers {
                let into = if answer.status == 200 { &mut landed } else { &mut refused };
                into.insert(answer.number);
            }
            landed.len() == good && poison <= refused.len()
        })
        .await?;
        let false_200s = landed.iter().filter(|number| is_poison(**number)).count();
        let innocent = refused.iter().filter(|number| !is_poison(**number)).count();
        let told = paidup.metric("paidup_refusals_total").await?;
        let log = recipe.log();
        let named = (0..events)
            .filter(|number| is_poison(*number) && log.contains(&format!("evt_bad_{number}")));
        let named = named.count();
        // The shop mends its trigger: then the poisoned ones, which Stripe sends again, land too.
        database.execute("drop trigger refuse on events").await?;
        let verdict = judge(&url, &driver.finish().await?, None).await?;
        verdict.report(&mut report);
        report.figure("poisoned events", poison);
        report.figure("… answered 200", false_200s);
        report.figure("… named in the log as refused by the database", named);
        report.figure("good events that were refused for another's sake", innocent);
        report.figure("refusals counted", told);
        report.milliseconds("all good ones landed after", took);
        report.must("no poisoned event is answered 200", false_200s == 0);
        report.must("every poisoned event is named in the log", named == poison);
        report.must("the good ones land", innocent == 0);
        Ok(report)
    })
}
