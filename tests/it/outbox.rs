//! The outbox's statements, on both databases: who may claim, who may settle, and what is found.

use paidup::store::Session;
use paidup::store::outbox::{Claim, End, Settlement};
use paidup::store::transaction::{Destination, Rules, record};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{charge, pi};

/// In milliseconds.
const NOW: i64 = 1_795_452_931_123;
const LEASE: i64 = 25_000;

fn rules(names: &[&str]) -> Rules {
    let wants = || vec!["order.paid".to_owned(), "order.partially_refunded".to_owned()];
    let destinations =
        names.iter().map(|name| Destination { name: (*name).to_owned(), wants: wants() });
    Rules { destinations: destinations.collect(), ..Rules::default() }
}

/// So many paid orders, O0 and on, that these are to be told of.
async fn paid(session: &mut Session, count: usize, names: &[&str]) {
    for number in 0..count {
        let event = pi(&format!("pi_{number}"))
            .order(&format!("O{number}"))
            .event("payment_intent.succeeded")
            .event();
        let now = NOW + i64::try_from(number).expect("small");
        record(session, &rules(names), &[&event], now).await.expect("recorded");
    }
}

async fn claim(session: &mut Session, name: &str, limit: i64, now: i64) -> Vec<Claim> {
    let mut claims =
        session.claim_deliveries(name, limit, now, now + LEASE).await.expect("claimed");
    claims.sort_by_key(|claim| claim.id);
    claims
}

async fn settle(session: &mut Session, claim: Claim, end: End, now: i64) -> bool {
    let settled = session.settle_deliveries(&[Settlement { claim, end }], now).await;
    settled.expect("settled") == [claim.id]
}

async fn row(database: &Database, id: i64) -> String {
    database
        .one(&format!(
            "select status || ' ' || attempts || ' ' || coalesce(last_error, '-') || ' ' ||
                    case when settled_at is null then 'open' else 'settled' end
             from deliveries where id = {id}"
        ))
        .await
}

#[tokio::test]
async fn a_delivery_is_claimed_once_until_its_lease_is_over() {
    on_both(async |database| {
        let (mut one, mut other) = (database.session().await, database.session().await);
        paid(&mut one, 3, &["a"]).await;
        let now = NOW + 1000;
        assert_eq!(one.due_destinations(&["a", "b"], now).await.expect("names"), ["a"]);
        assert!(one.due_destinations(&["a"], NOW - 1).await.expect("names").is_empty());

        let first = claim(&mut one, "a", 2, now).await;
        assert_eq!(first.len(), 2, "the limit");
        let rest = claim(&mut other, "a", 10, now).await;
        assert_eq!(rest.len(), 1, "what the other has not claimed");
        assert!(claim(&mut one, "a", 10, now + LEASE - 1).await.is_empty());

        // The one who claimed has died.
        let again = claim(&mut other, "a", 10, now + LEASE).await;
        assert_eq!(again.len(), 3);
        assert!(again.iter().all(|claim| claim.claim == 2), "{again:?}");
        assert!(!settle(&mut one, first[0], End::Sent, now + LEASE).await, "a stale claim settles");
        assert_eq!(row(database, first[0].id).await, "waiting 2 - open");
        assert!(settle(&mut other, again[0], End::Sent, now + LEASE).await);
        assert_eq!(row(database, again[0].id).await, "sent 2 - settled");
        assert!(!settle(&mut other, again[0], End::Dead("x".to_owned()), now).await, "twice");
    })
    .await;
}

#[tokio::test]
async fn every_end_leaves_its_row_as_it_says() {
    on_both(async |database| {
        let mut session = database.session().await;
        paid(&mut session, 5, &["a"]).await;
        let now = NOW + 1000;
        let claims = claim(&mut session, "a", 5, now).await;
        let ends = [
            End::Sent,
            End::Skipped("nobody".to_owned()),
            End::Again(now + 5000, "answered 500".to_owned()),
            End::Released(now),
            End::Dead("answered 400".to_owned()),
        ];
        let settlements: Vec<Settlement> =
            claims.iter().zip(ends).map(|(claim, end)| Settlement { claim: *claim, end }).collect();
        let mut settled = session.settle_deliveries(&settlements, now).await.expect("settled");
        settled.sort_unstable();
        let ids: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
        assert_eq!(settled, ids);
        let mut rows = Vec::new();
        for id in &ids {
            rows.push(row(database, *id).await);
        }
        assert_eq!(
            rows,
            [
                "sent 1 - settled",
                "skipped 1 nobody settled",
                "waiting 1 answered 500 open",
                "waiting 0 - open",
                "dead 1 answered 400 settled",
            ]
        );
        let due: Vec<i64> =
            claim(&mut session, "a", 9, now).await.iter().map(|claim| claim.id).collect();
        assert_eq!(due, [ids[3]], "what was released is due at once");
        let due: Vec<i64> =
            claim(&mut session, "a", 9, now + 5000).await.iter().map(|claim| claim.id).collect();
        assert_eq!(due, [ids[2]]);

        // An error is forgotten when it was sent in the end.
        let sent = Claim { id: ids[2], claim: 2 };
        assert!(settle(&mut session, sent, End::Sent, now + 5000).await);
        assert_eq!(row(database, ids[2]).await, "sent 2 - settled");
    })
    .await;
}

