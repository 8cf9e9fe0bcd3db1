//! What the documents let a user run: each SQL recipe runs as it stands there, on the databases that it
//! is for. What else the documents say is left to [`super::documents`]; the roles to [`super::roles`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use paidup::domain::order::Status;

use crate::support::databases::{Database, on_both};
use crate::support::fixtures::{charge, pi};
use crate::support::service::{Service, eventually, told};

const OWN_TABLE: &str = "docs/guides/own-orders-table.md";
const ORDERS: &str = "docs/reference/orders.md";

/// The text of a document.
pub fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The code block after this mark of a document.
fn recipe(name: &str, mark: &str) -> String {
    let text = document(name);
    let after = text.split(&format!("<!-- recipe: {mark} -->")).nth(1).expect("the mark");
    let block = after.split("```").nth(1).expect("a block");
    block.strip_prefix("sql\n").expect("SQL").to_owned()
}

async fn carry_over(database: &Database) {
    let name = if database.is_postgres() { "postgres" } else { "sqlite" };
    database.execute(&recipe(OWN_TABLE, name)).await;
}

async fn shop(database: &Database) {
    database.execute(&recipe(OWN_TABLE, "shop")).await;
    carry_over(database).await;
}

async fn buy(database: &Database, order: &str) {
    let buy = format!(
        "insert into shop_orders (number, total, currency) values ('{order}', 29900, 'USD')"
    );
    database.execute(&buy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_orders_table_follows_by_the_recipe() {
    on_both(async |database| {
        shop(database).await;
        let service = Service::start(database, &[]);
        buy(database, "O1").await;
        let status = async || {
            database.one("select payment_status from shop_orders where number = 'O1'").await
        };
        assert_eq!(status().await, "unpaid");

        let cheap = pi("pi_1").order("O1").amount(100, "usd").event("payment_intent.succeeded");
        service.post(&cheap.body()).await;
        assert_eq!(status().await, "unpaid", "a cheap payment must not settle a dear order");
        let paid = pi("pi_2").order("O1").event("payment_intent.succeeded").at(1_790_000_000);
        service.post(&paid.body()).await;
        assert_eq!(status().await, "paid");
        let at = "select cast(count(*) as text) from shop_orders where paid_at is not null";
        assert_eq!(database.one(at).await, "1");
        let back = charge("ch_2").pi("pi_2").refunded(100).event("charge.refunded");
        service.post(&back.body()).await;
        assert_eq!(status().await, "paid", "what is due is still there");
        let back =
            charge("ch_1").pi("pi_1").amount(100, "usd").refunded(100).event("charge.refunded");
        service.post(&back.body()).await;
        assert_eq!(status().await, "partly refunded");

        // The shop asks for less: what is left is enough.
        database.execute("update shop_orders set total = 29800 where number = 'O1'").await;
        eventually("weighed anew", async || status().await == "paid").await;

        // Paid before the shop has its row, and an order that the shop never heard of.
        for (id, order) in [("pi_3", "O2"), ("pi_4", "O3")] {
            let paid = pi(id).order(order).event("payment_intent.succeeded");
            assert_eq!(told(&service.post(&paid.body()).await), (200, "applied".to_owned()));
        }
        buy(database, "O2").await;
        let due = "select cast(amount_due as text) || currency from orders where id = 'O2'";
        assert_eq!(database.one(due).await, "29900usd");
        let late = "select payment_status from shop_orders where number = 'O2'";
        assert_eq!(database.one(late).await, "paid");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_status_has_a_word_of_the_shops() {
    on_both(async |database| {
        shop(database).await;
        buy(database, "O1").await;
        let mut words = BTreeSet::new();
        for status in Status::ALL {
            let name = status.name();
            database.execute(&format!("update orders set status = '{name}'")).await;
            words.insert(database.one("select payment_status from shop_orders").await);
        }
        assert_eq!(words.len(), Status::ALL.len(), "{words:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipe_uses_the_shops_index() {
    let database = Database::postgres().await;
    let fill = "insert into shop_orders (number, total, currency)
                select 'O' || number, 29900, 'usd' from generate_series(1, 5000) number;
                analyze shop_orders";
    // On one connection, whose counts come to be seen together.
    database
        .execute(&format!("{}; {fill}", recipe(OWN_TABLE, "shop").trim_end_matches([';', '\n'])))
        .await;
    let count = async |column: &str| {
        let count = format!(
            "select coalesce({column}, 0)::text from pg_stat_user_tables
             where relname = 'shop_orders'"
        );
        database.one(&count).await.parse::<i64>().expect("a number")
    };
    eventually("counted", async || count("n_tup_ins").await == 5000).await;
    carry_over(&database).await;
    let (whole, by_index) = (count("seq_scan").await, count("idx_scan").await);
    database.execute("insert into orders (id, status) values ('O7', 'paid')").await;
    eventually("looked up", async || {
        assert_eq!(count("seq_scan").await, whole, "the trigger reads the shop's whole table");
        count("idx_scan").await > by_index
    })
    .await;
    let paid = "select payment_status from shop_orders where number = 'O7'";
    assert_eq!(database.one(paid).await, "paid");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_raises_costs_only_its_own_event() {
    let database = Database::postgres().await;
    shop(&database).await;
    database.execute("alter table shop_orders add check (payment_status <> 'refunded')").await;
    let service = Service::start(&database, &[]);
    for order in ["O1", "O2"] {
        buy(&database, order).await;
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

/// The shop's statement, for this order and amount.
fn register(order: &str, amount: i64) -> String {
    let recipe = recipe(ORDERS, "register");
    assert!(recipe.contains("'ORDER12345', 29900"), "{recipe}");
    recipe.replace("'ORDER12345', 29900", &format!("'{order}', {amount}"))
}

#[test]
fn the_readme_registers_orders_in_the_same_way() {
    let statement = recipe(ORDERS, "register");
    assert!(document("README.md").contains(statement.trim_end()), "{statement}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_registered_before_between_and_after_its_events() {
    on_both(async |database| {
        let service = Service::start(database, &[]);
        let pay = async |id: &str, order: &str, amount: i64| {
            let paid = pi(id).order(order).amount(amount, "usd").event("payment_intent.succeeded");
            assert_eq!(service.post(&paid.body()).await.status, 200);
        };
        let state = async |order: &str| {
            let row = format!(
                "select status || ' ' || amount_due || ' ' || amount_received || ' '
                        || coalesce(problem, '-')
                 from orders where id = '{order}'"
            );
            database.one(&row).await
        };
        let ends = async |order: &str, expected: &str| {
            eventually(&format!("{order} is {expected}"), async || state(order).await == expected)
                .await;
        };

        database.execute(&register("BEFORE", 29_900)).await;
        pay("pi_1", "BEFORE", 100).await;
        assert_eq!(state("BEFORE").await, "pending 29900 100 underpaid");
        pay("pi_2", "BEFORE", 29_800).await;
        assert_eq!(state("BEFORE").await, "paid 29900 29900 -");

        pay("pi_3", "BETWEEN", 100).await;
        database.execute(&register("BETWEEN", 29_900)).await;
        ends("BETWEEN", "pending 29900 100 underpaid").await;
        pay("pi_4", "BETWEEN", 29_800).await;
        assert_eq!(state("BETWEEN").await, "paid 29900 29900 -");

        pay("pi_5", "AFTER", 100).await;
        pay("pi_6", "AFTER", 29_800).await;
        database.execute(&register("AFTER", 29_900)).await;
        assert_eq!(state("AFTER").await, "paid 29900 29900 -");
        // Again, with another amount; and with the first one.
        database.execute(&register("AFTER", 30_000)).await;
        ends("AFTER", "pending 30000 29900 underpaid").await;
        database.execute(&register("AFTER", 29_900)).await;
        ends("AFTER", "paid 29900 29900 -").await;
    })
    .await;
}
