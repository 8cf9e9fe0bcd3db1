//! `paidup notify` and `paidup check`, as an operator meets them.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use paidup::store::outbox::{End, Settlement};

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{SECRET, pi};
use crate::support::notifier::{NOW, WEBHOOK_SECRET, deliver, settings, webhook};
use crate::support::receiver::{Receiver, Reply};
use crate::support::service::{Service, paidup};

struct Desk {
    file: PathBuf,
}

impl Desk {
    fn new(text: &str) -> Self {
        let name = hex::encode(paidup::dev::random::<8>().expect("random"));
        let file = std::env::temp_dir().join(format!("paidup_desk_{name}.toml"));
        fs::write(&file, text).expect("written");
        Self { file }
    }

    fn run(&self, database: &Database, words: &str) -> (bool, String) {
        let mut command = paidup();
        command
            .args(words.split(' '))
            .env("DATABASE_URL", &database.url)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("LISTEN", "127.0.0.1:0")
            .env("OPERATOR_LISTEN", "127.0.0.1:0")
            .env("NOTIFY_CONFIG", &self.file)
            .env("S", WEBHOOK_SECRET);
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        (status.success(), text)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// `shown` has all of these words in one line.
fn line(shown: &str, words: &[&str]) -> bool {
    shown.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lists_shows_and_retries() {
    on_both(async |database| {
        let old = settings(&webhook("removed", "http://127.0.0.1:9"));
        let text = webhook("shipping", "http://127.0.0.1:9");
        let now = settings(&text);
        let paid =
            |order: &str| pi(&format!("pi_{order}")).order(order).event("payment_intent.succeeded");
        deliver(database, &old, &[paid("O1")]).await;
        deliver(database, &now, &[paid("O2"), paid("O3")]).await;
        let mut session = database.session().await;
        let claims = session.claim_deliveries("shipping", 1, NOW, NOW + 1).await.expect("claimed");
        let dead = Settlement { claim: claims[0], end: End::Dead("answered 400".to_owned()) };
        session.settle_deliveries(&[dead], NOW).await.expect("settled");
        session.disable_destination("shipping", "answered 410", NOW).await.expect("disabled");

        let desk = Desk::new(&text);
        let (is_content, shown) = desk.run(database, "notify list");
        assert!(is_content, "{shown}");
        assert!(line(&shown, &["removed", "1 waiting", "not in NOTIFY_CONFIG"]), "{shown}");
        assert!(
            line(&shown, &["shipping", "1 waiting", "1 dead", "disabled", "answered 410"]),
            "{shown}"
        );
        assert!(
            line(&shown, &["O2", "version 1", "order.paid", "dead at", "answered 400"]),
            "{shown}"
        );
        let (_, shown) = desk.run(database, "notify list --status dead --destination shipping");
        assert!(shown.contains("O2") && !shown.contains("O3") && !shown.contains("O1"), "{shown}");

        let id = claims[0].id;
        let (is_content, shown) = desk.run(database, &format!("notify show {id}"));
        assert!(is_content && line(&shown, &["last error", "answered 400"]), "{shown}");
        assert!(
            line(&shown, &["tells of", "order.paid"]) && line(&shown, &["attempts", "1"]),
            "{shown}"
        );
        for words in ["notify show 999", "notify retry 999"] {
            let (is_content, shown) = desk.run(database, words);
            assert!(!is_content && shown.contains("there is no notification 999"), "{shown}");
        }
        let (is_content, shown) = desk.run(database, "notify retry --dead");
        assert!(is_content && shown.contains("1 notifications are due again"), "{shown}");
        let (is_content, shown) = desk.run(database, "notify enable shipping");
        assert!(is_content, "{shown}");
        let (is_content, shown) = desk.run(database, "notify enable shipping");
        assert!(!is_content && shown.contains("is not disabled"), "{shown}");
        let (is_content, _) = desk.run(database, "notify retry");
        assert!(!is_content, "it is not guessed what to send again");
        let (_, shown) = desk.run(database, &format!("notify show {id}"));
        assert!(line(&shown, &["state", "waiting"]), "{shown}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_tells_whether_it_arrives_and_of_no_order() {
    let database = Database::sqlite().await;
    let receiver =
        Receiver::start(|_, number| Reply::Status(if number == 0 { 204 } else { 404 })).await;
    let desk = Desk::new(&webhook("shipping", &receiver.url));
    let (is_content, shown) = desk.run(&database, "notify test shipping");
    assert!(is_content && shown.contains("shipping took the test message"), "{shown}");
    let call = receiver.calls().remove(0);
    assert_eq!((call.json()["type"].as_str(), call.change().as_str()), (Some("test"), "TEST 0"));
    let (is_content, shown) = desk.run(&database, "notify test shipping");
    assert!(!is_content && shown.contains("shipping: answered 404"), "{shown}");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reads_the_file_and_its_templates() {
    let database = Database::sqlite().await;
    let text = webhook("shipping", "http://127.0.0.1:9");
    let (is_content, shown) = Desk::new(&text).run(&database, "check");
    assert!(is_content && shown.contains("notifies shipping"), "{shown}");
    let wrong = format!("{text}wants = [\"order.payed\"]\n");
    let (is_content, shown) = Desk::new(&wrong).run(&database, "check");
    assert!(
        !is_content && shown.contains("NOTIFY_CONFIG: shipping: \"order.payed\" is no kind"),
        "{shown}"
    );

    let name = hex::encode(paidup::dev::random::<8>().expect("random"));
    let folder = std::env::temp_dir().join(format!("paidup_templates_{name}"));
    fs::create_dir_all(folder.join("customer")).expect("a folder");
    let template = folder.join("customer/order.paid.txt");
    let with = format!("templates = {folder:?}\n{text}");
    for (file, is_good, told) in [
        ("Paid: {{ order }}\n\nThanks for {{ received }}.\n", true, "notifies shipping"),
        ("Paid\n\n{{ recieved }}\n", false, "customer/order.paid.txt line 3"),
        ("Paid\n\n{% if %}\n", false, "customer/order.paid.txt line 3"),
    ] {
        fs::write(&template, file).expect("written");
        let (is_content, shown) = Desk::new(&with).run(&database, "check");
        assert!(is_content == is_good && shown.contains(told), "{file}: {shown}");
    }
    fs::remove_file(&template).expect("removed");
    fs::write(folder.join("customer/order.payed.txt"), "x").expect("written");
    let (is_content, shown) = Desk::new(&with).run(&database, "check");
    assert!(!is_content && shown.contains("is the name of no template"), "{shown}");
    fs::remove_dir_all(folder).expect("removed");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_each_destination() {
    on_both(async |database| {
        let receiver = Receiver::start(|call, _| {
            Reply::Status(if call.change().starts_with("BAD") { 500 } else { 204 })
        })
        .await;
        let desk = Desk::new(&webhook("shipping", &receiver.url));
        let file = desk.file.display().to_string();
        let service = Service::start(database, &[("NOTIFY_CONFIG", &file), ("S", WEBHOOK_SECRET)]);
        for order in ["O1", "O2", "BAD"] {
            let event = pi(&format!("pi_{order}")).order(order).event("payment_intent.succeeded");
            assert_eq!(service.post(&event.body()).await.status, 200);
        }
        let metric = async |result: &str| {
            let name = format!(
                "paidup_notifications_total{{destination=\"shipping\",result=\"{result}\"}}"
            );
            service.metric(&name).await
        };
        crate::support::service::eventually("all are told", async || {
            metric("sent").await == 2.0 && metric("failed").await == 1.0
        })
        .await;
        assert_eq!(metric("dead").await, 0.0);
        let text = service.ask("/metrics").await.body;
        assert!(text.contains("paidup_destination_rests{destination=\"shipping\"} 0"), "{text}");
        assert!(
            text.contains("paidup_notification_oldest_seconds{destination=\"shipping\"}"),
            "{text}"
        );
        service.kill();
    })
    .await;
}
