//! What both databases must do alike: every statement, through the one transaction that uses them.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use paidup::domain::event::Event;
use paidup::domain::order::{Due, Problem, Status};
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::{Policy, UnknownOrders};
use paidup::store::register::{Registration, register};
use paidup::store::transaction::{Destination, Rules, record, weigh_parked};
use paidup::store::{OrderRecord, Session, Store, StoreError};
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{
    EventBody, Object, charge, invoice, invoice_payment, pi, refund, session, subscription,
};
use crate::support::weighing::weigh_changed;

/// 2026-11-23T16:55:31.123Z, in milliseconds: a time that is no whole second.
const NOW: i64 = 1_795_452_931_123;
const DAY: i64 = 24 * 60 * 60 * 1000;

fn rules() -> Rules {
    Rules::default()
}

fn hold() -> Rules {
    let policy = Policy { unknown_orders: UnknownOrders::Hold, ..Policy::default() };
    Rules { policy, ..Rules::default() }
}

async fn deliver(
    session: &mut Session,
    rules: &Rules,
    bodies: &[EventBody],
) -> Vec<(Outcome, bool)> {
    let events: Vec<Event> = bodies.iter().map(EventBody::event).collect();
    let events: Vec<&Event> = events.iter().collect();
    let answers = record(session, rules, &events, NOW).await.expect("recorded");
    answers.into_iter().map(|answer| (answer.outcome, answer.differs)).collect()
}

async fn order(session: &mut Session, id: &str) -> OrderRecord {
    session.order(id).await.expect("an answer").expect("an order")
}

fn new(outcome: Outcome) -> (Outcome, bool) {
    (outcome, false)
}

fn paid(pi_id: &str, order: &str) -> EventBody {
    pi(pi_id).order(order).event("payment_intent.succeeded").id(&format!("evt_{pi_id}_paid"))
}

#[tokio::test]
async fn every_column_of_an_order_comes_back_as_it_was_written() {
    on_both(async |database| {
        let mut session = database.session().await;
        let events = [
            paid("pi_1", "O1").at(100),
            charge("ch_1")
                .pi("pi_1")
                .refunded(100)
                .email("a@b.example")
                .event("charge.refunded")
                .at(200),
            pi("pi_2")
                .order("O2")
                .failure("card_declined", "No.")
                .event("payment_intent.payment_failed")
                .at(300),
        ];
        deliver(&mut session, &rules(), &events).await;

        let one = order(&mut session, "O1").await;
        assert_eq!(one.order.snapshot.status, Status::PartiallyRefunded);
        assert_eq!(
            (one.order.snapshot.amount_received, one.order.snapshot.amount_refunded),
            (29900, 100)
        );
        assert_eq!(one.order.snapshot.currency.as_deref(), Some("usd"));
        assert_eq!((one.order.paid_at, one.order.refunded_at), (Some(100), Some(200)));
        assert_eq!((one.order.created_at, one.order.version), (100, 1));
        assert_eq!(one.order.customer_email.as_deref(), Some("a@b.example"));
        assert_eq!((one.order.due, one.updated_at), (None, NOW));

        let two = order(&mut session, "O2").await;
        assert_eq!(two.order.snapshot.status, Status::Failed);
        assert_eq!(two.order.failure_code.as_deref(), Some("card_declined"));
        assert_eq!(two.order.failure_message.as_deref(), Some("No."));
        assert_eq!((two.order.failed_at, two.order.paid_at), (Some(300), None));
        assert_eq!(session.order("O3").await.expect("an answer"), None);
    })
    .await;
}