#[tokio::test]
async fn what_there_is_to_tell_is_the_state_as_of_the_change() {
    on_both(async |database| {
        let mut session = database.session().await;
        let rules = rules(&["a", "b"]);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").event();
        let email = "a@b.example";
        let back = charge("ch_1").pi("pi_1").refunded(100).email(email).event("charge.refunded");
        record(&mut session, &rules, &[&paid], NOW).await.expect("recorded");
        record(&mut session, &rules, &[&back.event()], NOW + 5).await.expect("recorded");

        let claims = claim(&mut session, "a", 9, NOW + 10).await;
        let ids: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
        let tellings = session.tellings(&ids).await.expect("tellings");
        let told: Vec<String> = tellings
            .iter()
            .map(|telling| {
                format!(
                    "{} {} {} {:?}→{} {} {} {:?} {} {} {:?}",
                    telling.order_id,
                    telling.version,
                    telling.kinds,
                    telling.from_status,
                    telling.to_status,
                    telling.amount_received,
                    telling.amount_refunded,
                    telling.currency,
                    telling.attempts,
                    telling.at - NOW,
                    telling.customer_email,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"O1 1 order.paid None→paid 29900 0 Some("usd") 1 0 Some("a@b.example")"#,
                r#"O1 2 order.partially_refunded Some("paid")→partially_refunded 29900 100 Some("usd") 1 5 Some("a@b.example")"#,
            ]
        );
        assert!(tellings.iter().all(|telling| !telling.is_overtaken));

        // The later one was told: then the earlier one is old news, but only there.
        assert!(settle(&mut session, claims[1], End::Sent, NOW + 20).await);
        let tellings = session.tellings(&ids).await.expect("tellings");
        let overtaken: Vec<bool> = tellings.iter().map(|telling| telling.is_overtaken).collect();
        assert_eq!(overtaken, [true, false]);
        let others = claim(&mut session, "b", 9, NOW + 20).await;
        let others: Vec<i64> = others.iter().map(|claim| claim.id).collect();
        let others = session.tellings(&others).await.expect("tellings");
        assert!(others.iter().all(|telling| !telling.is_overtaken));
    })
    .await;
}

#[tokio::test]
async fn a_reason_for_a_failure_is_told_only_while_it_is_the_newest_change() {
    on_both(async |database| {
        let mut session = database.session().await;
        let wants = vec!["order.failed".to_owned()];
        let rules = Rules {
            destinations: vec![Destination { name: "a".to_owned(), wants }],
            ..Rules::default()
        };
        let failed = pi("pi_1").order("O1").failure("card_declined", "No.");
        let failed = failed.event("payment_intent.payment_failed").at(100).event();
        record(&mut session, &rules, &[&failed], NOW).await.expect("recorded");
        let claims = claim(&mut session, "a", 9, NOW).await;
        let ids: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
        let reason =
            |tellings: Vec<paidup::store::outbox::Telling>| tellings[0].failure_code.clone();
        let told = session.tellings(&ids).await.expect("tellings");
        assert_eq!(reason(told).as_deref(), Some("card_declined"));
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").at(200).event();
        record(&mut session, &rules, &[&paid], NOW).await.expect("recorded");
        let told = session.tellings(&ids).await.expect("tellings");
        assert_eq!(told[0].to_status, "failed", "the state is that of the change");
        assert_eq!(reason(told), None);
    })
    .await;
}

#[tokio::test]
async fn a_disabled_destination_is_not_due_until_it_is_enabled() {
    on_both(async |database| {
        let mut session = database.session().await;
        paid(&mut session, 1, &["a", "b"]).await;
        session.disable_destination("a", "answered 410", NOW).await.expect("disabled");
        session.disable_destination("a", "again", NOW + 1).await.expect("still disabled");
        let now = NOW + 1000;
        assert_eq!(session.due_destinations(&["a", "b"], now).await.expect("names"), ["b"]);
        let disabled = session.disabled_destinations().await.expect("names");
        assert_eq!(disabled.len(), 1);
        assert_eq!((disabled[0].reason.as_str(), disabled[0].disabled_at), ("answered 410", NOW));
        assert_eq!(session.enable_destination("a").await.expect("enabled"), 1);
        assert_eq!(session.enable_destination("a").await.expect("nothing"), 0);
        let mut due = session.due_destinations(&["a", "b"], now).await.expect("names");
        due.sort();
        assert_eq!(due, ["a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_what_waits_and_sends_the_dead_again() {
    on_both(async |database| {
        let mut session = database.session().await;
        paid(&mut session, 4, &["a"]).await;
        paid(&mut session, 0, &["b"]).await;
        let now = NOW + 1000;
        let claims = claim(&mut session, "a", 3, now).await;
        assert!(settle(&mut session, claims[0], End::Dead("no".to_owned()), now).await);
        assert!(settle(&mut session, claims[1], End::Sent, now).await);

        assert_eq!(session.waiting_destinations().await.expect("names"), ["a"]);
        let oldest = session.oldest_waiting(&["a", "b"]).await.expect("times");
        assert_eq!(oldest, [("a".to_owned(), NOW + 2)]);
        let tallies = session.tallies().await.expect("tallies");
        let mut tallies: Vec<String> = tallies
            .iter()
            .map(|one| {
                format!("{} {} {} {}", one.destination, one.status, one.count, one.oldest_at - NOW)
            })
            .collect();
        tallies.sort();
        assert_eq!(tallies, ["a dead 1 0", "a sent 1 1", "a waiting 2 2"]);

        let listed = session.deliveries(Some("waiting"), Some("a"), 9).await.expect("rows");
        let listed: Vec<&str> = listed.iter().map(|row| row.order_id.as_str()).collect();
        assert_eq!(listed, ["O3", "O2"], "the newest first");
        assert_eq!(session.deliveries(None, None, 3).await.expect("rows").len(), 3);
        assert!(session.deliveries(None, Some("b"), 9).await.expect("rows").is_empty());

        // One that is being sent is left alone; one that is dead, or sent, is due anew.
        assert_eq!(session.retry_delivery(claims[2].id, now).await.expect("none"), 0);
        assert_eq!(session.retry_dead(Some("b"), now).await.expect("none"), 0);
        assert_eq!(session.retry_dead(None, now).await.expect("one"), 1);
        assert_eq!(session.retry_delivery(claims[1].id, now).await.expect("one"), 1);
        let one = session.delivery(claims[0].id).await.expect("an answer").expect("a row");
        assert_eq!((one.status.as_str(), one.attempts, one.settled_at), ("waiting", 0, None));
        assert_eq!((one.kinds.as_str(), one.next_attempt_at), ("order.paid", now));
        assert_eq!(session.delivery(9999).await.expect("an answer"), None);
        // Whoever still holds the old claim settles nothing.
        let stale = Claim { id: claims[1].id, claim: claims[1].claim };
        assert!(!settle(&mut session, stale, End::Dead("late".to_owned()), now).await);
    })
    .await;
}

#[tokio::test]
async fn only_what_is_settled_and_old_is_pruned() {
    on_both(async |database| {
        let mut session = database.session().await;
        paid(&mut session, 4, &["a"]).await;
        let now = NOW + 1000;
        let claims = claim(&mut session, "a", 4, now).await;
        assert!(settle(&mut session, claims[0], End::Sent, now).await);
        assert!(settle(&mut session, claims[1], End::Dead("no".to_owned()), now).await);
        assert!(settle(&mut session, claims[2], End::Skipped("no".to_owned()), now + 5).await);
        assert_eq!(session.prune_deliveries(now, 9).await.expect("none"), 0);
        assert_eq!(session.prune_deliveries(now + 1, 1).await.expect("the limit"), 1);
        assert_eq!(session.prune_deliveries(now + 1, 9).await.expect("the other"), 1);
        let left = session.deliveries(None, None, 9).await.expect("rows");
        let left: Vec<&str> = left.iter().map(|row| row.status.as_str()).collect();
        assert_eq!(left, ["waiting", "skipped"]);
    })
    .await;
}
