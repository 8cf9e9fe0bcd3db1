//! The whole webhook without sockets: any request to its router, with a writer and an SQLite file behind
//! it. The first byte says what is signed and where it goes, the first line is the header, the rest the
//! body. Nothing is answered 500; only what is signed is answered 200.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use http::Request;
use libfuzzer_sys::fuzz_target;
use paidup::domain::signature::SigningSecret;
use paidup::http::webhook::{Webhook, router};
use paidup::ingest::{self, Retention};
use paidup::store::Store;
use paidup::store::transaction::Rules;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const NOW: i64 = 1_800_000_000;

fn secret() -> SigningSecret {
    SigningSecret::new("whsec_fuzz_0123456789").expect("not empty")
}

static SERVICE: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("threads");
    // In memory where there is such a folder: the disk is not what is tried here.
    let shared = std::path::Path::new("/dev/shm");
    let folder = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let file = folder.join(format!("paidup-fuzz-{}.db", std::process::id()));
    let router = runtime.block_on(async {
        let store = Store::parse(&format!("sqlite://{}", file.display())).expect("a URL");
        store.migrate().await.expect("migrated");
        let stop = CancellationToken::new();
        let (ingest, _writer) =
            ingest::start(store, Rules::default(), Retention { event_body_days: None }, stop).expect("a thread");
        router(Webhook::new(vec![secret()], 300, ingest, || NOW))
    });
    (runtime, router)
});

fuzz_target!(|input: &[u8]| {
    let Some((&what, rest)) = input.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (line, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let is_signed = what & 1 == 1;
    let header = if is_signed { secret().header(NOW, body).into_bytes() } else { line.to_vec() };
    let path = if what & 2 == 0 { "/webhook/stripe" } else { "/webhook/other" };
    let method = if what & 4 == 0 { "POST" } else { "PUT" };
    let request = Request::builder().method(method).uri(path).header("stripe-signature", header);
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let (runtime, router) = &*SERVICE;
    let answer = runtime.block_on(router.clone().oneshot(request)).expect("it cannot fail");
    let status = answer.status().as_u16();
    assert!([200, 400, 404, 405].contains(&status), "{status}");
    let is_good = std::str::from_utf8(line).is_ok_and(|line| {
        let good = secret().header(NOW, body);
        line.contains(good.split("v1=").nth(1).expect("it has one"))
    });
    assert!(status != 200 || is_signed || is_good, "a stranger's call was taken");
});
