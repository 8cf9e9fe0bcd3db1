//! Recovery from Stripe's side: what it has and we have not, and whether it can reach us.

use std::sync::LazyLock;

use paidup::check::Grade;
use paidup::domain::event_types as types;
use paidup::domain::outcome::Outcome;
use paidup::recovery::RecoveryError;
use paidup::recovery::backfill::{BackfillArgs, Filled, backfill};
use paidup::recovery::doctor::doctor;
use paidup::recovery::stripe::ApiError;
use paidup::store::transaction::{Rules, record};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, pi};
use crate::support::service::paidup;
use crate::support::stripe::{KEY, Odd, Stripe};

fn args() -> BackfillArgs {
    BackfillArgs { since: "3d".to_owned(), only_undelivered: false, dry_run: false }
}

fn paid(number: usize) -> EventBody {
    // Once, for an event that is made again must be the same.
    static NOW: LazyLock<i64> = LazyLock::new(paidup::unix_seconds);
    let pi = pi(&format!("pi_{number}")).order(&format!("O{number}"));
    let event = pi.event("payment_intent.succeeded").id(&format!("evt_{number:04}"));
    event.at(*NOW - 1000 + i64::try_from(number).expect("small"))
}

async fn filled(
    database: &Database,
    stripe: &Stripe,
    args: &BackfillArgs,
) -> Result<Filled, RecoveryError> {
    backfill(&database.store, &Rules::default(), &stripe.client(KEY), args).await
}

async fn count(database: &Database, of: &str) -> usize {
    database
        .one(&format!("select cast(count(*) as text) from {of}"))
        .await
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn what_is_missing_is_recorded_and_what_was_seen_is_skipped() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        for number in 0..250 {
            stripe.happens(&paid(number), true);
        }
        stripe.happens(&pi("pi_x").event("customer.created").at(paidup::unix_seconds()), true);
        let mut connection = database.session().await;
        let seen: Vec<_> = (100..120).map(|number| paid(number).event()).collect();
        let seen: Vec<_> = seen.iter().collect();
        record(&mut connection, &Rules::default(), &seen, paidup::unix_milliseconds())
            .await
            .expect("recorded");
        connection.close().await;

        let dry = BackfillArgs { dry_run: true, ..args() };
        let expected = Filled { read: 250, missing: 230, ..Filled::default() };
        assert_eq!(filled(database, &stripe, &dry).await.expect("counted"), expected);
        assert_eq!(count(database, "events").await, 20, "a dry run is dry");
        let expected = Filled { applied: 230, ..expected };
        assert_eq!(filled(database, &stripe, &args()).await.expect("filled"), expected);
        assert_eq!(count(database, "events").await, 250);
        assert_eq!(count(database, "orders where status = 'paid'").await, 250);
        assert_eq!(
            count(database, "events where conflicts > 0").await,
            0,
            "the same in other bytes"
        );
        let again = filled(database, &stripe, &args()).await.expect("filled");
        assert_eq!(again, Filled { read: 250, ..Filled::default() });
        assert_eq!(stripe.versions_asked(), 0);
        assert!(stripe.asked().iter().all(|asked| asked.matches("types[]").count() <= 20));
    })
    .await;
}

/// An event that comes by its webhook after the backfill is a duplicate, though its bytes differ; and
/// what was recorded are the bytes that Stripe's API gave.
#[tokio::test]
async fn a_webhook_after_the_backfill_is_a_duplicate() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.happens(&paid(1), false);
        filled(database, &stripe, &args()).await.expect("filled");
        let mut connection = database.session().await;
        let event = paid(1).event();
        let landed =
            record(&mut connection, &Rules::default(), &[&event], paidup::unix_milliseconds())
                .await;
        let outcomes: Vec<_> =
            landed.expect("recorded").into_iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes, [Outcome::Duplicate]);
        let kept = connection.recorded_events(&["evt_0001"]).await.expect("an answer");
        let kept = String::from_utf8(kept[0].body.clone().expect("a body")).expect("text");
        assert_ne!(kept.as_bytes(), event.body().as_ref());
        assert!(kept.contains("\n      \"id\": \"evt_0001\""), "as it stood in the list: {kept}");
    })
    .await;
}

#[tokio::test]
async fn only_what_was_asked_for_is_read() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        let now = paidup::unix_seconds();
        stripe.happens(&paid(1).at(now - 5 * 86_400), true);
        stripe.happens(&paid(2).at(now - 2 * 86_400), true);
        stripe.happens(&paid(3), false);
        let undelivered = BackfillArgs { only_undelivered: true, ..args() };
        assert_eq!(filled(database, &stripe, &undelivered).await.expect("filled").read, 1);
        assert_eq!(filled(database, &stripe, &args()).await.expect("filled").missing, 1);
        let all = BackfillArgs { since: "30d".to_owned(), ..args() };
        assert_eq!(filled(database, &stripe, &all).await.expect("filled").missing, 1);
        assert_eq!(count(database, "orders").await, 3);
    })
    .await;
}

