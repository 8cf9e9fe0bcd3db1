//! What the documents tell a user to do, done: the README's own-orders-table recipe runs as it stands
//! there, and no setting, command or metric is missing from the documents, or from the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{charge, pi};
use crate::support::service::{Service, paidup, told};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The code block after this mark of the README's.
fn recipe(database: &str) -> String {
    let readme = document("README.md");
    let after = readme.split(&format!("<!-- recipe: {database} -->")).nth(1).expect("the mark");
    let block = after.split("```").nth(1).expect("a block");
    block.strip_prefix("sql\n").expect("SQL").to_owned()
}

async fn shop(database: &Database) {
    let time = if database.is_postgres() { "timestamptz" } else { "text" };
    let table = format!(
        "create table shop_orders (
             number text primary key, total bigint not null, currency text not null,
             payment_status text not null default 'pending', paid_at {time})"
    );
    database.execute(&table).await;
    let name = if database.is_postgres() { "postgres" } else { "sqlite" };
    database.execute(&recipe(name)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_orders_table_follows_by_the_recipe() {
    on_both(async |database| {
        shop(database).await;
        let service = Service::start(database, &[]);
        let buy = "insert into shop_orders (number, total, currency) values ('O1', 29900, 'usd')";
        database.execute(buy).await;
        let status = async || {
            database.one("select payment_status from shop_orders where number = 'O1'").await
        };

        let cheap = pi("pi_1").order("O1").amount(100, "usd").event("payment_intent.succeeded");
        service.post(&cheap.body()).await;
        assert_eq!(status().await, "pending", "a cheap payment must not settle a dear order");
        let paid = pi("pi_2").order("O1").event("payment_intent.succeeded").at(1_790_000_000);
        service.post(&paid.body()).await;
        assert_eq!(status().await, "paid");
        let at = "select cast(count(*) as text) from shop_orders where paid_at is not null";
        assert_eq!(database.one(at).await, "1");
        let back = charge("ch_2").pi("pi_2").refunded(100).event("charge.refunded");
        service.post(&back.body()).await;
        assert_eq!(status().await, "paid", "the cheap payment is there in full");
        let back =
            charge("ch_1").pi("pi_1").amount(100, "usd").refunded(100).event("charge.refunded");
        service.post(&back.body()).await;
        assert_eq!(status().await, "partially_refunded");

        // Paid before the shop has its row, and an order that the shop never heard of.
        for (id, order) in [("pi_3", "O2"), ("pi_4", "O3")] {
            let paid = pi(id).order(order).event("payment_intent.succeeded");
            assert_eq!(told(&service.post(&paid.body()).await), (200, "applied".to_owned()));
        }
        database
            .execute(
                "insert into shop_orders (number, total, currency) values ('O2', 29900, 'usd')",
            )
            .await;
        let due = "select cast(amount_due as text) from orders where id = 'O2'";
        assert_eq!(database.one(due).await, "29900");
        let late = "select payment_status from shop_orders where number = 'O2'";
        assert_eq!(database.one(late).await, "paid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_raises_costs_only_its_own_event() {
    let database = Database::postgres().await;
    shop(&database).await;
    database.execute("alter table shop_orders add check (payment_status <> 'refunded')").await;
    let service = Service::start(&database, &[]);
    for order in ["O1", "O2"] {
        let buy = format!(
            "insert into shop_orders (number, total, currency) values ('{order}', 29900, 'usd')"
        );
        database.execute(&buy).await;
        let paid = pi(&format!("pi_{order}")).order(order).event("payment_intent.succeeded");
        assert_eq!(service.post(&paid.body()).await.status, 200);
    }
    let refund = |order: &str| {
        let charge = charge(&format!("ch_{order}")).pi(&format!("pi_{order}"));
        charge.refunded(29_900).event("charge.refunded").body()
    };
    assert_eq!(told(&service.post(&refund("O1")).await), (503, "unavailable".to_owned()));
    let other = pi("pi_5").order("O5").event("payment_intent.succeeded").body();
    assert_eq!(told(&service.post(&other).await), (200, "applied".to_owned()));
    let log = service.log();
    assert!(log.contains("the database refuses this event") && log.contains("23514"), "{log}");
    database
        .execute("alter table shop_orders drop constraint shop_orders_payment_status_check")
        .await;
    assert_eq!(told(&service.post(&refund("O1")).await), (200, "applied".to_owned()));
    drop(service);
    database.remove().await;
}

/// The settings that the program reads, from its own text.
fn settings() -> BTreeSet<String> {
    let code = ["src/config.rs", "src/config/signing.rs"].map(document);
    let code = code.iter().filter_map(|code| code.split("#[cfg(test)]").next());
    let texts = code.flat_map(|code| code.split('"').skip(1).step_by(2));
    let is_name = |text: &&str| {
        text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    texts.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_setting_is_in_every_document() {
    let settings = settings();
    assert!(settings.len() >= 10, "{settings:?}");
    let help = String::from_utf8(paidup().arg("--help").output().expect("it runs").stdout);
    let help = help.expect("text");
    for name in &settings {
        assert!(document("README.md").contains(&format!("| `{name}` |")), "{name} in the README");
        assert!(document(".env.example").contains(&format!("#{name}=")), "{name} in .env.example");
        if name != "STRIPE_SIGNATURE_TOLERANCE_SECONDS" {
            assert!(help.contains(name), "{name} in --help");
        }
    }
    for line in document(".env.example").lines().filter(|line| line.contains('=')) {
        let name = line.trim_start_matches('#').split('=').next().unwrap_or_default();
        assert!(settings.contains(name) || name == "RUST_LOG", "{name} is no setting");
    }
}

#[test]
fn every_metric_that_is_told_of_is_there() {
    let sources = [
        "src/lib.rs",
        "src/ingest.rs",
        "src/http/webhook.rs",
        "src/http/server.rs",
        "src/notify/lane.rs",
        "src/recovery/rounds.rs",
    ];
    let code: String = sources.map(document).concat();
    let readme = document("README.md");
    let words = readme.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("paidup_")).collect();
    assert!(named.len() >= 8, "{named:?}");
    for name in &named {
        assert!(code.contains(&format!("\"{name}\"")), "{name} is no metric");
    }
    let described = document("src/lib.rs");
    let made = described.split('"').skip(1).step_by(2).filter(|text| text.starts_with("paidup_"));
    for name in made {
        assert!(named.contains(name), "{name} is not in the README");
    }
}

/// Links between the documents lead somewhere, and nothing here names a machine.
#[test]
fn links_lead_somewhere() {
    for name in [
        "README.md",
        "docs/concepts/architecture.md",
        "docs/guides/notifications.md",
        "CHANGELOG.md",
        "benches/load/README.md",
    ] {
        let text = document(name);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let folder = folder.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let link = link.split('#').next().unwrap_or_default();
            assert!(folder.join(link).exists(), "{name}: {link}");
        }
    }
}
