//! The console in a real browser: what people do there, live; that what came from outside never runs; and
//! that nobody is kept out by how it is shown.

use fantoccini::Locator;
use serde_json::{Value, json};

use crate::console::DEAD;
use crate::support::chromium::Chromium;
use crate::support::databases::Database;
use crate::support::fixtures::{charge, pi, refund};
use crate::support::service::{Service, eventually};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// What would run if it were not escaped: as an element, out of an attribute, out of a script.
const SCRIPTS: [&str; 3] = [
    "<script>document.title='run'</script>",
    "\"><img src=x onerror=\"document.title='run'\">",
    "</script><svg onload=document.title='run'>",
];

struct Desk {
    service: Service,
    browser: Chromium,
}

impl Desk {
    /// A service, and somebody who has logged in by keyboard alone.
    async fn open(database: &Database) -> Self {
        let service = Service::start(database, &[("ADMIN_TOKEN", TOKEN)]);
        let browser = Chromium::open(1280, 900).await;
        let desk = Self { service, browser };
        desk.goto("/events").await;
        let field = desk.browser.element("input[name=token]:focus").await;
        field.send_keys(&format!("{TOKEN}\u{e007}")).await.expect("typed");
        // Where they wanted to go.
        desk.browser.element("nav a[href='/console/events'][aria-current=page]").await;
        desk
    }

    async fn goto(&self, path: &str) {
        self.browser.goto(&format!("{}/console{path}", self.service.operators)).await;
    }

    async fn post(&self, body: &[u8]) {
        assert_eq!(self.service.post(body).await.status, 200);
    }