#[tokio::test]
async fn an_event_is_recorded_with_its_bytes_and_what_became_of_it() {
    on_both(async |database| {
        let mut session = database.session().await;
        let events = [
            paid("pi_1", "O1").id("evt_1").at(1_700_000_000),
            pi("pi_2").event("payment_intent.succeeded").id("evt_2"),
            pi("pi_3").event("customer.created").id("evt_3").test(),
        ];
        let landed = deliver(&mut session, &rules(), &events).await;
        assert_eq!(landed, [new(Outcome::Applied), new(Outcome::Parked), new(Outcome::Ignored)]);

        let ids: Vec<&str> = ["evt_1", "evt_2", "evt_3", "evt_4"].to_vec();
        let mut recorded = session.recorded_events(&ids).await.expect("recorded");
        recorded.sort_by(|one, other| one.id.cmp(&other.id));
        let bodies: Vec<_> = recorded.into_iter().filter_map(|known| known.body).collect();
        assert_eq!(bodies, events.iter().map(EventBody::body).collect::<Vec<_>>());

        let keys = ["pi_1".to_owned(), "pi_2".to_owned()];
        let told = session.events_of(&keys, &["evt_3".to_owned()], "O1").await.expect("events");
        let shown: Vec<String> = told
            .iter()
            .map(|event| {
                format!(
                    "{} {} {} {:?} {:?} {} {}",
                    event.id,
                    event.kind,
                    event.livemode,
                    event.payment_key,
                    event.order_id,
                    event.outcome,
                    event.received_at
                )
            })
            .collect();
        // All came at once; then Stripe's time decides, which is 1000 for the other two.
        assert_eq!(
            shown,
            [
                format!("evt_2 payment_intent.succeeded true Some(\"pi_2\") None parked {NOW}"),
                format!("evt_3 customer.created false None None ignored {NOW}"),
                format!(
                    "evt_1 payment_intent.succeeded true Some(\"pi_1\") Some(\"O1\") applied {NOW}"
                ),
            ]
        );
        assert_eq!(told[2].created, Some(1_700_000_000));
        assert!(told.iter().all(|event| event.reason.as_ref().is_some_and(|why| !why.is_empty())));
    })
    .await;
}

#[tokio::test]
async fn the_first_body_under_an_id_counts_and_another_is_noted() {
    on_both(async |database| {
        let mut session = database.session().await;
        let first = paid("pi_1", "O1").id("evt_1");
        let other = paid("pi_1", "O2").id("evt_1");
        let landed =
            deliver(&mut session, &rules(), &[first.clone(), first.clone(), other.clone()]).await;
        let duplicate = |differs| (Outcome::Duplicate, differs);
        assert_eq!(landed, [new(Outcome::Applied), duplicate(false), duplicate(true)]);
        let landed = deliver(&mut session, &rules(), &[other, first]).await;
        assert_eq!(landed, [duplicate(true), duplicate(false)]);
        assert_eq!(database.one("select cast(conflicts as text) from events").await, "2");
        assert_eq!(session.order("O2").await.expect("an answer"), None);
        assert_eq!(order(&mut session, "O1").await.order.version, 1);
    })
    .await;
}

#[tokio::test]
async fn what_the_shop_wrote_first_is_weighed_and_stays() {
    on_both(async |database| {
        database
            .execute(
                "insert into orders (id, amount_due, currency, customer_email)
                 values ('O1', 50000, 'usd', 'shop@b.example')",
            )
            .await;
        let mut session = database.session().await;
        let made = order(&mut session, "O1").await.order.created_at;
        let first = paid("pi_1", "O1").at(100);
        deliver(&mut session, &rules(), std::slice::from_ref(&first)).await;
        let one = order(&mut session, "O1").await.order;
        assert_eq!(
            (one.snapshot.status, one.snapshot.problem),
            (Status::Pending, Some(Problem::Underpaid))
        );
        assert_eq!(one.due, Some(Due { amount: 50000, currency: "usd".to_owned() }));
        assert_eq!(one.customer_email.as_deref(), Some("shop@b.example"));
        assert_eq!(one.created_at, 100, "earlier than {made}");

        let second = pi("pi_2").amount(20100, "usd").order("O1").event("payment_intent.succeeded");
        deliver(&mut session, &rules(), &[second]).await;
        let one = order(&mut session, "O1").await.order;
        assert_eq!((one.snapshot.status, one.snapshot.problem), (Status::Paid, None));
        assert_eq!(one.due, Some(Due { amount: 50000, currency: "usd".to_owned() }));
        let kinds = database.column("select kinds from order_changes order by version").await;
        assert_eq!(kinds, ["order.problem", "order.paid"]);
    })
    .await;
}