fn odd(status: u16, retry_after: Option<&'static str>, body: &'static str) -> Odd {
    Odd { status, retry_after, body }
}

#[tokio::test]
async fn a_busy_stripe_is_asked_again_and_a_wrong_answer_is_not_gone_past() {
    let database = Database::sqlite().await;
    let stripe = Stripe::start().await;
    for number in 0..150 {
        stripe.happens(&paid(number), true);
    }
    stripe.will_answer([
        odd(429, Some("0"), "{}"),
        odd(500, Some("0"), "oops"),
        odd(503, Some("0"), ""),
        odd(409, Some("0"), "{}"),
    ]);
    assert_eq!(filled(&database, &stripe, &args()).await.expect("filled").missing, 150);
    database.execute("delete from events").await;

    let broken = [
        r#"{"object":"list","data":[{"id":"evt_1"}],"has_more":false}"#,
        r#"{"object":"list","data":[],"has_more":true}"#,
        r#"{"object":"list","data":[{"id":"evt_1","type""#,
        r#"{"object":"event","data":[],"has_more":false}"#,
        "<html>a proxy</html>",
        "",
    ];
    for body in broken {
        stripe.will_answer([odd(200, None, body)]);
        let error = filled(&database, &stripe, &args()).await.expect_err(body);
        assert!(matches!(error, RecoveryError::Api(ApiError::Malformed)), "{body}: {error}");
        assert_eq!(count(&database, "events").await, 0);
    }
    for (status, expected) in [
        (403, ApiError::KeyForbidden),
        (400, ApiError::Answered(400)),
        (302, ApiError::Answered(302)),
    ] {
        stripe.will_answer([odd(status, None, "secret words")]);
        let error = filled(&database, &stripe, &args()).await.expect_err("refused");
        assert!(matches!(&error, RecoveryError::Api(api) if *api == expected), "{error}");
        assert!(!error.to_string().contains("secret words"));
    }
    let asked = stripe.asked().len();
    stripe.will_answer((0..6).map(|_| odd(500, Some("0"), "")));
    let error = filled(&database, &stripe, &args()).await.expect_err("away");
    assert!(matches!(error, RecoveryError::Api(ApiError::Away)), "{error}");
    assert_eq!(stripe.asked().len() - asked, 6);
    let stranger = stripe.client("rk_test_another");
    let error = backfill(&database.store, &Rules::default(), &stranger, &args()).await;
    assert!(matches!(error, Err(RecoveryError::Api(ApiError::KeyUnknown))), "{error:?}");
    database.remove().await;
}

#[tokio::test]
async fn an_event_that_the_database_refuses_costs_no_other() {
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
        for number in 0..20 {
            stripe.happens(&paid(number), true);
        }
        let filled = filled(database, &stripe, &args()).await.expect("filled");
        assert_eq!((filled.read, filled.missing, filled.refused), (20, 19, 1));
        assert_eq!(count(database, "orders").await, 19);
    })
    .await;
}

const URL: &str = "https://shop.example/webhook/stripe";

async fn told(database: &Database, stripe: &Stripe, url: Option<&str>) -> Vec<(Grade, String)> {
    let findings = doctor(&database.store, &stripe.client(KEY), url).await.expect("an answer");
    findings.into_iter().map(|finding| (finding.grade, finding.told)).collect()
}

fn has(told: &[(Grade, String)], grade: Grade, word: &str) -> bool {
    told.iter().any(|(given, text)| *given == grade && text.contains(word))
}