    async fn is_content(&self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    async fn close(self) {
        self.is_content().await;
        self.browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_found_and_seen_to_turn_paid() {
    let database = Database::postgres().await;
    let desk = Desk::open(&database).await;
    let failed =
        pi("pi_1").order("ORDER12345").amount(29900, "usd").failure("card_declined", "No.");
    desk.post(&failed.event("payment_intent.payment_failed").body()).await;
    let field = desk.browser.element("header input[name=q]").await;
    field.send_keys("pi_1\u{e007}").await.expect("typed");
    desk.browser.element(".pill.big.failed").await;
    assert_eq!(desk.browser.text("h1").await, "Order ORDER12345");
    let before = desk.browser.page.current_url().await.expect("an address");

    let paid = pi("pi_1").order("ORDER12345").amount(29900, "usd");
    desk.post(&paid.event("payment_intent.succeeded").body()).await;
    // Nobody touches the page.
    desk.browser.element(".pill.big.paid").await;
    assert_eq!(desk.browser.page.current_url().await.expect("an address"), before);
    let lead = desk.browser.text(".lead").await;
    assert_eq!(lead, "299.00 USD was received, and nothing given back.");
    // The figures of the overview move too.
    desk.goto("").await;
    desk.browser.element(".key .applied").await;
    let other = pi("pi_2").amount(1, "usd").event("payment_intent.succeeded");
    desk.post(&other.body()).await;
    desk.browser.element(".key .parked").await;
    desk.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_event_is_replayed_and_a_dead_notification_sent_again() {
    let database = Database::sqlite().await;
    // Recorded while only test events counted; the setting has changed since.
    let test = Service::start(&database, &[("STRIPE_MODE", "test")]);
    let event = pi("pi_1").order("O1").amount(500, "usd").event("payment_intent.succeeded");
    assert_eq!(test.post(&event.body()).await.status, 200);
    drop(test);
    let desk = Desk::open(&database).await;
    let parked = pi("pi_2").amount(500, "usd").event("payment_intent.succeeded");
    desk.post(&parked.body()).await;
    desk.goto("/events?outcome=parked").await;
    desk.browser.click("tbody a").await;
    let waits = desk.browser.text(".note").await;
    assert!(waits.contains("waits for its order") && waits.contains("pi_2"), "{waits}");
    desk.browser.click("button[value=no]").await;
    let told = desk.browser.text("[role=status]").await;
    assert!(told.contains("nothing was changed") && told.contains("stay as it is"), "{told}");

    desk.goto(&format!("/event?id={}", event.event_id())).await;
    desk.browser.click("button[value=no]").await;
    let told = desk.browser.text("[role=status]").await;
    assert!(told.contains("Order O1 would become paid"), "{told}");
    desk.browser.click("button[value=yes]").await;
    desk.browser
        .page
        .wait()
        .for_element(Locator::XPath("//p[contains(., 'Order O1 became paid')]"))
        .await
        .expect("replayed");

    database.execute(DEAD).await;
    desk.goto("/notifications?status=dead").await;
    assert!(desk.browser.text("tbody tr").await.contains("answered 500"));
    desk.browser.click("tbody button").await;
    assert_eq!(desk.browser.text("[role=status]").await, "It waits to be sent again.");
    assert_eq!(database.column("select status from deliveries").await, ["waiting"]);

    desk.browser.click("header form[method=post] button").await;
    desk.browser.element("input[name=token]").await;
    desk.goto("/orders").await;
    desk.browser.element("input[name=token]").await;
    desk.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_outside_never_runs() {
    let database = Database::sqlite().await;
    let desk = Desk::open(&database).await;
    for (number, script) in SCRIPTS.into_iter().enumerate() {
        let object = pi(&format!("pi_{number}{script}"))
            .order(&format!("O{number}{script}"))
            .amount(500, "usd")
            .email(&format!("{script}@example.com"))
            .set("description", script)
            .set("shipping", json!({ "name": script }))
            .failure(script, script);
        let event = object.event("payment_intent.payment_failed").id(&format!("evt_{number}"));
        desk.post(&event.body()).await;
    }
    database.execute(&DEAD.replace("'O1'", "(select min(id) from orders)")).await;
    database
        .execute(&format!(
            "update deliveries set destination = '{0}', last_error = '{0}'",
            SCRIPTS[1].replace('\'', "''")
        ))
        .await;
    for path in [
        "",
        "/orders",
        "/events",
        "/event?id=evt_0",
        "/event?id=evt_1",
        "/event?id=evt_2",
        "/notifications",
    ] {
        desk.goto(path).await;
        never_ran(&desk, path).await;
    }
    for (number, script) in SCRIPTS.into_iter().enumerate() {
        desk.goto("/orders").await;
        let field = desk.browser.element("#q").await;
        field.send_keys(&format!("O{number}{script}\u{e007}")).await.expect("typed");
        desk.browser.element(".lead").await;
        assert!(desk.browser.text(".facts").await.contains(script));
        never_ran(&desk, script).await;
    }
    desk.close().await;
    database.remove().await;
}

async fn never_ran(desk: &Desk, what: &str) {
    let title = desk.browser.page.title().await.expect("a title");
    assert!(title.ends_with("· paidup"), "{what}: {title}");
    let images = "return document.querySelectorAll('img, main script, main svg[onload]').length";
    let images = desk.browser.page.execute(images, Vec::new()).await.expect("counted");
    assert_eq!(images, 0, "{what}");
    desk.is_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_kept_out_by_how_it_is_shown() {
    let axe = std::env::var("PAIDUP_TEST_AXE").expect(
        "PAIDUP_TEST_AXE is not set; ./test.sh fetches axe-core and sets it, or name its axe.min.js",
    );
    let axe = std::fs::read_to_string(axe).expect("axe.min.js");
    let database = Database::sqlite().await;
    let desk = Desk::open(&database).await;
    fill(&desk).await;
    database.execute(&DEAD.replace("'O1'", "'ORDER12345'")).await;
    let order = "/order?id=ORDER12345";
    for path in [
        "",
        "/orders",
        order,
        "/events",
        "/event?id=evt_parked",
        "/notifications",
        "/nothing",
        "/login",
    ] {
        for (scheme, width) in [("light", 1280), ("dark", 390)] {
            desk.browser.prefers(scheme).await;
            desk.browser.size(width, 900).await;
            desk.goto(path).await;
            let found = findings(&desk, &axe).await;
            assert!(found.is_empty(), "{path}, {scheme}, {width}: {found:#?}");
            let widths = "const page = document.documentElement; return [innerWidth, page.scrollWidth - page.clientWidth]";
            let widths = desk.browser.page.execute(widths, Vec::new()).await.expect("measured");
            assert_eq!(widths, json!([width, 0]), "{path}");
        }
    }
    // What is not there makes the browser say so.
    let complaints = desk.browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("/nothing")), "{complaints:#?}");
    desk.close().await;
    database.remove().await;
}

/// What axe-core finds serious or critical.
async fn findings(desk: &Desk, axe: &str) -> Vec<String> {
    let page = &desk.browser.page;
    page.execute(axe, Vec::new()).await.expect("axe-core is there");
    let run = "const done = arguments[0]; axe.run().then(done, error => done(String(error)))";
    let found = page.execute_async(run, Vec::new()).await.expect("axe-core ran");
    assert!(found["passes"].as_array().is_some_and(|passes| passes.len() > 5), "{found}");
    let violations = found["violations"].as_array().expect("a list").iter();
    violations
        .filter(|one| one["impact"] == "serious" || one["impact"] == "critical")
        .map(Value::to_string)
        .collect()
}

/// A shop's day, more or less.
async fn fill(desk: &Desk) {
    let now = paidup::unix_seconds();
    let money = [29900, 4900, 12900, 990, 7900, 15900, 2500, 34900, 8800, 6400, 19900, 3300];
    for (number, amount) in (0i64..).zip(money) {
        let order = format!("ORDER{}", 12345 + number);
        let (pi_id, ch_id) = (format!("pi_{number}"), format!("ch_{number}"));
        let currency = if number % 4 == 3 { "eur" } else { "usd" };
        let email = format!("customer{number}@example.com");
        let payment = || pi(&pi_id).order(&order).amount(amount, currency).email(&email);
        if number % 3 == 0 {
            let failed = payment().failure("card_declined", "Your card was declined.");
            desk.post(&failed.event("payment_intent.payment_failed").at(now).body()).await;
        }
        if number % 6 != 5 {
            desk.post(&payment().event("payment_intent.succeeded").at(now).body()).await;
            let charged = charge(&ch_id).pi(&pi_id).amount(amount, currency);
            desk.post(&charged.event("charge.succeeded").at(now).body()).await;
        } else {
            let failed =
                payment().failure("insufficient_funds", "Your card has insufficient funds.");
            desk.post(&failed.event("payment_intent.payment_failed").at(now).body()).await;
        }
        if number % 5 == 0 {
            let back = if number == 0 { 9900 } else { amount };
            let given = refund(&format!("re_{number}")).charge(&ch_id).pi(&pi_id);
            let given = given.amount(back, currency).status("succeeded");
            desk.post(&given.event("refund.created").at(now).body()).await;
        }
    }
    let parked = pi("pi_parked").amount(5900, "usd").event("payment_intent.succeeded");
    desk.post(&parked.id("evt_parked").body()).await;
}

/// `docs/images/take.sh` runs it: what it makes is for people to look at, and proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the pictures of the README; docs/images/take.sh runs it"]
async fn pictures_are_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    let database = Database::postgres().await;
    let desk = Desk::open(&database).await;
    fill(&desk).await;
    // A day before, so that the charts have something to show.
    database
        .execute(
            "insert into event_minutes (minute, outcome, events, last_at)
             select floor(extract(epoch from now()))::bigint / 60 - ago, outcome,
                    greatest(0, (share * (40 + 25 * sin(ago / 190.0) + 14 * sin(ago / 7.0)
                                          + 9 * sin(ago * 2.3)))::bigint), 0
             from generate_series(1, 1440) as ago,
                  (values ('applied', 1.0), ('unchanged', 0.7), ('duplicate', 0.08)) as t (outcome, share)
             on conflict do nothing",
        )
        .await;
    database
        .execute(
            "insert into signing_secret_uses values ('9f2c', 1795000000000) on conflict do nothing",
        )
        .await;
    for scheme in ["light", "dark"] {
        desk.browser.prefers(scheme).await;
        for (name, path, height) in
            [("overview", "", 1320), ("order", "/order?id=ORDER12345", 1180)]
        {
            desk.browser.size(1280, height).await;
            desk.goto(path).await;
            if path.is_empty() {
                eventually("the totals", async || {
                    desk.goto(path).await;
                    desk.browser.text("main").await.contains("As of")
                })
                .await;
            }
            let picture = desk.browser.page.screenshot().await.expect("a picture");
            std::fs::write(folder.join(format!("{name}-{scheme}.png")), picture).expect("kept");
        }
    }
    desk.close().await;
    database.remove().await;
}
