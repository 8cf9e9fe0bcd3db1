//! What an operator does when something was missed, changed or grew old: replay, prune, export.

use paidup::domain::event::Event;
use paidup::domain::policy::{Accounts, Mode, Policy};
use paidup::ingest::Retention;
use paidup::recovery::RecoveryError;
use paidup::recovery::export::{EXPORT_ORDERS_MAX, Format, export};
use paidup::recovery::prune::{Pruned, prune};
use paidup::recovery::replay::{ReplayArgs, Tally, replay};
use paidup::store::transaction::{Destination, Rules, record};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, charge, pi, session};
use crate::support::service::paidup;

const DAY: i64 = 24 * 60 * 60 * 1000;
/// Every column of an order that the events alone decide.
const ORDERS: &str =
    "select id || ' ' || status || ' ' || amount_received || ' ' || amount_refunded || ' '
        || coalesce(currency, '-') || ' ' || coalesce(failure_code, '-') || ' '
        || coalesce(cast(paid_at as text), '-') || ' ' || coalesce(cast(created_at as text), '-')
 from orders order by id";
const OUTCOMES: &str = "select id || ' ' || outcome || ' ' || coalesce(order_id, '-') || ' '
        || coalesce(payment_key, '-') || ' ' || reason from events order by id";

fn mode(mode: Mode) -> Rules {
    let shipping =
        Destination { name: "shipping".to_owned(), wants: vec!["order.paid".to_owned()] };
    Rules { policy: Policy { mode, ..Policy::default() }, destinations: vec![shipping] }
}

async fn deliver(database: &Database, rules: &Rules, bodies: &[EventBody], at: i64) {
    let mut session = database.session().await;
    // One by one, as they come.
    for body in bodies {
        let event: Event = body.event();
        record(&mut session, rules, &[&event], at).await.expect("recorded");
    }
    session.close().await;
}

async fn replayed(database: &Database, rules: &Rules, args: &ReplayArgs) -> (Tally, String) {
    let mut out = Vec::new();
    let tally = replay(&database.store, rules, args, &mut out).await.expect("replayed");
    (tally, String::from_utf8(out).expect("text"))
}

/// A session that brings the order of a payment, a refund, a failure, and what no order depends on.
fn story() -> Vec<EventBody> {
    vec![
        pi("pi_1").event("payment_intent.succeeded").id("evt_1").at(100),
        session("cs_1")
            .pi("pi_1")
            .order("O1")
            .event("checkout.session.completed")
            .id("evt_2")
            .at(90),
        charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded").id("evt_3").at(200),
        pi("pi_2")
            .order("O2")
            .failure("card_declined", "No.")
            .event("payment_intent.payment_failed")
            .id("evt_4")
            .at(300),
        pi("pi_3").event("customer.created").id("evt_5"),
        pi("pi_4").event("payment_intent.succeeded").id("evt_6"),
    ]
}

/// The settings that let every account's events count.
fn any_account() -> Rules {
    let rules = mode(Mode::Live);
    Rules { policy: Policy { accounts: Accounts::Any, ..rules.policy }, ..rules }
}

#[tokio::test]
async fn a_replay_of_what_is_folded_already_changes_nothing() {
    on_both(async |database| {
        let rules = mode(Mode::Live);
        deliver(database, &rules, &story(), paidup::unix_milliseconds()).await;
        let before = (database.column(ORDERS).await, database.column(OUTCOMES).await);
        let changes = "select order_id || ' ' || version from order_changes order by 1";
        let changes_before = database.column(changes).await;
        let (tally, out) = replayed(database, &rules, &ReplayArgs::default()).await;
        assert_eq!(tally, Tally { events: 6, ..Tally::default() });
        assert_eq!(out, "");
        assert_eq!((database.column(ORDERS).await, database.column(OUTCOMES).await), before);
        assert_eq!(database.column(changes).await, changes_before);
    })
    .await;
}

