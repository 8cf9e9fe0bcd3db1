//! `GET /api/v1/stream`: what is committed is heard, in its order, by all who listen, and whoever comes back
//! goes on where it was.

use reqwest::Response;
use serde_json::{Value, json};

use paidup::http::api::stream::STREAMS_MAX;

use crate::support::api::{Api, TOKEN};
use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, charge, pi};
use crate::support::service::eventually;

/// A listener: what came, event by event.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(api: &Api, after: Option<i64>) -> Self {
        let url = format!("{}/api/v1/stream", api.service.operators);
        let mut request = api.http.get(url).bearer_auth(TOKEN);
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, text: String::new() }
    }

    /// The next change; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let Some(data) = field("data") else { continue };
                let change: Value = serde_json::from_str(data).expect("JSON");
                assert_eq!(field("event"), Some("change"));
                assert_eq!(field("id"), Some(change["sequence"].to_string().as_str()));
                return Some(change);
            }
            let piece = self.response.chunk().await.expect("a piece")?;
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    async fn orders(&mut self, count: usize) -> Vec<String> {
        let mut orders = Vec::new();
        for _ in 0..count {
            let change = self.next().await.expect("a change");
            orders.push(change["order_id"].as_str().expect("an id").to_owned());
        }
        orders
    }
}

fn paid(number: usize) -> EventBody {
    let event = pi(&format!("pi_{number}")).order(&format!("O{number}"));
    event.event("payment_intent.succeeded").id(&format!("evt_{number}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_heard_by_all_and_taken_up_where_it_was_left() {
    on_both(async |database| {
        let api = Api::start(database, &[]);
        api.service.post(&paid(1).body()).await;
        let mut live = Stream::open(&api, None).await;
        let mut all = Stream::open(&api, Some(0)).await;
        let first = all.next().await.expect("a change");
        assert_eq!((&first["order_id"], &first["to_status"]), (&json!("O1"), &json!("paid")));
        assert_eq!((&first["version"], &first["kinds"]), (&json!(1), &json!(["order.paid"])));
        for number in [2, 3] {
            api.service.post(&paid(number).body()).await;
        }
        assert_eq!(live.orders(2).await, ["O2", "O3"], "from now on");
        assert_eq!(all.orders(2).await, ["O2", "O3"]);
        drop(live);
        let refunded = charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded");
        api.service.post(&refunded.body()).await;
        let place = first["sequence"].as_i64().expect("a number");
        let mut back = Stream::open(&api, Some(place)).await;
        assert_eq!(
            back.orders(3).await,
            ["O2", "O3", "O1"],
            "nothing was missed, nothing repeated"
        );

        assert_eq!(all.orders(1).await, ["O1"]);

        // A stop ends streams, and is not held up by them.
        let Api { service, .. } = api;
        let (status, log) = service.stopped().await;
        assert!(status.success() && !log.contains("were cut"), "{log}");
        assert_eq!(back.next().await, None);
        assert_eq!(all.next().await, None);
    })
    .await;
}

/// The writer of another process wakes nobody here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_another_process_are_heard_too() {
    on_both(async |database| {
        let (one, other) = (Api::start(database, &[]), Api::start(database, &[]));
        let mut stream = Stream::open(&one, None).await;
        for number in 1..=20 {
            let by = if number % 2 == 0 { &one } else { &other };
            assert_eq!(by.service.post(&paid(number).body()).await.status, 200);
        }
        let expected: Vec<String> = (1..=20).map(|number| format!("O{number}")).collect();
        assert_eq!(stream.orders(20).await, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_a_place_is_free_when_its_caller_goes_away() {
    let database = Database::sqlite().await;
    let api = Api::start(&database, &[]);
    let mut streams = Vec::new();
    for _ in 0..STREAMS_MAX {
        streams.push(Stream::open(&api, None).await);
    }
    assert_eq!(api.get("/api/v1/stream").await.0, 503);
    streams.truncate(STREAMS_MAX - 1);
    let url = format!("{}/api/v1/stream", api.service.operators);
    eventually("a free place", async || {
        let answer = api.http.get(&url).bearer_auth(TOKEN).send().await.expect("an answer");
        answer.status() == 200
    })
    .await;
    for wrong in ["x", "-1", "1.5"] {
        let request = api.http.get(&url).bearer_auth(TOKEN).header("Last-Event-ID", wrong);
        assert_eq!(request.send().await.expect("an answer").status(), 400, "{wrong}");
    }
    database.remove().await;
}
