//! What a mail server's refusals mean, by a server that answers as each test says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::databases::Database;
use crate::support::fixtures::{EventBody, charge};
use crate::support::notifier::{Notifier, becomes, deliver, settings};
use crate::support::service::eventually;

/// What the server says to a command, if not that it is fine.
type Script = fn(&str) -> Option<&'static str>;

/// A mail server that runs until it is dropped.
struct PostOffice {
    port: u16,
    /// The commands that came.
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PostOffice {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(converse(stream, script, Arc::clone(&into)));
            }
        });
        Self { port, heard, task }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    /// The settings of a mail to the customer by this server.
    fn settings(&self, from: &str) -> paidup::notify::settings::Settings {
        settings(&format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n[[email]]\nname = \"customer\"\n\
             wants = [\"order.paid\"]\nto = [\"customer\"]\nfrom = \"Shop <{from}>\"\n",
            self.port
        ))
    }
}

/// Speaks SMTP as far as the tests need it. It ends when the client does.
async fn converse(stream: TcpStream, script: Script, heard: Arc<Mutex<Vec<String>>>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut line, mut in_mail) = ("CONNECT".to_owned(), false);
    loop {
        let usual = match line.split_whitespace().next().unwrap_or_default() {
            "." => "250 queued",
            "CONNECT" => "220 test",
            "EHLO" => "250 test",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        if !in_mail || line == "." {
            in_mail = line == "DATA";
            let answer = script(&line).unwrap_or(usual);
            if writer.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                return;
            }
            heard.lock().expect("no panic").push(line);
        }
        let Ok(Some(next)) = lines.next_line().await else { return };
        line = next;
    }
}

fn paid(order: &str, email: &str) -> EventBody {
    let charge = charge(&format!("ch_{order}")).order(order).email(email);
    charge.event("charge.succeeded").id(&format!("evt_{order}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_mailbox_that_is_not_there_is_final() {
    let table: [(Script, &str); 7] = [
        (
            |line| line.starts_with("RCPT").then_some("550 5.1.1 no such mailbox"),
            "dead 1 the mail server answered 550 5.1.1 to a recipient's address",
        ),
        (
            |line| line.starts_with("RCPT").then_some("550 5.7.1 your client is blocked"),
            "waiting 1 the mail server answered 550 5.7.1 to a recipient's address",
        ),
        (
            |line| {
                line.starts_with("RCPT").then_some("552-5.2.2 over quota\r\n552 5.2.2 try later")
            },
            "waiting 1 the mail server answered 552 5.2.2 to a recipient's address",
        ),
        (
            |line| line.starts_with("MAIL").then_some("550 5.1.8 sender refused"),
            "waiting 1 the mail server answered 550 5.1.8 to the sender's address",
        ),
        (
            |line| line.starts_with("EHLO").then_some("550 5.7.1 blocked"),
            "waiting 1 the mail server answered 550 5.7.1 to the connection",
        ),
        (
            |line| (line == "CONNECT").then_some("553 blocked"),
            "waiting 1 the mail server answered 553 to the connection",
        ),
        (|_| None, "sent 1 -"),
    ];
    for (script, expected) in table {
        let database = Database::sqlite().await;
        let office = PostOffice::start(script).await;
        let settings = office.settings("orders@shop.example");
        deliver(&database, &settings, &[paid("O1", "jenny@customer.example")]).await;
        let notifier = Notifier::start(&database, &settings);
        becomes(&database, "customer", expected).await;
        notifier.stopped().await;
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_go_out_in_punycode() {
    let database = Database::sqlite().await;
    let office = PostOffice::start(|_| None).await;
    let settings = office.settings("orders@bücher.example");
    deliver(&database, &settings, &[paid("O1", "jenny@Žluťoučký.example")]).await;
    let notifier = Notifier::start(&database, &settings);
    becomes(&database, "customer", "sent 1 -").await;
    let heard = office.heard();
    for command in [
        "EHLO xn--bcher-kva.example",
        "MAIL FROM:<orders@xn--bcher-kva.example>",
        "RCPT TO:<jenny@xn--luouk-uva4it5a4g.example>",
    ] {
        let is_it = |line: &String| line.trim_end().eq_ignore_ascii_case(command);
        assert!(heard.iter().any(is_it), "{command}: {heard:?}");
    }
    notifier.stopped().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_the_server_cannot_take_fails_alone() {
    let database = Database::sqlite().await;
    let office = PostOffice::start(|_| None).await;
    let settings = office.settings("orders@shop.example");
    // More than the failures in a row after which a destination rests.
    let orders: Vec<String> = (0..8).map(|number| format!("O{number}")).collect();
    let events: Vec<EventBody> =
        orders.iter().map(|order| paid(order, "jürgen@customer.example")).collect();
    deliver(&database, &settings, &events).await;
    let notifier = Notifier::start(&database, &settings);
    let dead = "select last_error from deliveries where status = 'dead'";
    eventually("all are given up", async || database.column(dead).await.len() == 8).await;
    let why = database.column(dead).await.remove(0);
    assert!(why.contains("no SMTPUTF8") && !why.contains('@'), "{why}");
    assert!(!office.heard().iter().any(|line| line.starts_with("MAIL")), "{:?}", office.heard());
    deliver(&database, &settings, &[paid("O9", "jenny@customer.example")]).await;
    let sent = "select order_id from deliveries where status = 'sent'";
    eventually("the others have mail", async || database.column(sent).await == ["O9"]).await;
    notifier.stopped().await;
    database.remove().await;
}