#[tokio::test]
async fn orders_that_were_lost_come_back_from_the_events_alone() {
    on_both(async |database| {
        let rules = mode(Mode::Live);
        deliver(database, &rules, &story(), paidup::unix_milliseconds()).await;
        let before = database.column(ORDERS).await;
        assert_eq!(before.len(), 2);
        for table in ["orders", "payments", "payment_links"] {
            database.execute(&format!("delete from {table}")).await;
        }
        let (tally, out) = replayed(database, &rules, &ReplayArgs::default()).await;
        assert_eq!((tally.events, tally.changes), (6, 2), "{out}");
        assert_eq!(database.column(ORDERS).await, before);
        let again = replayed(database, &rules, &ReplayArgs::default()).await.0;
        assert_eq!((again.changes, again.moved), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_another_setting_lets_pass_has_its_effect_and_is_told() {
    on_both(async |database| {
        let events = [
            pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1").account("acct_1"),
            pi("pi_2").order("O2").event("payment_intent.succeeded").id("evt_2"),
        ];
        deliver(database, &mode(Mode::Live), &events, paidup::unix_milliseconds()).await;
        let orders = database.column("select id || ' ' || status from orders order by id").await;
        assert_eq!(orders, ["O2 paid"]);
        let outcomes = database.column(OUTCOMES).await;

        let dry = ReplayArgs { dry_run: true, ..ReplayArgs::default() };
        let (tally, out) = replayed(database, &any_account(), &dry).await;
        assert_eq!(tally, Tally { events: 2, changes: 1, moved: 1, without_body: 0 });
        assert!(out.contains("order acct_1/O1: would be new → paid, received 299.00 USD"), "{out}");
        assert!(out.contains("would be ignored → applied"), "{out}");
        assert_eq!(database.column("select id from orders").await, ["O2"], "a dry run is dry");
        assert_eq!(database.column(OUTCOMES).await, outcomes);

        let (tally, out) = replayed(database, &any_account(), &ReplayArgs::default()).await;
        assert_eq!((tally.changes, tally.moved), (1, 1));
        assert!(!out.contains("would"), "{out}");
        let orders = database.column("select id || ' ' || status from orders order by id").await;
        assert_eq!(orders, ["O2 paid", "acct_1/O1 paid"]);
        let told = "select outcome || ' ' || order_id || ' ' || payment_key from events where id = 'evt_1'";
        assert_eq!(database.one(told).await, "applied acct_1/O1 pi_1");
        let by = "select event_id from order_changes where order_id = 'acct_1/O1'";
        assert_eq!(database.one(by).await, "evt_1");
        let deliveries = "select order_id || ' ' || destination from deliveries order by 1";
        assert_eq!(database.column(deliveries).await, ["O2 shipping", "acct_1/O1 shipping"]);

        // What once had its effect has had it, whatever is set now.
        let (tally, _) = replayed(database, &mode(Mode::Live), &ReplayArgs::default()).await;
        assert_eq!((tally.changes, tally.moved), (0, 0));
        assert_eq!(database.one(told).await, "applied acct_1/O1 pi_1");
    })
    .await;
}

#[tokio::test]
async fn only_what_was_asked_for_is_replayed() {
    on_both(async |database| {
        let rules = mode(Mode::Live);
        let now = paidup::unix_milliseconds();
        deliver(database, &rules, &story()[..3], now - 2 * DAY).await;
        deliver(database, &rules, &story()[3..], now).await;
        let some = |text: &str| Some(text.to_owned());
        let all = ReplayArgs::default;
        for (args, events) in [
            (ReplayArgs { since: some("1d"), ..all() }, 3),
            (ReplayArgs { since: some("3d"), ..all() }, 6),
            (ReplayArgs { kind: some("payment_intent.succeeded"), ..all() }, 2),
            (ReplayArgs { kind: some("payment_intent.succeeded"), since: some("1d"), ..all() }, 1),
            (ReplayArgs { order: some("O1"), ..all() }, 3),
            (ReplayArgs { order: some("O1"), kind: some("charge.refunded"), ..all() }, 1),
            (ReplayArgs { event: some("evt_5"), ..all() }, 1),
        ] {
            assert_eq!(replayed(database, &rules, &args).await.0.events, events, "{args:?}");
        }
        let refused = async |args: ReplayArgs| {
            replay(&database.store, &rules, &args, &mut Vec::new()).await.expect_err("refused")
        };
        let missing = refused(ReplayArgs { event: some("evt_9"), ..all() }).await;
        assert!(matches!(missing, RecoveryError::NoEvent(_)), "{missing}");
        let missing = refused(ReplayArgs { order: some("O9"), ..all() }).await;
        assert!(matches!(missing, RecoveryError::Tell(_)), "{missing}");
        let wrong = refused(ReplayArgs { since: some("soon"), ..all() }).await;
        assert!(matches!(wrong, RecoveryError::Since(_)), "{wrong}");
    })
    .await;
}

/// More than a page is looked at, and more than a transaction is folded.
#[tokio::test]
async fn a_replay_goes_through_all_pages() {
    on_both(async |database| {
        let rules = mode(Mode::Live);
        let mut session = database.session().await;
        let events: Vec<Event> = (0..2500)
            .map(|one| {
                let pi = pi(&format!("pi_{one}")).order(&format!("O{}", one % 100));
                pi.event("payment_intent.succeeded").id(&format!("evt_{one}")).event()
            })
            .collect();
        let events: Vec<&Event> = events.iter().collect();
        for batch in events.chunks(500) {
            record(&mut session, &rules, batch, paidup::unix_milliseconds())
                .await
                .expect("recorded");
        }
        session.close().await;
        let before = database.column(ORDERS).await;
        database.execute("delete from orders").await;
        database.execute("delete from payments").await;
        let (tally, _) = replayed(database, &rules, &ReplayArgs::default()).await;
        assert_eq!(tally.events, 2500);
        assert_eq!(database.column(ORDERS).await, before);
    })
    .await;
}

#[tokio::test]
async fn prune_drops_bodies_and_ids_by_their_age_and_a_dry_run_counts_them() {
    on_both(async |database| {
        let rules = mode(Mode::Live);
        let now = paidup::unix_milliseconds();
        deliver(database, &rules, &story()[..3], now - 401 * DAY).await;
        deliver(database, &rules, &story()[3..5], now - 91 * DAY).await;
        // Parked: money waits there.
        deliver(database, &rules, &story()[5..], now - 401 * DAY).await;
        let young = pi("pi_7").order("O7").event("payment_intent.succeeded").id("evt_7");
        deliver(database, &rules, &[young], now - 89 * DAY).await;
        let days = |days| Retention { event_body_days: days };
        let ids =
            "select id || case when body is null then ' -' else '' end from events order by id";
        let told = "select destination from deliveries where destination in ('sent', 'waiting')";
        // OrderSnapshot long ago, and still to be told.
        for (status, settled) in [("sent", "'2020-01-01T00:00:00Z'"), ("waiting", "null")] {
            let insert = format!(
                "insert into deliveries
                     (order_id, version, destination, status, next_attempt_at, created_at, settled_at)
                 values ('O1', 1, '{status}', '{status}', '2020-01-01T00:00:00Z',
                         '2020-01-01T00:00:00Z', {settled})"
            );
            database.execute(&insert).await;
        }

        let kept = prune(&database.store, days(None), false).await.expect("pruned");
        assert_eq!(kept, Pruned::default(), "kept for ever");
        let counted = prune(&database.store, days(Some(90)), true).await.expect("counted");
        assert_eq!(counted, Pruned { bodies: 5, events: 3, deliveries: 1 });
        assert_eq!(database.column(ids).await.len(), 7);
        let pruned = prune(&database.store, days(Some(90)), false).await.expect("pruned");
        assert_eq!(pruned, Pruned { bodies: 2, events: 3, deliveries: 1 });
        assert_eq!(database.column(ids).await, ["evt_4 -", "evt_5 -", "evt_6", "evt_7"]);
        assert_eq!(database.column(told).await, ["waiting"]);

        let (tally, out) = replayed(database, &rules, &ReplayArgs::default()).await;
        assert_eq!((tally.events, tally.without_body), (4, 2));
        assert!(out.contains("its body was pruned"), "{out}");
        let orders = database.column("select id || ' ' || status from orders order by id").await;
        assert_eq!(orders, ["O1 partially_refunded", "O2 failed", "O7 paid"], "orders stay");
    })
    .await;
}

#[tokio::test]
async fn every_order_is_exported_once_in_both_formats() {
    on_both(async |database| {
        let orders = 2 * EXPORT_ORDERS_MAX + 1;
        let mut values = (0..orders).map(|one| format!("('O{one}', {one}, 'eur')"));
        let first = values.next().expect("one");
        let values = values.fold(first, |all, one| format!("{all}, {one}"));
        database
            .execute(&format!("insert into orders (id, amount_due, currency) values {values}"))
            .await;
        deliver(database, &mode(Mode::Live), &story(), paidup::unix_milliseconds()).await;
        database.execute("update orders set customer_email = 'a,\"b\"@c' where id = 'O2'").await;

        let mut json = Vec::new();
        let count = export(&database.store, Format::Json, &mut json).await.expect("exported");
        assert_eq!(count, orders.unsigned_abs());
        let json = String::from_utf8(json).expect("text");
        let rows: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let ids = database.column("select id from orders order by id").await;
        let exported: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        let mut sorted = exported.clone();
        sorted.sort_unstable();
        assert_eq!(exported, sorted, "by id");
        assert_eq!(exported.len(), ids.len());
        let one = rows.iter().find(|row| row["id"] == "O1").expect("O1");
        assert_eq!(one["status"], "pending");
        assert_eq!((&one["amount_due"], &one["problem"]), (&1.into(), &"wrong_currency".into()));

        let mut csv = Vec::new();
        export(&database.store, Format::Csv, &mut csv).await.expect("exported");
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let names: Vec<String> =
            reader.headers().expect("names").iter().map(str::to_owned).collect();
        let keys: Vec<&String> = one.as_object().expect("an object").keys().collect();
        assert_eq!(names.len(), keys.len());
        assert!(keys.into_iter().all(|key| names.contains(key)), "{names:?}");
        let rows_of_csv: Vec<csv::StringRecord> =
            reader.records().map(|row| row.expect("a row")).collect();
        assert_eq!(rows_of_csv.len(), rows.len());
        for (line, row) in rows_of_csv.iter().zip(&rows) {
            for (name, value) in names.iter().zip(line) {
                let expected = match &row[name] {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                };
                assert_eq!(value, expected, "{name}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_command_line_replays_prunes_and_exports() {
    on_both(async |database| {
        let events = [pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1")];
        deliver(database, &mode(Mode::Test), &events, paidup::unix_milliseconds()).await;
        let run = |words: &str| {
            let mut command = paidup();
            command.args(words.split(' ')).env("DATABASE_URL", &database.url);
            let output = command.output().expect("it runs");
            let text = |bytes| String::from_utf8(bytes).expect("text");
            (output.status.success(), text(output.stdout), text(output.stderr))
        };
        let (_, out, _) = run("replay --dry-run");
        assert!(out.contains("order O1: would be new → paid"), "{out}");
        assert!(out.contains("a dry run; nothing is changed"), "{out}");
        assert_eq!(run("orders export --json"), (true, String::new(), String::new()));
        let (done, out, err) = run("replay --event evt_1");
        assert!(done && out.contains("1 events folded again: 1 changes"), "{out}{err}");
        let (done, out, err) = run("orders export --csv");
        assert!(done && err.is_empty(), "{err}");
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(out.lines().nth(1).expect("a row").starts_with("O1,paid,,usd,29900,0,"), "{out}");
        let (done, out, _) = run("prune --dry-run");
        assert!(done && out.contains("0 events and 0 notifications would be deleted"), "{out}");
        assert!(!run("orders export").0 && !run("orders export --csv --json").0);
        assert!(!run("replay --event evt_9").0);
    })
    .await;
}
