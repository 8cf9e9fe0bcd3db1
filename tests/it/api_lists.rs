//! The API's lists, its search, and what an operator does by it: replay an event, send a notification again.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::databases::on_both;
use crate::support::fixtures::{charge, pi, session};

/// The values of a field in a list of an answer.
fn of(answer: &Value, list: &str, field: &str) -> Vec<Value> {
    let rows = answer[list].as_array().unwrap_or_else(|| panic!("{list} of {answer}"));
    rows.iter().map(|row| row[field].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_listed_from_the_newest_filtered_and_found() {
    on_both(async |database| {
        let values = [
            ("O1", "paid", "null", "a@b.example"),
            ("O2", "pending", "'underpaid'", "c@d.example"),
            ("O3", "paid", "'overpaid'", "a@b.example"),
            ("O4", "paid", "null", "x@y.example"),
        ]
        .map(|(id, status, problem, email)| {
            format!(
                "('{id}', '{status}', {problem}, '{email}', '2026-11-01T00:00:0{}Z', true)",
                &id[1..]
            )
        });
        let insert =
            "insert into orders (id, status, problem, customer_email, created_at, weighed) values";
        database.execute(&format!("{insert} {}", values.join(", "))).await;
        let api = Api::start(database, &[]);
        for (question, expected) in [
            ("sort=newest", "O4 O3 O2 O1"),
            ("sort=id", "O1 O2 O3 O4"),
            ("status=paid", "O4 O3 O1"),
            ("problem=any", "O3 O2"),
            ("status=paid&problem=any", "O3"),
            ("problem=wrong_currency", ""),
            ("search=O2", "O2"),
            ("search=A%40B.example", "O3 O1"),
            ("search=nobody%40b.example", ""),
        ] {
            let (status, page) = api.get(&format!("/api/v1/orders?{question}")).await;
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(status, 200, "{question}: {page}");
            assert_eq!(of(&page, "orders", "id"), expected, "{question}");
            assert_eq!(page["next"], Value::Null, "{question}");
        }
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let path = format!("/api/v1/orders?status=paid&limit=2{after}");
            let page = api.get(&path).await.1;
            seen.extend(of(&page, "orders", "id"));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={}", next.replace(':', "%3A"));
        }
        assert_eq!(seen, ["O4", "O3", "O1"]);
        for wrong in [
            "status=lost",
            "problem=none",
            "sort=size",
            "sort=id&status=paid",
            "sort=newest&after=O1",
            "search=O1&status=paid",
            "search=O1&limit=5",
        ] {
            assert_eq!(api.get(&format!("/api/v1/orders?{wrong}")).await.0, 400, "{wrong}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_by_type_by_outcome_and_by_order() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        for event in [
            pi("pi_1").event("payment_intent.succeeded").id("evt_1"),
            session("cs_1").pi("pi_1").order("O1").event("checkout.session.completed").id("evt_2"),
            pi("pi_2").event("payment_intent.succeeded").id("evt_3"),
            charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded").id("evt_4"),
        ] {
            assert_eq!(api.service.post(&event.body()).await.status, 200);
        }
        for (question, expected) in [
            ("", "evt_4 evt_3 evt_2 evt_1"),
            ("type=payment_intent.succeeded", "evt_3 evt_1"),
            ("outcome=parked", "evt_3"),
            ("outcome=applied&type=charge.refunded", "evt_4"),
            ("outcome=ignored", ""),
            ("order=O1", "evt_4 evt_2 evt_1"),
            ("order=O1&type=charge.refunded", "evt_4"),
            ("order=O2", ""),
        ] {
            let (status, page) = api.get(&format!("/api/v1/events?{question}")).await;
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(
                (status, of(&page, "events", "id")),
                (200, json_texts(&expected)),
                "{question}"
            );
        }
        let first = api.get("/api/v1/events?limit=3").await.1;
        let next = first["next"].as_str().expect("a next page").replace(':', "%3A");
        let second = api.get(&format!("/api/v1/events?limit=3&after={next}")).await.1;
        assert_eq!(of(&second, "events", "id"), ["evt_1"]);
        assert_eq!(second["next"], Value::Null);
        for wrong in ["outcome=lost", "limit=0", "after=evt_1", "order=O1&limit=2", "kind=x"] {
            assert_eq!(api.get(&format!("/api/v1/events?{wrong}")).await.0, 400, "{wrong}");
        }
    })
    .await;
}

fn json_texts(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| json!(text)).collect()
}

/// Ignored under one setting, applied under another, once somebody says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_replayed_after_a_dry_run_that_tells_the_same() {
    on_both(async |database| {
        let api = Api::start(database, &[("STRIPE_MODE", "test")]);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1");
        assert_eq!(api.service.post(&paid.body()).await.status, 200);
        let outcome = "select outcome from events where id = 'evt_1'";
        assert_eq!(database.one(outcome).await, "ignored", "it is of the other mode");
        drop(api);

        let api = Api::start(database, &[]);
        let (status, dry) = api.post("/api/v1/events/evt_1/replay?dry_run=true").await;
        assert_eq!((status, &dry["dry_run"], &dry["result"]), (200, &json!(true), &json!("moved")));
        assert_eq!((&dry["was"], &dry["is"]), (&json!("ignored"), &json!("applied")));
        assert_eq!(of(&dry, "changes", "to_status"), ["paid"]);
        assert_eq!(of(&dry, "changes", "order_id"), ["O1"]);
        assert_eq!(database.one(outcome).await, "ignored", "a dry run writes nothing");
        assert_eq!(api.get("/api/v1/orders/O1").await.0, 404);

        let (status, wet) = api.post("/api/v1/events/evt_1/replay").await;
        let mut expected = dry.clone();
        expected["dry_run"] = json!(false);
        assert_eq!((status, wet), (200, expected));
        assert_eq!(database.one(outcome).await, "applied");
        assert_eq!(api.get("/api/v1/orders/O1").await.1["status"], "paid");

        let (_, again) = api.post("/api/v1/events/evt_1/replay").await;
        assert_eq!((&again["result"], &again["changes"]), (&json!("same"), &json!([])));
        database.execute("update events set body = null").await;
        assert_eq!(api.post("/api/v1/events/evt_1/replay").await.1["result"], "no_body");
        assert_eq!(api.post("/api/v1/events/evt_9/replay").await.0, 404);
        assert_eq!(api.post("/api/v1/events/evt_1/replay?dry_run=maybe").await.0, 400);
        assert_eq!(api.get("/api/v1/events/evt_1/replay").await.0, 405);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_are_listed_and_one_is_sent_again() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        for number in [1, 2] {
            let paid = pi(&format!("pi_{number}")).order(&format!("O{number}"));
            let paid = paid.event("payment_intent.succeeded").id(&format!("evt_{number}"));
            assert_eq!(api.service.post(&paid.body()).await.status, 200);
        }
        // Nobody is told anything here, so that these stay as they are.
        let columns = "(id, order_id, version, destination, status, attempts, next_attempt_at, created_at, \
                        claimed_at, settled_at, last_error)";
        let overriding = if database.is_postgres() { "overriding system value" } else { "" };
        let (past, future) = ("'2026-11-01T00:00:00Z'", "'2999-11-01T00:00:00Z'");
        database
            .execute(&format!(
                "insert into deliveries {columns} {overriding} values
                 (11, 'O1', 1, 'shop', 'dead', 9, {past}, {past}, null, {past}, 'answered 500'),
                 (12, 'O1', 1, 'mail', 'sent', 1, {past}, {past}, null, {past}, null),
                 (13, 'O2', 1, 'shop', 'waiting', 1, {future}, {past}, {past}, null, null)"
            ))
            .await;
        for (question, expected) in [
            ("", vec![13, 12, 11]),
            ("status=dead", vec![11]),
            ("destination=shop", vec![13, 11]),
            ("status=sent&destination=shop", vec![]),
            ("limit=1&after=13", vec![12]),
        ] {
            let (status, page) = api.get(&format!("/api/v1/notifications?{question}")).await;
            assert_eq!((status, of(&page, "notifications", "id")), (200, expected.into_iter().map(|id| json!(id)).collect()), "{question}");
        }
        assert_eq!(api.get("/api/v1/notifications?limit=2").await.1["next"], 12);
        assert_eq!(api.get("/api/v1/notifications?status=lost").await.0, 400);

        let (status, due) = api.post("/api/v1/notifications/11/retry").await;
        assert_eq!((status, &due["status"], &due["attempts"]), (200, &json!("waiting"), &json!(0)));
        assert_eq!((&due["settled_at"], &due["is_being_sent"]), (&Value::Null, &json!(false)));
        let status = "select status from deliveries where id = 11";
        assert_eq!(database.one(status).await, "waiting");
        let (status, problem) = api.post("/api/v1/notifications/13/retry").await;
        assert_eq!((status, &problem["type"]), (409, &json!("urn:paidup:problem:being_sent")));
        for nothing in ["99", "x"] {
            assert_eq!(api.post(&format!("/api/v1/notifications/{nothing}/retry")).await.0, 404);
        }
    })
    .await;
}
