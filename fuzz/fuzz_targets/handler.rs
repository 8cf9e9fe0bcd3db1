//! The whole webhook without sockets: any call to its router, with a writer and an SQLite file behind it.
//! Each is answered as an independent reading of the signature and the event themselves ask for: never
//! 5xx, never 200 without a good signature; and what was answered 200 is a duplicate the next time.
//!
//! The first byte is the method, the path and the number of headers; what follows is a [`reference::Call`].

#![no_main]

mod reference;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use libfuzzer_sys::fuzz_target;
use paidup::domain::event::Event;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::origin::Stored;
use paidup::domain::signature::SigningSecret;
use paidup::http::webhook::{WEBHOOK_PATH, Webhook, router};
use paidup::ingest::{self, REPLY_SECONDS_MAX, Retention};
use paidup::store::Store;
use paidup::store::transaction::Rules;
use reference::{Call, NOW, SECRETS, TOLERANCE_SECONDS};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// After so many calls it is begun anew with an empty database, so that no run fills the disk.
const CALLS_MAX: u32 = 20_000;
const METHODS: [&str; 4] = ["POST", "POST", "GET", "put"];
const PATHS: [&str; 4] = [WEBHOOK_PATH, WEBHOOK_PATH, "/webhook/stripe/", "/Webhook/stripe"];

thread_local! {
    static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) };
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, rest)) = input.split_first() else { return };
    let Some(call) = Call::of(rest) else { return };
    // What is no header at all does not come so far.
    let Ok(header) = HeaderValue::from_bytes(&call.header) else { return };
    let what = usize::from(what);
    let (method, path, headers) =
        (METHODS[what % 4], PATHS[what / 4 % 4], [1, 1, 0, 2][what / 16 % 4]);
    let is_event = || {
        let body = Bytes::copy_from_slice(call.body);
        let body = Stored::in_our_table_of_events(body, NOW);
        Event::read_again(&body, &OrderIdRules::default()).is_ok()
    };
    let expected = match (path, method, headers) {
        (WEBHOOK_PATH, "POST", 1) if call.judge().is_some() && is_event() => StatusCode::OK,
        (WEBHOOK_PATH, "POST", _) => StatusCode::BAD_REQUEST,
        (WEBHOOK_PATH, ..) => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::NOT_FOUND,
    };
    SERVICE.with_borrow_mut(|service| {
        if service.as_ref().is_some_and(|service| service.calls >= CALLS_MAX) {
            *service = None;
        }
        let service = service.get_or_insert_with(Service::start);
        let request = || {
            let mut request = Request::builder().method(method).uri(path);
            for _ in 0..headers {
                request = request.header("stripe-signature", header.clone());
            }
            request.body(Body::from(call.body.to_vec())).expect("a request")
        };
        let Some((status, told)) = service.answer(request()) else { return };
        assert_eq!(status, expected, "{told}");
        let Some((again, told)) = service.answer(request()) else { return };
        assert_eq!(again, expected, "{told}");
        assert!(again != StatusCode::OK || told.contains(r#""outcome":"duplicate""#), "{told}");
    });
});

/// A webhook that runs, until this is dropped.
struct Service {
    runtime: Option<Runtime>,
    router: Router,
    stop: CancellationToken,
    file: PathBuf,
    calls: u32,
}

impl Service {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let file = std::env::temp_dir().join(format!("paidup-fuzz-{}.db", std::process::id()));
        let stop = CancellationToken::new();
        let router = runtime.block_on(async {
            let store = Store::parse(&format!("sqlite://{}", file.display())).expect("a URL");
            store.migrate().await.expect("migrated");
            let retention = Retention { event_body_days: None };
            let (ingest, _) =
                ingest::start(store, Rules::default(), retention, stop.clone()).expect("a thread");
            let secrets = SECRETS.map(|secret| SigningSecret::new(secret).expect("not empty"));
            let order_ids = Arc::new(OrderIdRules::default());
            router(Webhook::new(secrets.into(), TOLERANCE_SECONDS, ingest, order_ids, || NOW))
        });
        Self { runtime: Some(runtime), router, stop, file, calls: 0 }
    }

    /// The status and the text; `None` if this machine stood still for so long that 503 is right.
    fn answer(&mut self, request: Request<Body>) -> Option<(StatusCode, String)> {
        self.calls += 1;
        let started = Instant::now();
        let router = self.router.clone();
        let runtime = self.runtime.as_ref()?;
        let (status, body) = runtime.block_on(async {
            let answer = router.oneshot(request).await.expect("it cannot fail");
            let status = answer.status();
            (status, to_bytes(answer.into_body(), 4096).await.expect("a short text"))
        });
        let stood_still = started.elapsed() >= Duration::from_secs(REPLY_SECONDS_MAX);
        let is_excused = status == StatusCode::SERVICE_UNAVAILABLE && stood_still;
        (!is_excused).then(|| (status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
        // This waits for the writer.
        drop(self.runtime.take());
        for end in ["", "-wal", "-shm"] {
            let mut name = self.file.clone().into_os_string();
            name.push(end);
            let _ = std::fs::remove_file(name);
        }
    }
}
