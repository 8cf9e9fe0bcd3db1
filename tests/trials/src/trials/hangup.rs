//! Clients that hang up at random microseconds, most with a reset, while others keep their word.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use paidup::domain::signature::SigningSecret;

use crate::Result;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::driver::{Driver, Load};
use crate::events::{Events, Random, SECRET};
use crate::form::Form;
use crate::judge::judge;
use crate::process::Recipe;
use crate::report::Report;

/// Connections that keep their word. Their events are judged.
const HONEST: usize = 8;
/// Threads that hang up.
const RUDE: usize = 4;
/// The longest that one of them waits before it does.
const WAIT_MICROSECONDS_MAX: u64 = 6_000;

pub fn run(form: &Form) -> Result<Report> {
    form.run(async {
        let mut report = Report::default();
        let cluster = Cluster::start(form, "postgres", "").await?;
        let url = cluster.create("trial").await?;
        let recipe = Recipe::new(form, "paidup", &url)?;
        let (paidup, _) = recipe.start().await?;
        // Both send the same events, so that what one hangs up on is a duplicate, or not, of the other's.
        let events = Events::new("hang");
        let load = Load::new(events.clone(), HONEST, &[recipe.address]);
        let driver = Driver::start(form, load)?;
        let calls = form.pick(2_000, 100_000);
        let next = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..RUDE)
            .map(|thread| {
                let (next, events, address) = (Arc::clone(&next), events.clone(), recipe.address);
                tokio::task::spawn_blocking(move || {
                    hang_up(address, &events, &next, calls, thread as u64)
                })
            })
            .collect();
        let mut answered = 0;
        for thread in threads {
            answered += thread.await??;
        }
        // The honest ones must get as far as the rude ones did, or the judge would call theirs stray.
        let far = next.load(Ordering::Relaxed).min(calls);
        while driver.sent() <= far {
            driver.more(100).await?;
        }
        let log = driver.finish().await?;
        let open = "select count(*) from pg_stat_activity
                    where application_name = 'paidup' and state like 'idle in transaction%'";
        let mut database = Database::open(&url).await?;
        let left = database.number(open).await?;
        let verdict = judge(&url, &log, None).await?;
        verdict.report(&mut report);
        report.figure("calls that were hung up on", far);
        report.figure("… that had their answer by then", answered);
        report.figure("transactions left open", left);
        report.must("no transaction is left open", left == 0);
        report.must("nearly all hung up before their answer", answered < far);
        report.figure("connections of paidup to Postgres", {
            let all = "select count(*) from pg_stat_activity where application_name = 'paidup'";
            database.number(all).await?
        });
        let other = log.statuses().into_keys().find(|status| *status != 200);
        report.must(&format!("only 200 for the honest, not {other:?}"), other.is_none());
        paidup.kill()?;
        Ok(report)
    })
}

/// Sends whole and half requests, and leaves; how many had their answer by then.
fn hang_up(
    address: SocketAddr,
    events: &Events,
    next: &AtomicU32,
    calls: u32,
    seed: u64,
) -> Result<u32> {
    let mut random = Random::new(Random::seed() ^ seed);
    let secret = SigningSecret::new(SECRET).map_err(|_| "an empty secret")?;
    let mut answered = 0;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return Ok(answered);
        }
        let body = events.body(number);
        let signature = secret.header(paidup::unix_seconds(), &body);
        let mut request = format!(
            "POST /webhook/stripe HTTP/1.1\r\nhost: localhost\r\nstripe-signature: {signature}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        // One in eight leaves in the middle of its request.
        if random.below(8) == 0 {
            request.truncate(1 + random.below(request.len() as u64 - 1) as usize);
        }
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(&request)?;
        let wait = Duration::from_micros(random.below(WAIT_MICROSECONDS_MAX));
        let started = Instant::now();
        // Sleep is too coarse for microseconds; only the last stretch is spent turning.
        if wait > Duration::from_millis(1) {
            std::thread::sleep(wait - Duration::from_millis(1));
        }
        while started.elapsed() < wait {
            std::hint::spin_loop();
        }
        stream.set_nonblocking(true)?;
        answered += u32::from(stream.read(&mut [0; 64]).is_ok_and(|read| read > 0));
        // With bytes unread, or with this, the other side sees a reset and no orderly end.
        if random.below(2) == 0 {
            stream.set_nonblocking(false)?;
            let stream = tokio::net::TcpSocket::from_std_stream(stream);
            stream.set_zero_linger()?;
        }
    }
}
