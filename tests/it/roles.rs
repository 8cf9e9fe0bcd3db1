//! SECURITY.md's roles, as they stand there: the owner migrates, and all of paidup runs as a role that
//! may neither make, change nor drop a table.

use std::process::Output;
use std::time::Duration;

use paidup::store::Store;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::databases::Database;
use crate::support::fixtures::{SECRET, charge, pi};
use crate::support::service::{Service, eventually, paidup, told};

const TOKEN: &str = "a-token-of-the-roles-story";

/// The block after this mark, for roles of this test's own: roles are the whole server's.
fn recipe(name: &str, suffix: &str) -> String {
    let text = include_str!("../../SECURITY.md");
    let after = text.split(&format!("<!-- recipe: {name} -->")).nth(1).expect("the mark");
    let block = after.split("```").nth(1).expect("a block").strip_prefix("sql\n").expect("SQL");
    block
        .replace("_owner", &format!("_owner{suffix}"))
        .replace("_serve", &format!("_serve{suffix}"))
}

/// The same database, as that role.
fn url_as(database: &Database, role: &str, password: &str) -> String {
    let (scheme, rest) = database.url.split_once("://").expect("a URL");
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{role}:{password}@{rest}")
}

fn run(url: &str, words: &str) -> Output {
    let mut command = paidup();
    command.args(words.split(' ')).env("DATABASE_URL", url).env("STRIPE_WEBHOOK_SECRET", SECRET);
    command.env("LISTEN", "127.0.0.1:0").env("OPERATOR_LISTEN", "127.0.0.1:0");
    command.output().expect("it runs")
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_runs_as_a_role_that_may_not_make_tables() {
    let database = Database::postgres_empty().await;
    let suffix = database.url.rsplit("paidup_test").next().expect("its name").replace('?', "_");
    database.execute(&recipe("roles", &suffix)).await;
    let owner = url_as(&database, &format!("paidup_owner{suffix}"), "the-first-password");
    let serve = url_as(&database, &format!("paidup_serve{suffix}"), "the-second-password");

    // Until the owner has migrated, there is nothing that it could serve.
    let early = run(&serve, "migrate");
    assert!(!early.status.success() && text(&early).contains("42501"), "{}", text(&early));
    let migrated = run(&owner, "migrate");
    assert!(migrated.status.success(), "{}", text(&migrated));
    let mut connection = PgConnection::connect(&owner).await.expect("the owner");
    connection.execute(AssertSqlSafe(recipe("history", &suffix))).await.expect("revoked");
    connection.close().await.expect("closed");

    // What it must not do is refused.
    for forbidden in [
        "create table t (a int)",
        "drop table orders",
        "alter table orders add column a int",
        "truncate events",
        "update order_changes set version = 7",
        "delete from order_changes",
        "delete from _sqlx_migrations",
    ] {
        let mut connection = PgConnection::connect(&serve).await.expect("the role");
        let refused = connection.execute(forbidden).await.expect_err(forbidden);
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {refused}");
    }

    let ran_as = code_of_a_temporary_table_runs_as(&serve).await;
    assert_eq!(ran_as, None, "its code ran as the owner");
    serves(&database, &serve).await;
    commands(&serve);
    let roles = format!(
        "drop owned by paidup_serve{suffix};
         drop owned by paidup_owner{suffix};
         drop role paidup_owner{suffix}, paidup_serve{suffix}"
    );
    database.execute(&roles).await;
    database.remove().await;
}

/// A table of the role's own, named as one of paidup's, with a trigger on it: as whom its code runs when
/// the role deletes an order, whose history the owner's function deletes.
async fn code_of_a_temporary_table_runs_as(url: &str) -> Option<String> {
    let mut connection = PgConnection::connect(url).await.expect("the role");
    connection
        .execute(
            "create temporary table order_changes (order_id text, version bigint);
             insert into order_changes values ('TRAP', 1);
             grant all on order_changes to public;
             create function pg_temp.trap() returns trigger language plpgsql as $$
             begin
                 perform set_config('paidup.ran_as', current_user, false);
                 return old;
             end $$;
             create trigger trap before delete on order_changes
                 for each row execute function pg_temp.trap();
             insert into orders (id) values ('TRAP');
             delete from orders where id = 'TRAP'",
        )
        .await
        .expect("allowed to do all this");
    let ran_as = sqlx::query_scalar("select nullif(current_setting('paidup.ran_as', true), '')");
    let ran_as = ran_as.fetch_one(&mut connection).await.expect("an answer");
    connection.close().await.expect("closed");
    ran_as
}

/// Webhook, API, notifications, and what comes of the shop's own row.
async fn serves(database: &Database, url: &str) {
    let folder = std::env::temp_dir().join(format!("paidup-roles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("notify.toml");
    // Nobody is there, so the attempt fails, and is settled as such.
    let settings = "[[webhook]]\nname = \"shop\"\nwants = [\"order.paid\", \"order.refunded\"]\n\
                    url = \"http://127.0.0.1:9/\"\nsecret_env = \"SHOP\"\nallow_private = true\n";
    std::fs::write(&file, settings).expect("a file");
    let mut command = paidup();
    command
        .arg("serve")
        .env("DATABASE_URL", url)
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("LISTEN", "127.0.0.1:0")
        .env("OPERATOR_LISTEN", "127.0.0.1:0")
        .env("UNKNOWN_ORDERS", "hold")
        .env("ADMIN_TOKEN", TOKEN)
        .env("NOTIFY_CONFIG", &file)
        .env("SHOP", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let service = Service::of(command);
    let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").id("evt_1").body();
    assert_eq!(told(&service.post(&paid).await), (200, "parked".to_owned()));
    let due = r#"{"amount_due": 29900, "currency": "usd"}"#;
    let put = format!(
        "PUT /api/v1/orders/O1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{due}",
        due.len()
    );
    let reply = raw(&service.operators, &put).await;
    assert!(reply.starts_with("HTTP/1.1 201") && reply.contains("\"paid\""), "{reply}");
    let refund = charge("ch_1").pi("pi_1").refunded(29_900).event("charge.refunded").body();
    assert_eq!(told(&service.post(&refund).await), (200, "applied".to_owned()));
    eventually("an attempt is settled", async || {
        let settled = "select cast(count(*) as text) from deliveries where attempts > 0";
        database.one(settled).await == "2"
    })
    .await;
    let (status, log) = service.stopped().await;
    assert!(status.success() && !log.contains("code 42501"), "{log}");
    std::fs::remove_dir_all(folder).expect("removed");
}

async fn raw(url: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut reply));
    let _ = read.await.expect("it comes");
    reply
}

fn commands(url: &str) {
    assert!(Store::parse(url).is_ok(), "{url}");
    for (words, shows) in [
        ("migrate", ""),
        ("check", "migration"),
        ("order O1", "refunded"),
        ("explain O1", "evt_1"),
        ("notify list", "shop"),
        ("notify retry --dead", ""),
        ("replay", ""),
        ("prune", ""),
        ("orders export --csv", "O1"),
    ] {
        let ran = run(url, words);
        let text = text(&ran);
        assert!(ran.status.success() && text.contains(shows), "{words}: {text}");
        assert!(!text.contains("code 42501"), "{words}: {text}");
    }
}