#[tokio::test]
async fn payments_that_turn_out_to_be_one_become_one_row() {
    on_both(async |database| {
        let mut session = database.session().await;
        let renewal = invoice("in_1").subscription("sub_1").subscription_order("O1");
        deliver(&mut session, &rules(), &[renewal.event("invoice.paid")]).await;
        deliver(&mut session, &rules(), &[pi("pi_1").event("payment_intent.succeeded")]).await;
        let keys = "select key from payments order by key";
        assert_eq!(database.column(keys).await, ["in_1", "pi_1"]);
        let link = invoice_payment("inpay_1").invoice("in_1").pi("pi_1").event("invoice_payment.paid");
        deliver(&mut session, &rules(), &[link]).await;
        assert_eq!(database.column(keys).await, ["pi_1"]);
        let links = "select id || ' ' || payment_key from payment_links where payment_key is not null order by id";
        assert_eq!(database.column(links).await, ["in_1 pi_1"]);
        // What came before the link is found by either id.
        let back = refund("re_1").pi("pi_1").event("refund.created");
        deliver(&mut session, &rules(), &[back]).await;
        assert_eq!(order(&mut session, "O1").await.order.snapshot.status, Status::Refunded);
        let parked = "select cast(count(*) as text) from events where outcome = 'parked'";
        assert_eq!(database.one(parked).await, "0", "the link settled what waited");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_gives_its_order_to_payments_that_came_before() {
    on_both(async |database| {
        let mut session = database.session().await;
        let first = invoice("in_1").subscription("sub_1").event("invoice.paid");
        assert_eq!(deliver(&mut session, &rules(), &[first]).await, [new(Outcome::Parked)]);
        let sub =
            subscription("sub_1").order("O1").event("customer.subscription.updated").id("evt_sub");
        assert_eq!(deliver(&mut session, &rules(), &[sub]).await, [new(Outcome::Applied)]);
        assert_eq!(order(&mut session, "O1").await.order.snapshot.status, Status::Paid);
        let claims = "select id from payment_links where order_claim is not null";
        assert_eq!(database.column(claims).await, ["sub_1"]);
        let outcomes = database.column("select outcome from events order by id").await;
        assert_eq!(outcomes, ["applied", "applied"]);
    })
    .await;
}

#[tokio::test]
async fn held_events_are_taken_up_when_the_shop_inserts_the_row() {
    on_both(async |database| {
        let mut writer = database.session().await;
        let sessions = [
            pi("pi_1").event("payment_intent.succeeded").id("evt_1"),
            session("cs_1").pi("pi_1").order("O1").event("checkout.session.completed").id("evt_2"),
        ];
        let landed = deliver(&mut writer, &hold(), &sessions).await;
        assert_eq!(landed, [new(Outcome::Parked); 2]);
        assert_eq!(weigh_changed(&mut writer, &hold(), NOW).await.expect("none"), 0);
        assert_eq!(writer.order("O1").await.expect("an answer"), None);

        database
            .execute("insert into orders (id, amount_due, currency) values ('O1', 29900, 'usd')")
            .await;
        assert_eq!(weigh_changed(&mut writer, &hold(), NOW).await.expect("one"), 1);
        assert_eq!(order(&mut writer, "O1").await.order.snapshot.status, Status::Paid);
        assert_eq!(database.column("select outcome from events").await, ["applied", "applied"]);
        let changes = writer.order_changes("O1").await.expect("changes");
        assert_eq!((changes.len(), changes[0].event_id.as_deref()), (1, None));
        assert_eq!((changes[0].kinds.as_str(), changes[0].at), ("order.paid", NOW));
        assert_eq!(weigh_changed(&mut writer, &hold(), NOW).await.expect("none"), 0);
    })
    .await;
}

#[tokio::test]
async fn the_currency_that_is_due_outlives_the_one_that_came() {
    on_both(async |database| {
        let mut writer = database.session().await;
        let register = |amount_due: i64, currency: &str| Registration {
            id: "O1".to_owned(),
            amount_due,
            currency: currency.to_owned(),
            customer_email: None,
        };
        register_order(&mut writer, &register(5000, "eur")).await;
        let yen = pi("pi_1").order("O1").amount(5000, "jpy").event("payment_intent.succeeded");
        deliver(&mut writer, &rules(), &[yen]).await;
        let wrong = |problem| (Status::Pending, Some(problem), Some("jpy".to_owned()));
        assert_eq!(standing(&mut writer).await, wrong(Problem::WrongCurrency));
        let versions = writer.order_changes("O1").await.expect("changes").len();

        // The shop changes the price alone, then says all of it again.
        for statement in [
            "update orders set amount_due = 4500 where id = 'O1'",
            "update orders set amount_due = 4500, currency = 'eur' where id = 'O1'",
            "update orders set currency = 'usd', amount_due = null where id = 'O1'",
            "update orders set amount_due = 5000, currency = 'eur' where id = 'O1'",
        ] {
            database.execute(statement).await;
            assert_eq!(weigh_changed(&mut writer, &rules(), NOW).await.expect("one"), 1);
            assert_eq!(weigh_changed(&mut writer, &rules(), NOW).await.expect("none"), 0);
            let due = order(&mut writer, "O1").await.order.due;
            let currency = due.map(|due| due.currency);
            if statement.contains("null") {
                assert_eq!((currency, standing(&mut writer).await.0), (None, Status::Paid));
            } else {
                assert_eq!(currency.as_deref(), Some("eur"), "{statement}");
                assert_eq!(standing(&mut writer).await, wrong(Problem::WrongCurrency));
            }
        }
        let changes = writer.order_changes("O1").await.expect("changes");
        assert_eq!(changes.len(), versions + 2, "paid, and wrong again: {changes:?}");

        // It accepts what came.
        register_order(&mut writer, &register(5000, "jpy")).await;
        assert_eq!(standing(&mut writer).await, (Status::Paid, None, Some("jpy".to_owned())));
    })
    .await;
}

async fn register_order(writer: &mut Session, registration: &Registration) {
    register(writer, &rules(), registration, NOW).await.expect("registered");
}

async fn standing(writer: &mut Session) -> (Status, Option<Problem>, Option<String>) {
    let told = order(writer, "O1").await.order.snapshot;
    (told.status, told.problem, told.currency)
}

#[tokio::test]
async fn a_second_body_that_joins_payments_weighs_their_orders() {
    on_both(async |database| {
        let mut writer = database.session().await;
        let issued = || invoice("in_1").order("O1").status("open").set("amount_paid", 0);
        let finalized = |object: Object| object.event("invoice.finalized").id("evt_2");
        let first = [pi("pi_1").event("payment_intent.succeeded").id("evt_1"), finalized(issued())];
        deliver(&mut writer, &rules(), &first).await;
        assert_eq!(standing(&mut writer).await.0, Status::Pending);
        deliver(&mut writer, &rules(), &[finalized(issued().set("payment_intent", "pi_1"))]).await;
        assert_eq!(standing(&mut writer).await.0, Status::Paid);
        assert_eq!(database.column("select outcome from events order by id").await, ["applied"; 2]);
    })
    .await;
}

#[tokio::test]
async fn what_was_held_is_taken_up_when_paidup_may_make_rows_again() {
    on_both(async |database| {
        let mut session = database.session().await;
        assert_eq!(
            deliver(&mut session, &hold(), &[paid("pi_1", "O1")]).await,
            [new(Outcome::Parked)]
        );
        assert_eq!(weigh_parked(&mut session, &rules(), "", NOW).await.expect("one"), ["O1"]);
        assert_eq!(order(&mut session, "O1").await.order.snapshot.status, Status::Paid);
    })
    .await;
}

#[tokio::test]
async fn each_change_fills_the_outbox_once_for_each_who_wants_it() {
    on_both(async |database| {
        let wants = |name: &str, kinds: &[&str]| Destination {
            name: name.to_owned(),
            wants: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        let rules = Rules {
            destinations: vec![
                wants("shipping", &["order.paid"]),
                wants("customer", &["order.paid", "order.refunded"]),
            ],
            ..rules()
        };
        let mut session = database.session().await;
        let first = paid("pi_1", "O1");
        deliver(&mut session, &rules, &[first.clone(), first.clone()]).await;
        deliver(&mut session, &rules, &[first]).await;
        let back = charge("ch_1").pi("pi_1").refunded(29900).event("charge.refunded");
        deliver(&mut session, &rules, &[back]).await;
        let rows = database
            .column(
                "select destination || ' ' || version || ' ' || status from deliveries order by id",
            )
            .await;
        assert_eq!(rows, ["shipping 1 waiting", "customer 1 waiting", "customer 2 waiting"]);
    })
    .await;
}

#[tokio::test]
async fn an_order_that_the_shop_deletes_takes_its_story_along() {
    let counts = "select count(*) || ' ' || (select count(*) from deliveries) from order_changes";
    on_both(async |database| {
        let mut session = database.session().await;
        let told = Destination { name: "shop".to_owned(), wants: vec!["order.paid".to_owned()] };
        let rules = Rules { destinations: vec![told], ..Rules::default() };
        let (one, other) = (paid("pi_1", "O1"), paid("pi_2", "O2"));
        deliver(&mut session, &rules, &[one, other]).await;
        assert_eq!(database.one(counts).await, "2 2");
        database.execute("delete from orders where id = 'O1'").await;
        assert_eq!(database.one(counts).await, "1 1");
        // Of the same id, and with a story of its own.
        deliver(&mut session, &rules, &[paid("pi_3", "O1")]).await;
        assert_eq!(order(&mut session, "O1").await.order.version, 1);
        if database.is_postgres() {
            database.execute("truncate orders").await;
            assert_eq!(database.one(counts).await, "0 0");
        }
    })
    .await;
}

/// Takes one connection on to the server, and counts how often its client speaks after it has heard: each
/// is a round trip.
async fn counted_on(url: &str, turns: Arc<AtomicUsize>) -> Store {
    let server = PgConnectOptions::from_str(url).expect("a URL");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let options = server.clone().host("127.0.0.1");
    let options = options.port(listener.local_addr().expect("an address").port());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let to = (server.get_host(), server.get_port());
        let mut server = TcpStream::connect(to).await.expect("the server");
        let (mut asked, mut told) = (vec![0; 65_536], vec![0; 65_536]);
        let mut has_heard = true;
        loop {
            tokio::select! {
                length = client.read(&mut asked) => {
                    let Ok(length @ 1..) = length else { return };
                    turns.fetch_add(usize::from(has_heard), Ordering::Relaxed);
                    has_heard = false;
                    server.write_all(&asked[..length]).await.expect("passed on");
                }
                length = server.read(&mut told) => {
                    let Ok(length @ 1..) = length else { return };
                    has_heard = true;
                    client.write_all(&told[..length]).await.expect("passed back");
                }
            }
        }
    });
    Store::Postgres(Box::new(options))
}

#[tokio::test]
async fn a_batch_is_few_round_trips() {
    let database = Database::postgres().await;
    let turns = Arc::new(AtomicUsize::new(0));
    let mut session =
        counted_on(&database.url, Arc::clone(&turns)).await.connect().await.expect("one");
    let refunded = |number: u8| {
        let charge = charge(&format!("ch_{number}")).pi(&format!("pi_{number}")).refunded(100);
        charge.event("charge.refunded").id(&format!("evt_{number}_refunded"))
    };
    // The first of their kind: their statements are prepared.
    deliver(&mut session, &rules(), &[paid("pi_1", "O1")]).await;
    deliver(&mut session, &rules(), &[refunded(1)]).await;
    turns.store(0, Ordering::Relaxed);
    let landed = deliver(&mut session, &rules(), &[paid("pi_2", "O2"), paid("pi_3", "O3")]).await;
    assert_eq!(landed, [new(Outcome::Applied); 2]);
    assert_eq!(turns.swap(0, Ordering::Relaxed), 4, "begin, find, insert, commit");
    let landed = deliver(&mut session, &rules(), &[paid("pi_2", "O2")]).await;
    assert_eq!(landed, [new(Outcome::Duplicate)]);
    assert_eq!(turns.swap(0, Ordering::Relaxed), 3, "begin, find, commit");
    let landed = deliver(&mut session, &rules(), &[refunded(2)]).await;
    assert_eq!(landed, [new(Outcome::Applied)]);
    let expected = "begin, find, find its order, update payment and order, insert, commit";
    assert_eq!(turns.swap(0, Ordering::Relaxed), 7, "{expected}");
    session.close().await;
    database.remove().await;
}

#[tokio::test]
async fn small_batches_are_not_planned_anew_each_time() {
    let database = Database::postgres().await;
    let mut session = database.session().await;
    for number in 0..20 {
        deliver(&mut session, &rules(), &[paid(&format!("pi_{number}"), "O1")]).await;
    }
    let Session::Postgres(connection) = &mut session else { unreachable!("it is Postgres") };
    let plans: (i64, i64) = sqlx::query_as(
        "select generic_plans, custom_plans from pg_prepared_statements
         where statement like 'with held%'",
    )
    .fetch_one(connection)
    .await
    .expect("the search");
    assert_eq!(plans, (20, 0), "with the one plan, and with one of its own");
    session.close().await;
    database.remove().await;
}

#[tokio::test]
async fn the_shop_may_add_columns_of_its_own_to_orders_while_paidup_runs() {
    on_both(async |database| {
        let mut session = database.session().await;
        deliver(&mut session, &rules(), &[paid("pi_1", "O1")]).await;
        database.execute("alter table orders add column note text default 'of the shop'").await;
        let refunded = charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded");
        let landed = deliver(&mut session, &rules(), &[refunded, paid("pi_2", "O2")]).await;
        assert_eq!(landed, [new(Outcome::Applied); 2]);
        let status = database.column("select status from orders order by id").await;
        assert_eq!(status, ["partially_refunded", "paid"]);
        let notes = database.column("select note from orders").await;
        assert_eq!(notes, ["of the shop"; 2]);
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_failed_transaction_is_written() {
    on_both(async |database| {
        let refuse = if database.is_postgres() {
            "create function refuse() returns trigger language plpgsql
                 as $$ begin raise exception 'no'; end $$;
             create trigger refuse before insert on order_changes
                 for each row when (new.order_id = 'O2') execute function refuse()"
        } else {
            "create trigger refuse before insert on order_changes when new.order_id = 'O2'
             begin select raise(abort, 'no'); end"
        };
        database.execute(refuse).await;
        let mut session = database.session().await;
        let (one, two) = (paid("pi_1", "O1").event(), paid("pi_2", "O2").event());
        let failed = record(&mut session, &rules(), &[&one, &two], NOW).await;
        assert!(matches!(failed, Err(StoreError::Refused(_))), "{failed:?}");
        session.rollback().await.expect("rolled back");
        for table in ["events", "payments", "payment_links", "orders", "order_changes"] {
            let count = database.one(&format!("select cast(count(*) as text) from {table}")).await;
            assert_eq!(count, "0", "{table}");
        }
        let answers = record(&mut session, &rules(), &[&one], NOW).await.expect("recorded");
        assert_eq!(answers[0].outcome, Outcome::Applied);
    })
    .await;
}

#[tokio::test]
async fn old_bodies_go_first_then_ids_and_what_waits_stays() {
    on_both(async |database| {
        let mut session = database.session().await;
        let events = [paid("pi_1", "O1").id("evt_1"), pi("pi_2").event("payment_intent.succeeded").id("evt_2")];
        deliver(&mut session, &rules(), &events).await;
        assert_eq!(session.prune_bodies(0, NOW, 10).await.expect("pruned"), 0, "too young");
        assert_eq!(session.prune_bodies(0, NOW + DAY, 10).await.expect("pruned"), 1);
        let bodies = database
            .column("select id || case when body is null then ' -' else ' body' end from events order by id")
            .await;
        assert_eq!(bodies, ["evt_1 -", "evt_2 body"]);
        // A duplicate is still known, and cannot be compared any more.
        let landed = deliver(&mut session, &rules(), &events[..1]).await;
        assert_eq!(landed, [new(Outcome::Duplicate)]);
        assert_eq!(session.prune_events(0, NOW + DAY, 10).await.expect("pruned"), 1);
        assert_eq!(database.column("select id from events").await, ["evt_2"]);
    })
    .await;
}

#[tokio::test]
async fn the_schema_refuses_what_no_order_can_be() {
    on_both(async |database| {
        for values in [
            "('', 'pending', 1, 'usd')",
            "('O1', 'lost', 1, 'usd')",
            "('O1', 'pending', -1, 'usd')",
            "('O1', 'pending', 1, 'USD')",
            "('O1', 'pending', 1, null)",
        ] {
            let insert =
                format!("insert into orders (id, status, amount_due, currency) values {values}");
            let refused = try_execute(database, &insert).await;
            assert!(refused.is_err(), "{values}");
        }
    })
    .await;
}

async fn try_execute(database: &Database, sql: &str) -> Result<(), sqlx::Error> {
    use sqlx::{Connection as _, Executor as _};
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    if database.is_postgres() {
        let mut connection = sqlx::PgConnection::connect(&database.url).await?;
        connection.execute(sql).await.map(|_| ())
    } else {
        let mut connection = sqlx::SqliteConnection::connect(&database.url).await?;
        connection.execute(sql).await.map(|_| ())
    }
}

#[tokio::test]
async fn a_session_tells_whether_the_database_lives_and_what_time_it_has() {
    on_both(async |database| {
        let mut session = database.session().await;
        session.ping().await.expect("alive");
        let (clock, ours) = (session.clock().await.expect("a time") / 1000, paidup::unix_seconds());
        assert!(clock.abs_diff(ours) < 60, "{clock} {ours}");
        assert_eq!(session.migration().await.expect("a version"), database.store.migration());
    })
    .await;
}
