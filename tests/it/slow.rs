//! A database that takes its time: batches become as small as it needs, and large again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paidup::domain::outcome::Outcome;
use paidup::store::transaction::Rules;
use tokio::time::Instant;

use crate::ingest::{paid, start, submit, submit_all};
use crate::support::databases::Database;

/// A statement that the server cancels for its length, as far as paidup can see: the more rows, the longer.
#[tokio::test]
async fn batches_are_as_large_as_the_database_can_take_in_time() {
    let database = Database::postgres().await;
    database
        .execute(
            "create sequence attempts;
             create function slow() returns trigger language plpgsql as $$
             begin
                 perform nextval('attempts');
                 if (select count(*) from made) > 4 then
                     raise exception 'canceling statement due to statement timeout' using errcode = '57014';
                 end if;
                 return null;
             end $$;
             create trigger slow after insert on orders referencing new table as made
                 for each statement execute function slow()",
        )
        .await;
    let running = start(&database, Rules::default());
    let events = |from: usize, until: usize| {
        (from..until).map(|one| paid(one, &format!("O{one}"))).collect()
    };
    let answers = submit_all(&running.ingest, events(0, 200)).await;
    assert_eq!(answers, vec![Ok(Outcome::Applied); 200]);
    let attempts: usize =
        database.one("select last_value::text from attempts").await.parse().expect("one");
    // 50 at the least; to halve from the whole each time takes 63 more.
    assert!((50..115).contains(&attempts), "{attempts} attempts");
    database.execute("drop trigger slow on orders").await;
    let answers = submit_all(&running.ingest, events(1000, 1400)).await;
    assert_eq!(answers, vec![Ok(Outcome::Applied); 400]);
    let batches =
        "select count(distinct xmin::text)::text from events where id ~ '^evt_1[0-9]{3}$'";
    let batches: usize = database.one(batches).await.parse().expect("a number");
    assert!(batches < 40, "{batches} batches");
    running.stopped().await;
    database.remove().await;
}

/// 0.3 s for each order: 40 at once take longer than a transaction may. Callers try again as Stripe does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_trigger_slows_events_down_and_stops_none() {
    let database = Database::postgres().await;
    database
        .execute(
            "create function slow() returns trigger language plpgsql
                 as $$ begin perform pg_sleep(0.3); return new; end $$;
             create trigger slow before insert on orders for each row execute function slow()",
        )
        .await;
    let running = start(&database, Rules::default());
    let (landed, until) = (Arc::new(AtomicUsize::new(0)), Instant::now() + Duration::from_secs(14));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (ingest, landed) = (running.ingest.clone(), Arc::clone(&landed));
        callers.spawn(async move {
            while Instant::now() < until {
                if submit(&ingest, paid(number, &format!("O{number}"))).await.is_ok() {
                    landed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        });
    }
    callers.join_all().await;
    let landed = landed.load(Ordering::Relaxed);
    assert!(landed >= 20, "{landed} of 40 in 14 s; one by one it would be 40");
    running.stopped().await;
    database.remove().await;
}
