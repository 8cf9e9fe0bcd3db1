//! Canaries in every setting that is a secret: neither the configuration's own words for itself, nor
//! `paidup check`, nor an error of a setting, nor an answer to a stranger shows one. That logs, metrics and
//! the webhook's answers show none, nor a body or an address, is with the webhook's tests.

use paidup::config::Config;

use crate::support::databases::Database;
use crate::support::service::{Service, paidup};

const SETTINGS: [(&str, &str); 7] = [
    (
        "STRIPE_WEBHOOK_SECRET",
        "whsec_canary_one_0123456789abcdef,whsec_canary_two_0123456789abcdef",
    ),
    ("ADMIN_TOKEN", "canary_token_0123456789abcdef"),
    ("STRIPE_API_KEY", "rk_live_canary_0123456789"),
    ("DATABASE_URL", "postgres://somebody:canary_password@127.0.0.1:1/nothing"),
    ("LISTEN", "127.0.0.1:0"),
    ("OPERATOR_LISTEN", "127.0.0.1:0"),
    ("SHOP_SECRET", "whsec_Y2FuYXJ5X29mX2Ffc2hvcF9jYW5hcnlfb2ZfYV9zaG9w"),
];
/// A piece of each; the last one of the shop's secret, as it stands and as it is read.
const CANARIES: [&str; 2] = ["canary", "Y2FuYXJ5"];

fn shows_none(what: &str, text: &str) {
    for canary in CANARIES {
        let line = text.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{what} shows {canary}");
    }
}

fn notify_file(name: &str) -> String {
    let file = std::env::temp_dir().join(format!("paidup-{name}-{}.toml", std::process::id()));
    let text = "[[webhook]]\nname = \"shop\"\nwants = [\"order.paid\"]\n\
                url = \"https://shop.example/\"\nsecret_env = \"SHOP_SECRET\"\n";
    std::fs::write(&file, text).expect("a file");
    file.display().to_string()
}

#[test]
fn the_configuration_hides_its_secrets_when_it_is_printed() {
    let file = notify_file("printed");
    let lookup = |name: &str| {
        let found = SETTINGS.iter().find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| (*value).to_owned());
        value.or_else(|| (name == "NOTIFY_CONFIG").then(|| file.clone()))
    };
    let config = Config::read(&lookup).expect("it can be read");
    shows_none("Debug", &format!("{config:?} {config:#?}"));
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn check_shows_no_secret_be_the_settings_good_or_bad() {
    let file = notify_file("check");
    // Each setting once in such a way that it cannot be used.
    let bad = [
        ("", ""),
        ("DATABASE_URL", "mysql://somebody:canary_password@x/y"),
        ("DATABASE_URL", "postgres://somebody:canary_password@[x/y"),
        ("ADMIN_TOKEN", "canary"),
        ("STRIPE_API_KEY", "canary\u{1}key"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_canary_one_0123456789abcdef,,"),
        ("SHOP_SECRET", "whsec_canary!"),
    ];
    for (name, value) in bad {
        for command in ["check", "serve"] {
            // With good settings it would wait for the database.
            if command == "serve" && (name.is_empty() || name == "STRIPE_API_KEY") {
                continue;
            }
            let mut run = paidup();
            run.arg(command).envs(SETTINGS).env("NOTIFY_CONFIG", &file);
            if !name.is_empty() {
                run.env(name, value);
            }
            let ran = run.env("RUST_LOG", "trace").output().expect("it runs");
            let text = [&ran.stdout[..], &ran.stderr].map(String::from_utf8_lossy).concat();
            assert!(!ran.status.success(), "{command} {name}: {text}");
            shows_none(&format!("{command} with {name}={value}"), &text);
        }
    }
    std::fs::remove_file(file).expect("removed");
}

/// Who does not have the token learns nothing from the API, and who asks wrongly nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_strangers_show_no_secret() {
    let database = Database::sqlite().await;
    let file = notify_file("strangers");
    let mut settings = SETTINGS.to_vec();
    settings.retain(|(name, _)| *name != "DATABASE_URL");
    settings.extend([("NOTIFY_CONFIG", &file[..]), ("RUST_LOG", "trace")]);
    let service = Service::start(&database, &settings);
    let mut seen = String::new();
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api",
        "/api/openapi.json",
        "/api/v1/orders",
        "/api/v1/orders/O1",
        "/api/v1/events/evt_1",
        "/api/v1/nothing",
        "/api/v1/orders?limit=x",
    ] {
        seen.push_str(&service.ask(path).await.body);
    }
    seen.push_str(&service.post_with("t=1,v1=00", b"{}").await.body);
    let (_, log) = service.stopped().await;
    shows_none("a listener", &seen);
    shows_none("the log", &log);
    std::fs::remove_file(file).expect("removed");
    database.remove().await;
}
