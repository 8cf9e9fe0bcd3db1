//! `BACKFILL_EVERY`: one process of all asks, what it has not committed it reads again, and nothing is
//! locked by one that died.

use std::sync::LazyLock;
use std::time::Duration;

use paidup::domain::event_types as types;
use paidup::ingest::{self, Ingest, Retention};
use paidup::recovery::backfill::TYPES_MAX;
use paidup::recovery::rounds::{FIRST_SECONDS, LEASE_SECONDS, OVERLAP_SECONDS, Rounds};
use paidup::store::transaction::Rules;
use tokio_util::sync::CancellationToken;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, pi};
use crate::support::service::{Service, eventually};
use crate::support::stripe::{KEY, Odd, Stripe};

const MINUTE: i64 = 60_000;

/// In milliseconds, once: an event that is made again must be the same.
static NOW: LazyLock<i64> = LazyLock::new(paidup::unix_milliseconds);

fn created(number: usize) -> i64 {
    NOW.div_euclid(1000) - 3000 + i64::try_from(number).expect("small")
}

fn paid(number: usize) -> EventBody {
    let pi = pi(&format!("pi_{number}")).order(&format!("O{number}"));
    pi.event("payment_intent.succeeded").id(&format!("evt_{number:04}")).at(created(number))
}

/// How many questions a round asks that finds no more than a page of each.
fn questions() -> usize {
    types::all().count().div_ceil(TYPES_MAX)
}

struct Process {
    rounds: Rounds,
    ingest: Ingest,
}

fn process(database: &Database, stripe: &Stripe) -> Process {
    let stop = CancellationToken::new();
    let retention = Retention { event_body_days: None };
    let rules = Rules::default();
    let (ingest, _) = ingest::start(database.store.clone(), rules.clone(), retention, stop.clone())
        .expect("a thread");
    // The writer ends with its thread's runtime; these tests need only its bell.
    stop.cancel();
    let every = Duration::from_secs(15 * 60);
    let (store, api) = (database.store.clone(), stripe.client(KEY));
    let rounds = Rounds::new(store, rules, api, every, ingest.clone(), CancellationToken::new());
    Process { rounds, ingest }
}

/// The begin of the lists that were asked for, in Unix seconds, one for each question.
fn begins(stripe: &Stripe) -> Vec<i64> {
    let asked = stripe.asked();
    let begins = asked.iter().map(|asked| {
        let after = asked.split("created[gte]=").nth(1).expect("a begin");
        after.split('&').next().expect("a number").parse().expect("a number")
    });
    begins.collect()
}

async fn watermark(database: &Database) -> String {
    database.one("select cast(watermark as text) from backfill_rounds").await
}

async fn events(database: &Database) -> String {
    database.one("select cast(count(*) as text) from events").await
}

#[tokio::test]
async fn one_process_of_two_asks_and_the_next_round_begins_before_the_last_one_ended() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.happens(&paid(1), true);
        let (mut one, mut other) = (process(database, &stripe), process(database, &stripe));
        let news = [one.ingest.news(), other.ingest.news()];
        tokio::join!(one.rounds.look(*NOW), other.rounds.look(*NOW));
        assert_eq!(events(database).await, "1");
        let first = NOW.div_euclid(1000) - FIRST_SECONDS;
        assert_eq!(begins(&stripe), vec![first; questions()], "one of the two");
        assert_eq!(watermark(database).await, created(1).to_string());
        assert!(news.iter().any(|news| news.has_changed().expect("a bell")), "others hear of it");

        for process in [&mut one, &mut other] {
            process.rounds.look(*NOW + 15 * MINUTE - 1).await;
        }
        assert_eq!(stripe.asked().len(), questions(), "none is due");
        stripe.happens(&paid(2), false);
        other.rounds.look(*NOW + 15 * MINUTE).await;
        assert_eq!(events(database).await, "2");
        let second = begins(&stripe).split_off(questions());
        assert_eq!(second, vec![created(1) - OVERLAP_SECONDS; questions()]);
        assert_eq!(watermark(database).await, created(2).to_string());
    })
    .await;
}

