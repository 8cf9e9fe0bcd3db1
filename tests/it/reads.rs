//! What operators look at: lists that neither repeat nor miss a row whatever they are filtered by, the
//! search, and the stream of changes, on both databases.

use std::collections::BTreeSet;

use paidup::domain::event::Event;
use paidup::domain::order::{Problem, Status};
use paidup::domain::outcome::Outcome;
use paidup::store::reads::{
    Cursor, DeliveryFilter, EventFilter, OrderFilter, Page, ProblemFilter, deliveries_page,
    events_page, orders_page,
};
use paidup::store::transaction::{Destination, Rules, record};
use paidup::store::{Session, StoreError};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, charge, invoice, pi, subscription};

/// In milliseconds; no whole second.
const NOW: i64 = 1_795_452_931_123;

async fn deliver(session: &mut Session, rules: &Rules, bodies: &[EventBody], now: i64) {
    let events: Vec<Event> = bodies.iter().map(EventBody::event).collect();
    let events: Vec<&Event> = events.iter().collect();
    record(session, rules, &events, now).await.expect("recorded");
}

fn paid(number: usize) -> EventBody {
    let event = pi(&format!("pi_{number}")).order(&format!("O{number}"));
    event.event("payment_intent.succeeded").id(&format!("evt_{number}")).at(1_790_000_000)
}

/// Walks through a list by pages of two.
async fn walk<T, C>(
    mut page: impl AsyncFnMut(Option<&C>) -> Result<Page<T, C>, StoreError>,
) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let Page { rows: found, next } = page(after.as_ref()).await.expect("a page");
        assert!(found.len() == 2 || next.is_none(), "only the last page is short");
        rows.extend(found);
        if next.is_none() {
            return rows;
        }
        after = next;
    }
}

async fn orders(session: &mut Session, filter: OrderFilter) -> Vec<String> {
    let rows = walk(async |after| orders_page(session, filter, after, 2).await).await;
    rows.into_iter().map(|order| order.id).collect()
}

async fn events(
    session: &mut Session,
    kind: Option<&str>,
    outcome: Option<Outcome>,
) -> Vec<String> {
    let filter = EventFilter { kind: kind.map(str::to_owned), outcome };
    let rows = walk(async |after| events_page(session, &filter, after, 2).await).await;
    rows.into_iter().map(|event| event.id).collect()
}

#[tokio::test]
async fn orders_are_listed_from_the_newest_whatever_they_are_filtered_by() {
    on_both(async |database| {
        let values = [
            ("A", "paid", "null", 3),
            ("B", "pending", "'underpaid'", 3),
            ("C", "failed", "null", 1),
            ("D", "paid", "'overpaid'", 2),
            ("E", "pending", "'wrong_currency'", 2),
            ("F", "paid", "null", 3),
            ("G", "refunded", "null", 9),
        ]
        .map(|(id, status, problem, at)| {
            format!("('{id}', '{status}', {problem}, '2026-11-0{at}T00:00:00Z')")
        });
        let insert = "insert into orders (id, status, problem, created_at) values";
        database.execute(&format!("{insert} {}", values.join(", "))).await;
        let session = &mut database.session().await;
        let any = Some(ProblemFilter::Any);
        let underpaid = Some(ProblemFilter::Is(Problem::Underpaid));
        for (status, problem, expected) in [
            (None, None, "G F B A E D C"),
            (Some(Status::Paid), None, "F A D"),
            (Some(Status::Pending), None, "B E"),
            (Some(Status::PartiallyRefunded), None, ""),
            (None, any, "B E D"),
            (None, underpaid, "B"),
            (Some(Status::Paid), any, "D"),
            (Some(Status::Paid), underpaid, ""),
        ] {
            let found = orders(session, OrderFilter { status, problem }).await;
            assert_eq!(found.join(" "), expected, "{status:?} {problem:?}");
        }
        // What no page gave finds nothing, and is no error.
        for nonsense in ["99999999999999999999~x", "~", "-5~x", "x~\u{1f600}"] {
            let nonsense = Cursor::parse(nonsense).expect("a cursor");
            let filter = OrderFilter::default();
            orders_page(session, filter, Some(&nonsense), 2).await.expect("a page");
        }
    })
    .await;
}

/// The shop's own rows have times as exact as its database makes them.
#[tokio::test]
async fn a_page_ends_among_rows_of_almost_one_time() {
    on_both(async |database| {
        if database.is_postgres() {
            let rows = "insert into orders (id, created_at)
                        select 'O' || n, timestamptz '2026-11-23T16:55:31.000001Z' + n * interval '1 microsecond'
                        from generate_series(1, 5) as n";
            database.execute(rows).await;
        } else {
            let rows = "insert into orders (id, created_at)
                        select 'O' || value, '2026-11-23T16:55:31.00000' || value || 'Z'
                        from json_each('[1, 2, 3, 4, 5]')";
            database.execute(rows).await;
        }
        let session = &mut database.session().await;
        assert_eq!(orders(session, OrderFilter::default()).await, ["O5", "O4", "O3", "O2", "O1"]);
    })
    .await;
}

