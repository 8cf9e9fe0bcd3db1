//! What people are told: by mail through a real mail server, on a phone, in a chat room. And what a
//! receiver's own library says of our signatures.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{EventBody, charge, dispute, pi};
use crate::support::notifier::{Notifier, WEBHOOK_SECRET, becomes, deliver, settings, webhook};
use crate::support::peers::Peer;
use crate::support::receiver::Receiver;
use crate::support::service::{Service, paidup};

const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A charge that is paid, with the customer's address.
fn paid(order: &str, email: &str, amount: i64, currency: &str) -> EventBody {
    let charge = charge(&format!("ch_{order}")).order(order).amount(amount, currency);
    charge.email(email).event("charge.succeeded").id(&format!("evt_{order}"))
}

/// A mail server, and the files that paidup needs to use it.
struct MailServer {
    peer: Peer,
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl MailServer {
    async fn start(mode: &str, emails: &str) -> Self {
        let name = hex::encode(paidup::dev::random::<8>().expect("random"));
        let folder = std::env::temp_dir().join(format!("paidup_mail_{name}"));
        fs::create_dir(&folder).expect("a folder");
        let ca = folder.join("ca.pem").display().to_string();
        let peer = Peer::start("smtp.py", &[mode, &ca]);
        let port = peer.has(1).await.remove(0);
        let login = if mode == "none" {
            ""
        } else {
            "username = \"paidup\"\npassword_env = \"PASSWORD\"\n"
        };
        let smtp = format!(
            "shop = \"Teapots & Co\"\n[smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"{mode}\"\n{login}"
        );
        let file = folder.join("notify.toml");
        fs::write(&file, format!("{smtp}{emails}")).expect("written");
        let settings = vec![
            ("NOTIFY_CONFIG", file.display().to_string()),
            ("PASSWORD", "hunter2".to_owned()),
            ("SSL_CERT_FILE", ca),
        ];
        Self { peer, folder, settings }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn serve(&self, database: &Database) -> Service {
        Service::start(database, &self.settings())
    }

    fn run(&self, database: &Database, words: &str) -> (bool, String) {
        let mut command = paidup();
        command.args(words.split(' ')).env("DATABASE_URL", &database.url).envs(self.settings());
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        (status.success(), text)
    }

    /// The mails so far, once there are so many.
    async fn has(&self, count: usize) -> Vec<Value> {
        let lines = self.peer.has(count + 1).await;
        lines[1..].iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn remove(self) {
        fs::remove_dir_all(&self.folder).expect("removed");
    }
}

fn header<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = mail["headers"].as_array().expect("headers").iter();
    let named = headers.filter(|pair| pair[0].as_str().expect("a name").eq_ignore_ascii_case(name));
    named.map(|pair| pair[1].as_str().expect("a value")).collect()
}

const CUSTOMER: &str = "[[email]]\nname = \"customer\"\nto = [\"customer\", \"owner@shop.example\"]\n\
    from = \"Teapots & Co <orders@shop.example>\"\nreply_to = \"help@shop.example\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_has_mail_by_starttls_with_the_right_amount() {
    on_both(async |database| {
        let server = MailServer::start("starttls", CUSTOMER).await;
        let service = server.serve(database);
        for (order, amount, currency) in
            [("O1", 29_900, "usd"), ("O2", 500, "jpy"), ("Ö\u{2603}3", 1234, "kwd")]
        {
            let event = paid(order, "jenny@customer.example", amount, currency);
            assert_eq!(service.post(&event.body()).await.status, 200);
        }
        let mut mails = server.has(3).await;
        mails.sort_by_key(|mail| header(mail, "Subject")[0].to_owned());
        let shown: Vec<(&str, bool)> = mails
            .iter()
            .zip(["299.00 USD", "500 JPY", "1.234 KWD"])
            .map(|(mail, amount)| {
                let has = |part: &str| mail[part].as_str().expect("text").contains(amount);
                (header(mail, "Subject")[0], has("text") && has("html"))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Payment received for order O1", true),
                ("Payment received for order O2", true),
                ("Payment received for order Ö\u{2603}3", true),
            ]
        );
        let mail = &mails[0];
        assert_eq!(header(mail, "From"), ["Teapots & Co <orders@shop.example>"]);
        assert_eq!(header(mail, "Reply-To"), ["help@shop.example"]);
        assert_eq!(header(mail, "To"), ["jenny@customer.example"]);
        assert_eq!(header(mail, "Auto-Submitted"), ["auto-generated"]);
        assert!(header(mail, "Bcc").is_empty(), "who else reads it is not the customer's business");
        assert_eq!(mail["recipients"], json!(["jenny@customer.example", "owner@shop.example"]));
        assert_eq!(mail["tls"], true);
        assert!(mail["html"].as_str().expect("text").contains("Teapots &amp; Co"));

        // Sent again by an operator: the same mail, by its id.
        becomes(database, "customer", "sent 1 -").await;
        let (is_content, told) = server.run(database, "notify retry 1");
        assert!(is_content, "{told}");
        let mails = server.has(4).await;
        let ids: Vec<&str> = mails.iter().map(|mail| header(mail, "Message-ID")[0]).collect();
        assert_eq!(ids.iter().filter(|id| **id == ids[3]).count(), 2, "{ids:?}");
        assert!(ids[3].starts_with("<msg_") && ids[3].ends_with("@shop.example>"), "{ids:?}");
        let (status, log) = service.stopped().await;
        assert!(status.success(), "{status} {log}");
        assert!(!log.contains("jenny@") && !log.contains("hunter2"), "{log}");
        server.remove();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_would_add_a_header_gets_nothing_and_one_that_is_not_there_is_given_up() {
    on_both(async |database| {
        let server = MailServer::start("tls", CUSTOMER.replace(", \"owner@shop.example\"", "").as_str()).await;
        let service = server.serve(database);
        // The shop's own rows, with what somebody typed.
        let break_ = if database.is_postgres() { "E'a@b.example\\r\\nBcc: c@d.example'" } else { "'a@b.example' || char(13) || char(10) || 'Bcc: c@d.example'" };
        let rows = format!(
            "insert into orders (id, amount_due, currency, customer_email) values ('O1', 29900, 'usd', {break_});
             insert into orders (id, amount_due, currency, customer_email) values ('O2', 29900, 'usd', 'nobody@b.example');
             insert into orders (id, amount_due, currency, customer_email) values ('O3', 29900, 'usd', 'fine@b.example')"
        );
        database.execute(&rows).await;
        for order in ["O1", "O2", "O3"] {
            let event = pi(&format!("pi_{order}")).order(order).event("payment_intent.succeeded");
            assert_eq!(service.post(&event.body()).await.status, 200);
        }
        let mails = server.has(1).await;
        assert_eq!(mails[0]["recipients"], json!(["fine@b.example"]));
        let rows = "select order_id || ' ' || status || ' ' || coalesce(last_error, '-') from deliveries order by order_id";
        let expected = [
            "O1 skipped mail cannot reach the order's e-mail address",
            "O2 dead the mail server answered 550 5.1.1 to a recipient's address",
            "O3 sent -",
        ];
        crate::support::service::eventually("all are settled", async || database.column(rows).await == expected).await;
        let (status, log) = service.stopped().await;
        assert!(status.success() && !log.contains("nobody@"), "{log}");
        server.remove();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_can_be_tried_before_it_matters() {
    let database = Database::sqlite().await;
    let owner = CUSTOMER.replace("\"customer\", ", "").replace("customer", "owner");
    let mut server = MailServer::start("starttls", &owner).await;
    let (is_content, told) = server.run(&database, "notify test owner");
    assert!(is_content && told.contains("owner took the test message"), "{told}");
    let mails = server.has(1).await;
    assert_eq!(header(&mails[0], "Subject"), ["A test from paidup: TEST"]);
    assert_eq!(mails[0]["recipients"], json!(["owner@shop.example"]));
    let (is_content, told) = server.run(&database, "notify test nobody");
    assert!(!is_content && told.contains("it has: owner"), "{told}");

    server.set("PASSWORD", "wrong-hunter3");
    let (is_content, told) = server.run(&database, "notify test owner");
    assert!(!is_content && told.contains("the mail server answered 535"), "{told}");
    assert!(!told.contains("hunter3"), "{told}");
    // A machine that does not know the authority that made the server's certificate.
    server.set("PASSWORD", "hunter2");
    server.set("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
    let (is_content, told) = server.run(&database, "notify test owner");
    assert!(!is_content && told.contains("TLS with the mail server failed"), "{told}");
    assert_eq!(server.has(1).await.len(), 1);
    database.remove().await;
    server.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_and_a_chat_room_are_told() {
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let url = &receiver.url;
        let file = format!(
            "[[push]]\nname = \"phone\"\nurl = \"{url}/push\"\ntopic = \"orders\"\ntoken_env = \"S\"\npriority = 5\n\
             link = \"https://shop.example/orders/{{order}}\"\nallow_private = true\nwants = [\"order.dispute_opened\"]\n"
        );
        let settings = settings(&file);
        let open = dispute("dp_1").pi("pi_1").status("needs_response").event("charge.dispute.created");
        let paid = pi("pi_1").order("O/1").event("payment_intent.succeeded");
        deliver(database, &settings, &[paid, open]).await;
        let notifier = Notifier::start(database, &settings);
        let calls = receiver.has(1).await;
        assert_eq!(calls[0].path, "/push");
        assert_eq!(calls[0].header("authorization"), format!("Bearer {WEBHOOK_SECRET}"));
        assert_eq!(
            calls[0].json(),
            json!({
                "topic": "orders", "title": "Order O/1: a dispute of 299.00 USD, open", "priority": 5,
                "message": "A dispute about order O/1 (299.00 USD) is open. The reason given: fraudulent.",
                "tags": ["scales"], "click": "https://shop.example/orders/O%2F1",
            })
        );
        becomes(database, "phone", "sent 1 -").await;
        notifier.stopped().await;
    })
    .await;
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let url = format!("{}/services/T0/B0/X", receiver.url);
        let file = "[[chat]]\nname = \"sales\"\nurl_env = \"S\"\nallow_private = true\n\
                    link = \"https://shop.example/orders/{order}\"\n";
        let read =
            paidup::notify::file::parse(file, std::path::Path::new("."), &|_| Some(url.clone()));
        let settings = read.expect("settings");
        let paid = pi("pi_1").order("<!here> & co").event("payment_intent.succeeded");
        deliver(database, &settings, &[paid]).await;
        let notifier = Notifier::start(database, &settings);
        let calls = receiver.has(1).await;
        assert_eq!(calls[0].path, "/services/T0/B0/X");
        assert_eq!(
            calls[0].json(),
            json!({ "text": "*Order &lt;!here&gt; &amp; co is paid: 299.00 USD*\n\
                Order &lt;!here&gt; &amp; co is paid: 299.00 USD received.\n\
                <https://shop.example/orders/%3C%21here%3E%20%26%20co>" })
        );
        becomes(database, "sales", "sent 1 -").await;
        notifier.stopped().await;
    })
    .await;
}

/// A newer word has gone out already; the older one would now say something wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_not_told_old_news() {
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let url = &receiver.url;
        let file = format!(
            "{}[[push]]\nname = \"phone\"\nurl = \"{url}\"\ntopic = \"orders\"\nallow_private = true\n",
            webhook("system", url)
        );
        let settings = settings(&file);
        let failed = pi("pi_1").order("O1").failure("card_declined", "No.");
        let failed = failed.event("payment_intent.payment_failed").at(100);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").at(200);
        deliver(database, &settings, &[failed, paid]).await;
        database.execute("update deliveries set status = 'sent' where version = 2").await;
        let notifier = Notifier::start(database, &settings);
        becomes(database, "phone", "skipped 1 a later change of this order was told already").await;
        becomes(database, "system", "sent 1 -").await;
        assert_eq!(receiver.calls().len(), 1, "a system has the version to tell by");
        notifier.stopped().await;
    })
    .await;
}

/// What waits together is told in the order of the changes, for each order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_the_changes_of_an_order_as_they_were_made() {
    on_both(async |database| {
        let receiver = Receiver::content().await;
        let file = format!(
            "[[push]]\nname = \"phone\"\nurl = \"{}\"\ntopic = \"t\"\nallow_private = true\nconcurrency = 32\n",
            receiver.url
        );
        let settings = settings(&file);
        for number in 0..40 {
            let (id, order) = (format!("pi_{number}"), format!("O{number}."));
            let failed = pi(&id).order(&order).failure("card_declined", "No.");
            let failed = failed.event("payment_intent.payment_failed").at(100);
            let paid = pi(&id).order(&order).event("payment_intent.succeeded").at(200);
            deliver(database, &settings, &[failed, paid]).await;
        }
        let notifier = Notifier::start(database, &settings);
        let calls = receiver.has(80).await;
        for number in 0..40 {
            let of = format!("O{number}.");
            let titles = calls.iter().map(|call| call.json()["title"].to_string());
            let told: Vec<bool> =
                titles.filter(|title| title.contains(&of)).map(|title| title.contains("failed")).collect();
            assert_eq!(told, [true, false], "{of}");
        }
        notifier.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_by_https_is_believed_only_with_a_certificate_that_the_machine_trusts() {
    let database = Database::sqlite().await;
    let mut server = MailServer::start("none", "").await;
    let ca = server.folder.join("https.pem").display().to_string();
    let receiver = Peer::start("https.py", &[&ca]);
    let port = receiver.has(1).await.remove(0);
    let file = server.folder.join("https.toml");
    fs::write(&file, webhook("shipping", &format!("https://127.0.0.1:{port}/"))).expect("written");
    server.set("NOTIFY_CONFIG", &file.display().to_string());
    server.set("S", WEBHOOK_SECRET);
    let (is_content, told) = server.run(&database, "notify test shipping");
    assert!(
        !is_content && told.contains("shipping: TLS failed: invalid peer certificate"),
        "{told}"
    );
    server.set("SSL_CERT_FILE", &ca);
    let (is_content, told) = server.run(&database, "notify test shipping");
    assert!(is_content, "{told}");
    assert_eq!(receiver.has(2).await[1], "POST /");
    database.remove().await;
    server.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_package_verifies_what_we_sign() {
    let database = Database::sqlite().await;
    let receiver = Receiver::content().await;
    let text = webhook("shipping", &receiver.url);
    let both = format!("{OTHER_SECRET}, {WEBHOOK_SECRET}");
    let read =
        paidup::notify::file::parse(&text, std::path::Path::new("."), &|_| Some(both.clone()));
    let settings = read.expect("settings");
    let event = pi("pi_1").order("Ö\u{2603}1").event("payment_intent.succeeded");
    deliver(&database, &settings, &[event]).await;
    // By the real clock: the package refuses what is old.
    let ahead = paidup::unix_seconds() * 1000 - crate::support::notifier::NOW;
    let choice = crate::support::notifier::Choice { ahead, ..Default::default() };
    let notifier = Notifier::start_with(&database, &settings, choice);
    let call = receiver.has(1).await.remove(0);
    notifier.stopped().await;

    let body = std::str::from_utf8(&call.body).expect("text");
    let mut headers = json!({
        "webhook-id": call.header("webhook-id"),
        "webhook-timestamp": call.header("webhook-timestamp"),
        "webhook-signature": call.header("webhook-signature"),
    });
    let mut verifier = Peer::start("verify.py", &[]);
    let mut ask = |secret: &str, headers: &Value, body: &str| {
        verifier.write(&json!({ "secret": secret, "headers": headers, "body": body }));
    };
    ask(WEBHOOK_SECRET, &headers, body);
    ask(OTHER_SECRET, &headers, body);
    ask("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", &headers, body);
    ask(WEBHOOK_SECRET, &headers, &body.replace("29900", "29901"));
    headers["webhook-id"] = "msg_other".into();
    ask(WEBHOOK_SECRET, &headers, body);
    let said = verifier.has(5).await;
    assert_eq!(said, ["ok", "ok", "refused", "refused", "refused"]);
    database.remove().await;
}