#[tokio::test]
async fn the_round_of_a_process_that_died_is_done_by_another_when_its_lease_is_over() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.happens(&paid(1), true);
        let lease = i64::try_from(LEASE_SECONDS).expect("small") * 1000;
        let mut session = database.session().await;
        let dead = session.claim_round(*NOW, *NOW + lease).await.expect("an answer");
        let dead = dead.expect("a round");
        let mut process = process(database, &stripe);
        process.rounds.look(*NOW + lease - 1).await;
        assert_eq!(stripe.asked(), Vec::<String>::new(), "it may live");
        process.rounds.look(*NOW + lease).await;
        assert_eq!(events(database).await, "1");

        // Were it alive after all, it would have nothing to say any more.
        assert_eq!(session.extend_round(dead.claim, *NOW + 9 * lease).await.expect("an answer"), 0);
        let late = session.finish_round(dead.claim, Some(1), *NOW, *NOW).await;
        assert_eq!(late.expect("an answer"), 0);
        assert_eq!(session.release_round(dead.claim, 0).await.expect("an answer"), 0);
        assert_eq!(watermark(database).await, created(1).to_string());
    })
    .await;
}

#[tokio::test]
async fn the_watermark_moves_only_when_all_is_read_and_committed() {
    on_both(async |database| {
        let refuse = if database.is_postgres() {
            "create function refuse() returns trigger language plpgsql
                 as $$ begin raise exception 'no'; end $$;
             create trigger refuse before insert on orders
                 for each row when (new.id = 'O7') execute function refuse()"
        } else {
            "create trigger refuse before insert on orders when new.id = 'O7'
             begin select raise(abort, 'no'); end"
        };
        database.execute(refuse).await;
        let stripe = Stripe::start().await;
        (0..10).for_each(|number| stripe.happens(&paid(number), true));
        let mut process = process(database, &stripe);

        stripe.will_answer([Odd { status: 403, retry_after: None, body: "{}" }]);
        process.rounds.look(*NOW).await;
        assert_eq!(
            (events(database).await, watermark(database).await),
            ("0".into(), "null".into())
        );
        process.rounds.look(*NOW + 5 * MINUTE - 1).await;
        assert_eq!(stripe.asked().len(), 1, "not at once again");

        process.rounds.look(*NOW + 5 * MINUTE).await;
        assert_eq!(
            (events(database).await, watermark(database).await),
            ("9".into(), "null".into())
        );

        let drop = if database.is_postgres() {
            "drop trigger refuse on orders"
        } else {
            "drop trigger refuse"
        };
        database.execute(drop).await;
        process.rounds.look(*NOW + 10 * MINUTE).await;
        let newest = created(9).to_string();
        assert_eq!(
            (events(database).await, watermark(database).await),
            ("10".into(), newest.clone())
        );

        // A round that finds nothing leaves it, and one of the future does not carry it away.
        process.rounds.look(*NOW + 25 * MINUTE).await;
        assert_eq!(watermark(database).await, newest);
        stripe.happens(&paid(11).at(NOW.div_euclid(1000) + 1_000_000), true);
        process.rounds.look(*NOW + 40 * MINUTE).await;
        let began = (NOW.div_euclid(1000) + 40 * 60).to_string();
        assert_eq!((events(database).await, watermark(database).await), ("11".into(), began));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_fill_what_was_missed_and_a_stop_does_not_wait_for_stripe() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.happens(&paid(1), false);
        let settings = [
            ("BACKFILL_EVERY", "15m"),
            ("STRIPE_API_KEY", KEY),
            ("STRIPE_API_BASE", stripe.base.as_str()),
        ];
        let services = [Service::start(database, &settings), Service::start(database, &settings)];
        let at =
            "select cast(count(*) as text) from backfill_rounds where succeeded_at is not null";
        eventually("a round", async || database.one(at).await == "1").await;
        assert_eq!(events(database).await, "1");
        assert_eq!(stripe.asked().len(), questions(), "one of the two");
        let done = "paidup_backfill_rounds_total{result=\"done\"}";
        let rounds = async || services[0].metric(done).await + services[1].metric(done).await;
        eventually("it is counted", async || rounds().await > 0.5).await;
        let found = "paidup_backfill_events_total";
        let found = services[0].metric(found).await + services[1].metric(found).await;
        assert!((found - 1.0).abs() < 0.5, "{found}");
        for service in services {
            let (status, log) = service.stopped().await;
            assert!(status.success() && !log.contains(KEY), "{log}");
        }

        // Stripe asks for a pause that is longer than a stop may take.
        database.execute("update backfill_rounds set next_at = null").await;
        stripe.will_answer([Odd { status: 429, retry_after: Some("60"), body: "{}" }]);
        let service = Service::start(database, &settings);
        eventually("it asks", async || stripe.asked().len() > questions()).await;
        let (status, log) = service.stopped().await;
        assert!(status.success(), "{log}");
        let free = "select cast(count(*) as text) from backfill_rounds where leased_until is null";
        assert_eq!(database.one(free).await, "1", "another may go on at once");
        assert_eq!(stripe.asked().len(), questions() + 1);
    })
    .await;
}
