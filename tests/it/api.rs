//! The operators' API, as a shop's program meets it: the real binary on both databases.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::api::{Api, TOKEN};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{charge, pi, session};
use crate::support::service::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_without_the_token() {
    let database = Database::sqlite().await;
    let api = Api::start(&database, &[]);
    let paths = [
        "/orders",
        "/orders/O1",
        "/orders/O1/history",
        "/events",
        "/events/evt_1",
        "/notifications",
        "/stream",
        "/nothing",
    ];
    for path in paths.map(|path| format!("/api/v1{path}")) {
        for token in [None, Some("wrong wrong wrong")] {
            let (status, kind, body) = api.call(Method::GET, &path, token, None).await;
            assert_eq!((status, kind.as_str()), (401, "application/problem+json"), "{path}");
            assert_eq!(body["type"], "urn:paidup:problem:unauthorized");
        }
    }
    let put = api.call(Method::PUT, "/api/v1/orders/O1", None, Some("{}")).await;
    assert_eq!(put.0, 401);
    for path in ["/api/v1/events/evt_1/replay", "/api/v1/notifications/1/retry"] {
        assert_eq!(api.call(Method::POST, path, None, Some("")).await.0, 401, "{path}");
    }
    assert_eq!(api.get("/api/v1/orders").await.0, 200);
    // Health and metrics stay open; the webhook's listener knows no API.
    assert_eq!(api.service.ask("/readyz").await.status, 200);
    let webhook = api.service.webhook.replace("/webhook/stripe", "/api/v1/orders");
    let answer = api.http.get(webhook).bearer_auth(TOKEN).send().await.expect("an answer");
    assert_eq!(answer.status(), 404);
    for _ in 0..30 {
        api.call(Method::GET, "/api/v1/orders", Some("a guess a guess a guess"), None).await;
    }
    let wrong = api.call(Method::GET, "/api/v1/orders", Some("a guess a guess"), None).await;
    assert_eq!(wrong.0, 429, "guesses are limited");
    assert_eq!(api.get("/api/v1/orders").await.0, 200, "guesses keep nobody out");
    let (_, log) = api.service.stopped().await;
    assert!(!log.contains(TOKEN), "{log}");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_can_be_read_with_all_that_happened_to_it() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        let id = "A/1 é?";
        let path = "/api/v1/orders/A%2F1%20%C3%A9%3F";
        assert_eq!(api.get(path).await.0, 404);
        assert_eq!(api.get(&format!("{path}/history")).await.0, 404);
        let events = [
            pi("pi_1").event("payment_intent.succeeded").id("evt_1").at(1_790_000_000),
            session("cs_1")
                .pi("pi_1")
                .order(id)
                .event("checkout.session.completed")
                .id("evt_2")
                .at(1_790_000_000),
            charge("ch_1")
                .pi("pi_1")
                .refunded(100)
                .event("charge.refunded")
                .id("evt_3")
                .at(1_790_000_100),
        ];
        for event in &events {
            assert_eq!(api.service.post(&event.body()).await.status, 200);
        }
        let (status, order) = api.get(path).await;
        assert_eq!(
            (status, &order["id"], &order["status"]),
            (200, &json!(id), &json!("partially_refunded"))
        );
        assert_eq!(order["amount_received"], 29_900);
        assert_eq!(order["amount_refunded"], 100);
        assert_eq!(order["paid_at"], "2026-09-21T14:13:20Z");
        assert_eq!(order["amount_due"], Value::Null);

        let (_, history) = api.get(&format!("{path}/history")).await;
        let of = |list: &str, field: &str| -> Vec<Value> {
            history[list].as_array().expect(list).iter().map(|one| one[field].clone()).collect()
        };
        assert_eq!(of("changes", "to_status"), ["paid", "partially_refunded"]);
        assert_eq!(of("changes", "event_id"), ["evt_2", "evt_3"]);
        assert_eq!(of("events", "id"), ["evt_1", "evt_2", "evt_3"]);
        assert_eq!(of("events", "outcome"), ["applied", "applied", "applied"]);

        let (status, event) = api.get("/api/v1/events/evt_2").await;
        assert_eq!((status, &event["event"]["type"]), (200, &json!("checkout.session.completed")));
        assert_eq!(event["body"], events[1].json());
        // To the letter, whatever a reader of JSON would make of it.
        let odd = r#"{"id":"evt_2","large":12345678901234567890123.50,"half":"\ud800"}"#;
        let hex: String = odd.bytes().map(|byte| format!("{byte:02x}")).collect();
        let literal =
            if database.is_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") };
        database.execute(&format!("update events set body = {literal} where id = 'evt_2'")).await;
        let text = api.text("/api/v1/events/evt_2").await;
        assert!(text.contains(odd), "{text}");
        database.execute("update events set body = null").await;
        assert_eq!(api.get("/api/v1/events/evt_2").await.1["body"], Value::Null);
        assert_eq!(api.get("/api/v1/events/evt_9").await.0, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_orders_are_listed_page_by_page() {
    on_both(async |database| {
        let values: Vec<String> = (0..25).map(|one| format!("('O{one}')")).collect();
        database.execute(&format!("insert into orders (id) values {}", values.join(", "))).await;
        let api = Api::start(database, &[]);
        let (mut after, mut seen) = (String::new(), Vec::new());
        for expected in [10, 10, 5] {
            let (status, page) = api.get(&format!("/api/v1/orders?limit=10&after={after}")).await;
            assert_eq!(status, 200);
            let orders = page["orders"].as_array().expect("orders");
            assert_eq!(orders.len(), expected);
            seen.extend(orders.iter().map(|order| order["id"].as_str().expect("an id").to_owned()));
            after = page["next"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!(after, "", "the last page has no next one");
        assert_eq!(seen, database.column("select id from orders order by id").await);
        for wrong in ["limit=0", "limit=501", "limit=x", "page=2"] {
            assert_eq!(api.get(&format!("/api/v1/orders?{wrong}")).await.0, 400, "{wrong}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_registered_once_and_what_came_before_counts() {
    on_both(async |database| {
        let api = Api::start(database, &[("UNKNOWN_ORDERS", "hold")]);
        let path = "/api/v1/orders/O1";
        let order =
            json!({"amount_due": 29_900, "currency": "USD", "customer_email": "a@b.example"});
        let (status, body) = api.put(path, order.clone()).await;
        assert_eq!(
            (status, &body["status"], &body["currency"]),
            (201, &json!("pending"), &json!("usd"))
        );
        assert_eq!(body["customer_email"], "a@b.example");
        assert_eq!(api.put(path, order.clone()).await, (200, body), "again");
        // Another amount or currency is the shop's newer word.
        for (amount_due, currency) in [(1, "usd"), (29_900, "eur"), (29_900, "usd")] {
            let other = json!({"amount_due": amount_due, "currency": currency});
            let (status, body) = api.put(path, other).await;
            assert_eq!(
                (status, &body["amount_due"], &body["currency"]),
                (200, &json!(amount_due), &json!(currency))
            );
            assert_eq!(body["customer_email"], "a@b.example", "an address is not forgotten");
        }

        // Paid before it is registered: settled at once, and not only by the next sweep.
        let early = pi("pi_2").order("O2").event("payment_intent.succeeded").id("evt_2");
        api.service.post(&early.body()).await;
        assert_eq!(api.get("/api/v1/orders/O2").await.0, 404);
        let (status, body) =
            api.put("/api/v1/orders/O2", json!({"amount_due": 29_900, "currency": "usd"})).await;
        assert_eq!((status, &body["status"]), (201, &json!("paid")));
        assert_eq!(database.one("select outcome from events where id = 'evt_2'").await, "applied");
        assert_eq!(
            api.get("/api/v1/orders/O2/history").await.1["changes"][0]["kinds"],
            json!(["order.paid"])
        );

        for wrong in [
            json!({"amount_due": -1, "currency": "usd"}),
            json!({"amount_due": 1.5, "currency": "usd"}),
            json!({"amount_due": 29_900.0, "currency": "usd"}),
            json!({"amount_due": "1", "currency": "usd"}),
            json!({"amount_due": 1, "currency": "dollar"}),
            json!({"amount_due": 1, "currency": "u1d"}),
            json!({"amount_due": 1}),
            json!({"amount_due": 1, "currency": "usd", "status": "paid"}),
            json!({"amount_due": 1, "currency": "usd", "customer_email": "nobody"}),
            json!({"amount_due": 1, "currency": "usd", "customer_email": "a b@c.example"}),
            json!({"amount_due": 1, "currency": "usd", "customer_email": "a@b.example\r\nBcc: x@y"}),
            json!([]),
        ] {
            assert_eq!(api.put("/api/v1/orders/O3", wrong.clone()).await.0, 400, "{wrong}");
        }
        let long = "x".repeat(501);
        for id in ["a%00b", long.as_str()] {
            let order = json!({"amount_due": 1, "currency": "usd"});
            assert_eq!(api.put(&format!("/api/v1/orders/{id}"), order).await.0, 400, "{id}");
        }
        assert_eq!(database.one("select cast(count(*) as text) from orders").await, "2");
    })
    .await;
}

/// An order that paidup made from its payment gets its amount, and is judged by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_registration_is_folded_at_once() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        let cheap = pi("pi_1").order("O1").amount(100, "usd").event("payment_intent.succeeded");
        api.service.post(&cheap.body()).await;
        assert_eq!(api.get("/api/v1/orders/O1").await.1["status"], "paid");
        let (status, body) =
            api.put("/api/v1/orders/O1", json!({"amount_due": 29_900, "currency": "usd"})).await;
        assert_eq!(
            (status, &body["status"], &body["problem"]),
            (200, &json!("pending"), &json!("underpaid"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_waits_for_a_status_and_never_holds_up_a_stop() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        let order = json!({"amount_due": 29_900, "currency": "usd"});
        api.put("/api/v1/orders/O1", order).await;
        let at_once = api.get("/api/v1/orders/O1?wait=paid&timeout=0").await;
        assert_eq!(at_once.1["status"], "pending");
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
        let (waited, posted) = tokio::join!(
            api.get("/api/v1/orders/O1?wait=paid&timeout=60"),
            api.service.post(&paid)
        );
        assert_eq!((posted.status, &waited.1["status"]), (200, &json!("paid")));
        for wrong in ["wait=lost", "wait=paid&timeout=61", "timeout=x"] {
            assert_eq!(api.get(&format!("/api/v1/orders/O1?{wrong}")).await.0, 400, "{wrong}");
        }
        // Longer than the server waits in a stop, and than the test does.
        let Api { service, .. } = api;
        let address = service.operators.trim_start_matches("http://");
        let open = format!("paidup_connections{{listener=\"{address}\"}}");
        let before = service.metric(&open).await;
        let url = format!("{}/api/v1/orders/O1?wait=refunded&timeout=60", service.operators);
        let own = Client::builder().no_proxy().build().expect("a client");
        let waiting = tokio::spawn(own.get(url).bearer_auth(TOKEN).send());
        eventually("its connection", async || service.metric(&open).await > before).await;
        let (status, log) = service.stopped().await;
        assert!(status.success() && !log.contains("were cut"), "{log}");
        if let Ok(answer) = waiting.await.expect("no panic") {
            assert_eq!(answer.status(), 200);
        }
    })
    .await;
}

/// The routes, from the program's own text: `GET /orders/{id}` and so on.
fn routes() -> Vec<String> {
    let code = include_str!("../../src/http/api.rs");
    let routes = code.split(".route(").skip(1).filter_map(|rest| {
        let path = rest.split('"').nth(1)?;
        let chain = rest.split(".fallback(").next()?;
        // The document does not describe itself.
        if path.starts_with("/api/") {
            return None;
        }
        let methods = ["get", "put", "post", "delete"];
        let has = |method: &&str| chain.contains(&format!("{method}("));
        Some(methods.into_iter().filter(has).map(move |method| format!("{method} /api/v1{path}")))
    });
    routes.flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_describes_every_route_and_no_other() {
    let database = Database::sqlite().await;
    let api = Api::start(&database, &[]);
    let (status, kind, document) = api.call(Method::GET, "/api/openapi.json", None, None).await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    assert!(document["openapi"].as_str().expect("a version").starts_with("3."), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    let mut described: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    let mut routes = routes();
    routes.sort();
    described.sort();
    assert!(routes.len() >= 10, "{routes:?}");
    assert_eq!(described, routes);
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            assert_eq!(operation["security"], json!([{"token": []}]), "{method} {path}");
            let problem = &operation["responses"]["401"]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{method} {path}");
        }
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let order = &document["components"]["schemas"]["OrderView"]["properties"];
    let named: Vec<&String> = order.as_object().expect("fields").keys().collect();
    let order = json!({"amount_due": 1, "currency": "usd"});
    let answered = api.put("/api/v1/orders/O1", order).await.1;
    let answered: Vec<&String> = answered.as_object().expect("fields").keys().collect();
    assert_eq!(named.len(), answered.len(), "{named:?} {answered:?}");
    assert!(answered.iter().all(|name| named.contains(name)), "{named:?} {answered:?}");
    database.remove().await;
}