#[tokio::test]
async fn the_doctor_finds_what_keeps_webhooks_away() {
    use Grade::{Bad, Doubtful, Good};
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.endpoint("we_9", "https://other.example/hook", "enabled", &["*"], None);
        let none = told(database, &stripe, Some(URL)).await;
        assert!(has(&none, Bad, "no webhook endpoint"), "{none:?}");
        assert!(has(&none, Bad, "https://other.example/hook"), "{none:?}");
        assert!(has(&none, Doubtful, "nothing was recorded"), "{none:?}");
        assert!(has(&none, Good, "delivered all events"), "{none:?}");

        let stripe = Stripe::start().await;
        stripe.endpoint("we_1", URL, "disabled", &["*"], None);
        let disabled = told(database, &stripe, Some(URL)).await;
        assert!(has(&disabled, Bad, "we_1 (https://shop.example/webhook/stripe) is disabled"));

        let stripe = Stripe::start().await;
        let some: Vec<&str> =
            types::NEEDED[1..].iter().chain(&types::ADVISED[1..]).copied().collect();
        stripe.endpoint("we_1", URL, "enabled", &some, Some("2025-03-31.basil"));
        let all: Vec<&str> = types::all().collect();
        stripe.endpoint(
            "we_2",
            "https://SHOP.example/webhook/stripe/",
            "enabled",
            &all,
            Some("2020-08-27"),
        );
        let mut connection = database.session().await;
        let event = paid(1).event();
        record(&mut connection, &Rules::default(), &[&event], paidup::unix_milliseconds())
            .await
            .expect("recorded");
        stripe.happens(&paid(1), false);
        let both = told(database, &stripe, Some(URL)).await;
        assert!(
            has(
                &both,
                Bad,
                "we_1 (https://shop.example/webhook/stripe) does not send payment_intent.succeeded"
            ),
            "{both:?}"
        );
        assert!(has(&both, Doubtful, &format!("does not send {};", types::ADVISED[0])), "{both:?}");
        assert!(
            !has(&both, Bad, "we_2") && has(&both, Doubtful, "we_1 and we_2 both call"),
            "{both:?}"
        );
        assert!(has(&both, Good, "sends API version 2025-03-31.basil"), "{both:?}");
        assert!(
            has(&both, Doubtful, "sends API version 2020-08-27, but what came last has"),
            "{both:?}"
        );
        assert!(has(&both, Good, "1 events of the last 3 days were not delivered"), "{both:?}");
        assert!(
            has(&both, Good, "1 events were recorded (the newest 100 of each kind counted)"),
            "{both:?}"
        );

        stripe.happens(&paid(2), false);
        let missing = told(database, &stripe, None).await;
        assert!(
            has(&missing, Bad, "1 events of the last 3 days were not delivered, and are missing"),
            "{missing:?}"
        );
        assert!(has(&missing, Doubtful, "PUBLIC_URL is not set"), "{missing:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_backfills_and_examines() {
    on_both(async |database| {
        let stripe = Stripe::start().await;
        stripe.happens(&paid(1), true);
        stripe.endpoint("we_1", URL, "enabled", &["*"], None);
        let run = async |words: &str, settings: &[(&str, &str)]| {
            let mut command = paidup();
            command
                .args(words.split(' '))
                .env("DATABASE_URL", &database.url)
                .env("STRIPE_API_BASE", &stripe.base)
                .envs(settings.iter().copied());
            let output = tokio::task::spawn_blocking(move || command.output()).await;
            let output = output.expect("no panic").expect("it runs");
            let text = |bytes| String::from_utf8(bytes).expect("text");
            (output.status.success(), text(output.stdout), text(output.stderr))
        };
        let key = ("STRIPE_API_KEY", KEY);
        let (done, out, err) = run("backfill --since 1d --dry-run", &[key]).await;
        assert!(done && out.contains("1 events read: 1 were missing"), "{out}{err}");
        let (done, out, err) = run("backfill", &[key]).await;
        assert!(
            done && out.contains("1 were missing, 1 of them changed their order, 0 were refused"),
            "{out}{err}"
        );
        let (done, out, err) = run("doctor", &[key, ("PUBLIC_URL", URL)]).await;
        assert!(done && out.contains("we_1") && !out.contains("BAD"), "{out}{err}");
        assert!(!run("doctor --url https://elsewhere.example/webhook/stripe", &[key]).await.0);

        for (settings, word) in [
            (vec![], "STRIPE_API_KEY is not set"),
            (vec![("STRIPE_API_KEY", "whsec_hunter2")], "holds no API key"),
            (vec![("STRIPE_API_KEY", "rk_test_hunter2")], "does not know the key"),
            (vec![key, ("STRIPE_API_BASE", "http://stripe.example")], "not an https address"),
        ] {
            for command in ["backfill", "doctor"] {
                let (done, out, err) = run(command, &settings).await;
                assert!(!done && err.contains(word), "{command} {settings:?}: {out}{err}");
                assert!(!err.contains("hunter2"), "{err}");
            }
        }
    })
    .await;
}

/// The guide names every type that is to be selected: `doctor` points there.
#[test]
fn the_guide_names_every_type_to_select() {
    let guide = include_str!("../../docs/guides/stripe.md");
    for kind in types::NEEDED.into_iter().chain(types::ADVISED) {
        assert!(guide.contains(&format!("`{kind}`")), "{kind} is not in the guide");
    }
}