#[tokio::test]
async fn events_are_listed_from_the_newest_whatever_they_are_filtered_by() {
    on_both(async |database| {
        let session = &mut database.session().await;
        let rules = Rules::default();
        // Three at each of two times, so that a page ends among rows of one time.
        deliver(session, &rules, &[paid(1), paid(2), paid(3)], NOW).await;
        let parked = pi("pi_7").event("payment_intent.succeeded").id("evt_7");
        let ignored = pi("pi_8").event("product.created").id("evt_8");
        deliver(session, &rules, &[parked, ignored, paid(4)], NOW + 1).await;
        let known =
            pi("pi_4").order("O4").event("payment_intent.created").id("evt_9").at(1_790_000_000);
        deliver(session, &rules, &[known], NOW + 2).await;
        let succeeded = Some("payment_intent.succeeded");
        for (kind, outcome, expected) in [
            (None, None, "evt_9 evt_8 evt_7 evt_4 evt_3 evt_2 evt_1"),
            (None, Some(Outcome::Applied), "evt_4 evt_3 evt_2 evt_1"),
            (None, Some(Outcome::Parked), "evt_7"),
            (None, Some(Outcome::Ignored), "evt_8"),
            (succeeded, None, "evt_7 evt_4 evt_3 evt_2 evt_1"),
            (succeeded, Some(Outcome::Applied), "evt_4 evt_3 evt_2 evt_1"),
            (succeeded, Some(Outcome::Ignored), ""),
            (Some("payment_intent.created"), Some(Outcome::Unchanged), "evt_9"),
            (Some("charge.refunded"), None, ""),
        ] {
            let found = events(session, kind, outcome).await;
            assert_eq!(found.join(" "), expected, "{kind:?} {outcome:?}");
        }
        let kinds = session.event_kinds().await.expect("kinds");
        let kinds: Vec<String> =
            kinds.into_iter().map(|kind| format!("{} {}", kind.outcome, kind.kind)).collect();
        assert_eq!(
            kinds,
            [
                "applied payment_intent.succeeded",
                "ignored product.created",
                "parked payment_intent.succeeded",
                "unchanged payment_intent.created",
            ]
        );
        let event = session.event("evt_8").await.expect("an answer").expect("an event");
        assert_eq!(
            (event.event.kind.as_str(), event.event.received_at),
            ("product.created", NOW + 1)
        );
        let body = pi("pi_8").event("product.created").id("evt_8").body();
        assert_eq!(event.body.as_deref(), Some(body.as_slice()));
        assert_eq!(session.event("evt_10").await.expect("an answer"), None);
    })
    .await;
}

#[tokio::test]
async fn an_empty_database_has_empty_lists() {
    on_both(async |database| {
        let session = &mut database.session().await;
        assert!(orders(session, OrderFilter::default()).await.is_empty());
        assert!(events(session, None, None).await.is_empty());
        let page = deliveries_page(session, &DeliveryFilter::default(), None, 2).await;
        assert_eq!(page.expect("a page"), Page { rows: Vec::new(), next: None });
        assert_eq!(session.last_change().await.expect("a number"), 0);
    })
    .await;
}

#[tokio::test]
async fn an_order_is_found_by_all_that_people_have_in_hand() {
    on_both(async |database| {
        let session = &mut database.session().await;
        let refunded = charge("ch_1").pi("pi_1").refunded(100).email("Ann@Shop.example");
        let billed = [
            subscription("sub_1").order("O5").event("customer.subscription.updated").id("evt_5"),
            invoice("in_1").subscription("sub_1").event("invoice.paid").id("evt_6"),
        ];
        let bodies = [paid(1), refunded.event("charge.refunded"), paid(2)];
        deliver(session, &Rules::default(), &bodies, NOW).await;
        deliver(session, &Rules::default(), &billed, NOW).await;
        // An order may be named like a payment of another.
        database.execute("insert into orders (id) values ('pi_2')").await;
        let long = format!("{}@b.example", "x".repeat(5000));
        let insert = "insert into orders (id, customer_email) values";
        database
            .execute(&format!("{insert} ('long', '{long}'), ('late', 'ann@shop.example')"))
            .await;
        for (term, expected) in [
            ("O1", "O1"),
            ("pi_1", "O1"),
            ("ch_1", "O1"),
            ("ann@shop.EXAMPLE", "late O1"),
            ("in_1", "O5"),
            ("sub_1", "O5"),
            ("pi_2", "pi_2 O2"),
            ("O", ""),
            ("%", ""),
            ("", ""),
            ("o1", ""),
        ] {
            let found = session.orders_found(term, 9).await.expect("orders");
            let ids: Vec<&str> = found.iter().map(|order| order.id.as_str()).collect();
            assert_eq!(ids.join(" "), expected, "{term:?}");
        }
        assert_eq!(session.orders_found("ann@shop.example", 1).await.expect("orders").len(), 1);
    })
    .await;
}

