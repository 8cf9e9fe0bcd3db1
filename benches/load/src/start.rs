//! Starts a service, and measures the time from exec to its first 200 and its memory when idle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::process;

const POLL_INTERVAL: Duration = Duration::from_millis(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const STARTS_MAX: usize = 100;

#[derive(clap::Args)]
pub struct WaitArguments {
    #[arg(long)]
    url: String,
    /// Give up after this long.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[derive(clap::Args)]
pub struct Arguments {
    /// The URL that answers 200 when the service is ready.
    #[arg(long)]
    ready: String,
    /// What to call it in the result.
    #[arg(long, default_value = "service")]
    label: String,
    /// How often to start it.
    #[arg(long, default_value_t = 10)]
    times: usize,
    /// How long it may settle before its memory is read.
    #[arg(long, default_value_t = 1_000)]
    idle_ms: u64,
    /// The service and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// What `start` prints, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Starts {
    pub label: String,
    pub ready_ms_median: f64,
    pub ready_ms: Vec<f64>,
    /// The largest of all starts.
    pub idle_kib: u64,
}

pub fn wait(arguments: &WaitArguments) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    while !answers_200(&arguments.url)? {
        if Instant::now() > until {
            return Err(format!("{} did not answer 200", arguments.url).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub fn run(arguments: &Arguments) -> Result<(), Error> {
    if !(1..=STARTS_MAX).contains(&arguments.times) {
        return Err(format!("--times must be 1 to {STARTS_MAX}").into());
    }
    if answers_200(&arguments.ready)? {
        return Err(format!("something answers at {} already", arguments.ready).into());
    }
    let mut ready_ms = Vec::new();
    let mut idle_kib = 0;
    for _ in 0..arguments.times {
        let started = Instant::now();
        let mut service = Command::new(&arguments.command[0])
            .args(&arguments.command[1..])
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()?;
        let measured = measure(&mut service, started, arguments);
        stop(&mut service)?;
        let (ready, resident) = measured?;
        ready_ms.push(ready.as_secs_f64() * 1_000.0);
        idle_kib = idle_kib.max(resident);
    }
    let mut sorted = ready_ms.clone();
    sorted.sort_by(f64::total_cmp);
    let starts = Starts {
        label: arguments.label.clone(),
        ready_ms_median: sorted[sorted.len() / 2],
        ready_ms,
        idle_kib,
    };
    println!("{}", serde_json::to_string(&starts)?);
    Ok(())
}

fn measure(
    service: &mut Child,
    started: Instant,
    arguments: &Arguments,
) -> Result<(Duration, u64), Error> {
    while !answers_200(&arguments.ready)? {
        if let Some(status) = service.try_wait()? {
            return Err(format!("the service ended: {status}").into());
        }
        if started.elapsed() > Duration::from_secs(30) {
            return Err("the service was not ready within 30 s".into());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let ready = started.elapsed();
    std::thread::sleep(Duration::from_millis(arguments.idle_ms));
    Ok((ready, process::resident_kib(service.id())))
}

/// Asks it to end; if it does not, ends it.
fn stop(service: &mut Child) -> Result<(), Error> {
    Command::new("kill").arg(service.id().to_string()).status()?;
    let until = Instant::now() + STOP_TIMEOUT;
    while service.try_wait()?.is_none() {
        if Instant::now() > until {
            service.kill()?;
            service.wait()?;
            return Err(
                format!("the service did not end within {STOP_TIMEOUT:?} of SIGTERM").into()
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// An error is a URL that cannot be right; a service that is not there yet is `false`.
fn answers_200(url: &str) -> Result<bool, Error> {
    let rest = url.strip_prefix("http://").ok_or("the URL must begin with http://")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    Ok(ask().unwrap_or(false))
}
