//! The real binary, `paidup serve`, as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use paidup::http::client::{self, Answer};
use serde_json::Value;

use super::databases::Database;
use super::fixtures::{SECRET, secret};

/// How long a call waits for what must come.
pub const CALL_SECONDS_MAX: u64 = 30;

/// Waits until it is so, and fails the test if it never is.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(CALL_SECONDS_MAX);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < patience, "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// A paidup that runs. It is killed when this is dropped.
pub struct Service {
    process: Child,
    /// `http://…/webhook/stripe`
    pub webhook: String,
    /// `http://…`, without a path.
    pub operators: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary with none of this process's environment, but an admin token.
pub fn paidup() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paidup"));
    command.env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null());
    // Without one, a service writes a token of its own into that folder.
    command.env("ADMIN_TOKEN", "the_token_of_tests_that_set_none");
    command
}

impl Service {
    /// Starts `paidup serve` with the fixtures' secret, and waits until it takes webhooks.
    pub fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut command = paidup();
        command
            .arg("serve")
            .env("DATABASE_URL", &database.url)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("LISTEN", "127.0.0.1:0")
            .env("OPERATOR_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied());
        Self::of(command)
    }

    /// Starts it as told, and waits until its log says where it takes webhooks.
    pub fn of(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a log"));
        let mut text = String::new();
        let (webhook, operators) = loop {
            let begin = text.len();
            assert_ne!(lines.read_line(&mut text).expect("a line"), 0, "it ended early:\n{text}");
            let urls: Vec<&str> = text[begin..]
                .split(|char: char| char.is_whitespace() || char == '"' || char == ';')
                .filter(|word| word.starts_with("http://"))
                .collect();
            if let [webhook, operators] = urls[..] {
                break (webhook.to_owned(), operators.to_owned());
            }
        };
        let log = Arc::new(Mutex::new(text));
        let into = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut text = into.lock().expect("no panic");
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { process, webhook, operators, log, reader: Some(reader) }
    }

    /// Posts a body with the header that Stripe would send now.
    pub async fn post(&self, body: &[u8]) -> Answer {
        self.post_with(&secret().header(paidup::unix_seconds(), body), body).await
    }

    /// Posts a body with a `Stripe-Signature` of the test's.
    pub async fn post_with(&self, signature: &str, body: &[u8]) -> Answer {
        let headers = [("Stripe-Signature", signature)];
        let within = Duration::from_secs(CALL_SECONDS_MAX);
        let body = Bytes::copy_from_slice(body);
        client::post(&self.webhook, &headers, body, within).await.expect("an answer")
    }

    /// What the operators' listener says at that path.
    pub async fn ask(&self, path: &str) -> Answer {
        let within = Duration::from_secs(CALL_SECONDS_MAX);
        client::get(&format!("{}{path}", self.operators), within).await.expect("an answer")
    }

    /// The value of a metric, by its whole name with labels; 0 if it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.ask("/metrics").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// How many connections the webhook's listener has open.
    pub async fn connections(&self) -> f64 {
        let address = self.webhook.trim_start_matches("http://").split('/').next();
        let address = address.expect("an address");
        self.metric(&format!("paidup_connections{{listener=\"{address}\"}}")).await
    }

    /// Asks it to stop, as an operator's machine does.
    pub fn terminate(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Kills it without a warning.
    pub fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }

    /// Asks it to stop, and returns how it ended and all that it logged.
    pub async fn stopped(self) -> (ExitStatus, String) {
        self.terminate();
        self.ended().await
    }

    /// Waits until it has ended by itself, and returns how, and all that it logged.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let mut process = std::mem::replace(
            &mut self.process,
            Command::new("true").spawn().expect("a process to drop"),
        );
        let reader = self.reader.take();
        let ended = tokio::task::spawn_blocking(move || {
            let status = process.wait().expect("it ends");
            if let Some(reader) = reader {
                reader.join().expect("no panic");
            }
            status
        });
        let status = ended.await.expect("no panic");
        (status, self.log.lock().expect("no panic").clone())
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }
}

/// The status, and the word in the answer that tells what became of the event, or what was wrong.
pub fn told(answer: &Answer) -> (u16, String) {
    let value: Value = serde_json::from_str(&answer.body).expect(&answer.body);
    let word = value.get("outcome").or_else(|| value.get("error")).and_then(Value::as_str);
    (answer.status, word.expect(&answer.body).to_owned())
}