fn told(names: &[&str]) -> Rules {
    let destinations = names
        .iter()
        .map(|name| Destination { name: (*name).to_owned(), wants: vec!["order.paid".to_owned()] });
    Rules { destinations: destinations.collect(), ..Rules::default() }
}

#[tokio::test]
async fn deliveries_are_listed_from_the_newest_whatever_they_are_filtered_by() {
    on_both(async |database| {
        let session = &mut database.session().await;
        deliver(session, &told(&["shop", "mail"]), &[paid(1), paid(2), paid(3)], NOW).await;
        let settle = "update deliveries set status = 'dead', settled_at = created_at
                      where destination = 'mail' and order_id <> 'O2'";
        database.execute(settle).await;
        for (status, destination, expected) in [
            (None, None, "O3mail O3shop O2mail O2shop O1mail O1shop"),
            (Some("waiting"), None, "O3shop O2mail O2shop O1shop"),
            (Some("dead"), None, "O3mail O1mail"),
            (None, Some("mail"), "O3mail O2mail O1mail"),
            (Some("dead"), Some("shop"), ""),
            (Some("sent"), None, ""),
            (None, Some("nobody"), ""),
        ] {
            let filter = DeliveryFilter {
                status: status.map(str::to_owned),
                destination: destination.map(str::to_owned),
            };
            let rows =
                walk(async |after| deliveries_page(session, &filter, after.copied(), 2).await)
                    .await;
            assert!(rows.is_sorted_by(|one, next| one.id > next.id));
            // Which of one change's deliveries is written first, nothing says.
            let found: BTreeSet<String> =
                rows.iter().map(|row| format!("{}{}", row.order_id, row.destination)).collect();
            let expected: BTreeSet<String> =
                expected.split_whitespace().map(str::to_owned).collect();
            assert_eq!(
                (rows.len(), found),
                (expected.len(), expected),
                "{status:?} {destination:?}"
            );
        }
        let of_one = session.order_deliveries("O2").await.expect("deliveries");
        assert_eq!(of_one.len(), 2);
        assert!(of_one.iter().all(|row| row.order_id == "O2" && row.kinds == "order.paid"));
    })
    .await;
}

#[tokio::test]
async fn the_stream_has_every_change_once_and_no_number_twice() {
    on_both(async |database| {
        let session = &mut database.session().await;
        let rules = Rules::default();
        deliver(session, &rules, &[paid(1), paid(2)], NOW).await;
        let refunded = charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded");
        deliver(session, &rules, &[refunded], NOW).await;
        let all = session.changes_after(0, 9).await.expect("changes");
        let shown: Vec<_> =
            all.iter().map(|one| (one.order_id.as_str(), one.change.version)).collect();
        assert_eq!((shown.len(), shown[2]), (3, ("O1", 2)));
        assert!(all.is_sorted_by(|one, next| one.sequence < next.sequence));
        let last = session.last_change().await.expect("a number");
        assert_eq!(last, all[2].sequence);
        let rest = session.changes_after(all[0].sequence, 9).await.expect("changes");
        assert_eq!(rest, all[1..]);
        assert_eq!(session.changes_after(last, 9).await.expect("changes"), []);

        // A number that was told is not used again, though nothing has it any more.
        database.execute("delete from orders where id = 'O1'").await;
        deliver(session, &rules, &[paid(3)], NOW).await;
        let rest = session.changes_after(last, 9).await.expect("changes");
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert_eq!(rest[0].order_id, "O3");
    })
    .await;
}

/// Two write at once, and one who listens goes on from the last number that it saw. Had a smaller number
/// come to be seen after a larger one, it would be missing in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_a_number_has_seen_all_the_smaller_ones() {
    const WRITERS: usize = 3;
    const CHANGES: usize = 60;
    let database = Database::postgres().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = database.store.clone();
            tokio::spawn(async move {
                let mut session = store.connect().await.expect("a session");
                for number in 0..CHANGES {
                    let event = paid(writer * CHANGES + number);
                    deliver(&mut session, &Rules::default(), &[event], NOW).await;
                }
            })
        })
        .collect();
    let mut session = database.session().await;
    let (mut seen, mut place) = (0, 0);
    while seen < WRITERS * CHANGES {
        let ended = writers.iter().all(|writer| writer.is_finished());
        let changes = session.changes_after(place, 9).await.expect("changes");
        assert!(!changes.is_empty() || !ended, "saw {seen} of {}", WRITERS * CHANGES);
        seen += changes.len();
        place = changes.last().map_or(place, |last| last.sequence);
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    database.remove().await;
}
