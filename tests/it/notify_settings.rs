//! The file `notify.toml`: what it may say, and what it is told when it says something else. No mistake
//! is answered with a secret.

use std::fs;
use std::path::Path;

use paidup::domain::order::{KINDS, OrderSnapshot, Problem, Status, kinds};
use paidup::domain::payment::dispute::{Dispute, DisputeStatus};
use paidup::notify::file::parse;
use paidup::notify::settings::{Channel, Settings, Tls};

use crate::support::notifier::WEBHOOK_SECRET;

fn lookup(name: &str) -> Option<String> {
    match name {
        "HOOK" => Some(WEBHOOK_SECRET.to_owned()),
        "TWO" => Some(format!("{WEBHOOK_SECRET},{WEBHOOK_SECRET}")),
        "BAD" => Some("hunter2".to_owned()),
        "URL" => Some("https://hooks.example/hunter2".to_owned()),
        "WORD" => Some("hunter2".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Settings, Vec<String>> {
    parse(text, Path::new("."), &lookup)
}

const HOOK: &str =
    "[[webhook]]\nname = \"a\"\nurl = \"https://a.example/\"\nsecret_env = \"HOOK\"\n";

#[test]
fn the_example_is_one_that_can_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("notify.example.toml");
    let text = fs::read_to_string(path).expect("the example");
    let known = |name: &str| match name {
        "SHIPPING_WEBHOOK_SECRET" => Some(WEBHOOK_SECRET.to_owned()),
        "SLACK_WEBHOOK_URL" => Some("https://hooks.slack.example/x".to_owned()),
        "SMTP_PASSWORD" | "NTFY_TOPIC" => Some("x".to_owned()),
        _ => None,
    };
    let settings = parse(&text, Path::new("."), &known).expect("settings");
    let names: Vec<&str> = settings.destinations.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["shipping", "customer", "owner", "phone", "sales"]);
    for kind in KINDS {
        assert!(text.contains(kind), "{kind} is not in the example");
    }
    assert_eq!(settings.rules()[0].wants, ["order.paid", "order.refunded"]);
}

#[test]
fn a_destination_wants_every_kind_unless_it_says_which() {
    let settings = read(HOOK).expect("settings");
    assert_eq!(settings.destinations[0].wants, KINDS);
    assert_eq!(settings.destinations[0].concurrency, 32);
    let two = HOOK.replace("HOOK", "TWO");
    let settings = read(&two).expect("settings");
    let Channel::Webhook(webhook) = &settings.destinations[0].channel else { panic!("a webhook") };
    assert_eq!(webhook.secrets.len(), 2);
    let smtp = "[smtp]\nhost = \"mail.example\"\n[[email]]\nname = \"m\"\nto = [\"customer\"]\nfrom = \"a@b.example\"\n";
    let settings = read(smtp).expect("settings");
    let Channel::Email(email) = &settings.destinations[0].channel else { panic!("mail") };
    assert_eq!((email.smtp.port, email.smtp.tls, email.to_customer), (587, Tls::Starttls, true));
}

#[test]
fn every_mistake_is_told_and_no_secret_is() {
    let smtp = "[smtp]\nhost = \"m.example\"\n";
    let rows: Vec<(String, &str)> = vec![
        (HOOK.replace("name", "nom"), "unknown field `nom`"),
        (format!("{HOOK}secret = \"hunter2\"\n"), "name a variable (…_env)"),
        (
            format!("{HOOK}wants = [\"order.payed\"]\n"),
            "there are order.processing, order.authorized, order.paid",
        ),
        (format!("{HOOK}wants = []\n"), "wants is empty"),
        (
            format!("{HOOK}wants = \"hunter2\"\n"),
            "line 5: this is no TOML, or a value of the wrong",
        ),
        (format!("{HOOK}concurrency = 0\n"), "concurrency is a number from 1 to 256"),
        (format!("{HOOK}{HOOK}"), "\"a\" is the name of two destinations"),
        (HOOK.replace("\"a\"", "\"a b\""), "is no name for a destination"),
        (HOOK.replace("https", "http"), "not https"),
        (HOOK.replace("a.example", "127.0.0.1"), "private or of this machine"),
        (HOOK.replace("a.example", "u:hunter2@a.example"), "without user and password"),
        (HOOK.replace("https://a.example/", "hunter2"), "its URL is none"),
        (HOOK.replace("HOOK", "BAD"), "not whsec_ with base64 of 24 to 64 bytes"),
        (HOOK.replace("HOOK", "ABSENT"), "the variable ABSENT, which is to hold the secret"),
        (HOOK.replace("secret_env = \"HOOK\"\n", ""), "give secret_env or secret_file"),
        (HOOK.replace("secret_env = \"HOOK\"", "secret_file = \"/nowhere\""), "the file /nowhere"),
        (format!("{HOOK}url_env = \"URL\"\n"), "and only one"),
        ("[[email]]\nname = \"m\"\nto = []\nfrom = \"a@b.example\"\n".to_owned(), "no [smtp]"),
        (
            format!("{smtp}[[email]]\nname = \"m\"\nto = []\nfrom = \"a@b.example\"\n"),
            "to is empty",
        ),
        (
            format!("{smtp}[[email]]\nname = \"m\"\nto = [\"x\"]\nfrom = \"a@b.example\"\n"),
            "to holds what is no e-mail",
        ),
        (
            format!("{smtp}[[email]]\nname = \"m\"\nto = [\"customer\"]\nfrom = \"hunter2\"\n"),
            "from holds",
        ),
        (
            format!("{smtp}tls = \"none\"\nusername = \"u\"\npassword_env = \"WORD\"\n"),
            "in the clear",
        ),
        (format!("{smtp}password_env = \"WORD\"\n"), "a password and no username"),
        (
            "[[chat]]\nname = \"c\"\nurl = \"https://hunter2.example\"\n".to_owned(),
            "unknown field `url`",
        ),
        (
            "[[chat]]\nname = \"c\"\nurl_env = \"URL\"\nlink = \"x\"\n".to_owned(),
            "link is no address",
        ),
        ("[[push]]\nname = \"p\"\ntopic = \"t\"\npriority = 9\n".to_owned(), "from 1 to 5"),
        ("[[push]]\nname = \"p\"\n".to_owned(), "give topic_env or topic_file"),
        ("[[sms]]\nname = \"p\"\n".to_owned(), "unknown field `sms`"),
        ("hunter2".to_owned(), "line 1"),
    ];
    for (text, expected) in rows {
        let errors = read(&text).map(|_| ()).expect_err(&text).join("; ");
        assert!(errors.contains(expected), "{text}\n{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn what_is_secret_is_not_shown() {
    let text = format!(
        "{HOOK}[[chat]]\nname = \"c\"\nurl_env = \"URL\"\n[[push]]\nname = \"p\"\ntopic_env = \"WORD\"\ntoken_env = \"WORD\"\n\
         [smtp]\nhost = \"m.example\"\nusername = \"u\"\npassword_env = \"WORD\"\n\
         [[email]]\nname = \"m\"\nto = [\"customer\"]\nfrom = \"a@b.example\"\n"
    );
    let shown = format!("{:?}", read(&text).expect("settings"));
    assert!(!shown.contains("hunter2") && !shown.contains("MfKQ"), "{shown}");
}

/// The kinds that a file may name are those that changes have.
#[test]
fn every_kind_of_change_can_be_wanted() {
    let mut seen = std::collections::BTreeSet::new();
    let disputes = |status: DisputeStatus| {
        let dispute =
            Dispute { at: 1, status, amount: None, currency: None, reason: None, due_by: None };
        [("dp_1".to_owned(), dispute)].into()
    };
    for status in Status::ALL {
        for dispute in DisputeStatus::ALL {
            for problem in Problem::ALL {
                let problem = Some(problem);
                let disputes = disputes(dispute);
                let to = OrderSnapshot { status, problem, disputes, ..OrderSnapshot::default() };
                seen.extend(kinds(None, &to, None));
            }
        }
    }
    for (received, refunded) in [(2, 1), (2, 2)] {
        let to = OrderSnapshot {
            status: Status::Paid,
            amount_received: received,
            amount_refunded: refunded,
            renewals: 1,
            refunds_failed: 1,
            ..OrderSnapshot::default()
        };
        seen.extend(kinds(None, &to, Some(1)));
    }
    assert_eq!(seen, KINDS.into_iter().collect());
}
