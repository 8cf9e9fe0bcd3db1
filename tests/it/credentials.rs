//! Settings that hold a secret: what is accepted, what is refused and how the refusal reads, and where
//! the binary leaves the secrets that it makes. The real binary in a folder of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use paidup::domain::signature::SigningSecret;
use reqwest::Method;

use crate::support::api::Api;
use crate::support::fixtures::{SECRET, pi};
use crate::support::folder::{Folder, command, run};
use crate::support::service::Service;

/// 32 characters, as the Dashboard shows them.
const DASHBOARD: &str = "whsec_q7Gd2LkXw9RzTn4VbYc8HsMfJp3AeU6K";
/// 64 hexadecimal digits, as `stripe listen` prints them.
const CLI: &str = "whsec_9f3c1be07d5a4e6288b1c0d4f7a93e5260ab7c8d19e4f35b6a70c2d8e1f49b37";
const NAME: &str = "STRIPE_WEBHOOK_SECRET";
const FILE_NAME: &str = "STRIPE_WEBHOOK_SECRET_FILE";
/// An address of no machine: a `serve` whose settings are good ends here instead of serving.
const NOWHERE: (&str, &str) = ("LISTEN", "192.0.2.1:80");
const ANY_PORTS: [(&str, &str); 2] =
    [("LISTEN", "127.0.0.1:0"), ("OPERATOR_LISTEN", "127.0.0.1:0")];

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    metadata.permissions().mode() & 0o777
}

/// What `serve` says of this value. It must refuse it by name, and show nothing of it.
fn refusal(name: &str, value: &str) -> String {
    let folder = Folder::new();
    let refused = run(&folder, "serve", &[(name, value), NOWHERE]);
    assert!(!refused.is_content && !refused.err.contains("192.0.2.1"), "{value}: {}", refused.err);
    refused.err
}

#[test]
fn a_value_that_is_not_a_list_of_signing_secrets_stops_the_start_and_is_not_shown() {
    let table = [
        (format!("{DASHBOARD} # the live endpoint"), "comment"),
        (format!("{DASHBOARD}#live"), "comment"),
        (format!("{DASHBOARD} {CLI}"), "white space"),
        (format!("{DASHBOARD},"), "the 2nd of 2 values is empty"),
        (format!("{DASHBOARD},,{CLI}"), "the 2nd of 3 values is empty"),
        (format!("{DASHBOARD},{CLI},hunter2"), "the 3rd of 3 values does not begin with whsec_"),
        (format!("{DASHBOARD},{CLI},{CLI},rk_test_hunter2"), "the 4th of 4 values is an API key"),
        ("hunter2hunter2hunter2hunter2hunter2".to_owned(), "does not begin with whsec_"),
        ("whsec_hunter2Ab3dE".to_owned(), "too short"),
        (format!("{DASHBOARD};{CLI}"), "a character"),
        (format!("\"{DASHBOARD}"), "a quotation mark"),
        (format!("{DASHBOARD}é"), "a character"),
        ("pk_live_hunter2".to_owned(), "API key"),
    ];
    for (value, words) in table {
        let told = refusal(NAME, &value);
        assert!(told.contains(&format!("{NAME}: ")) && told.contains(words), "{value}: {told}");
        for secret in ["hunter2", "live endpoint", &DASHBOARD[6..12], &CLI[6..12]] {
            assert!(!told.contains(secret), "{value}: {told}");
        }
    }
}

#[test]
fn a_placeholder_stops_the_start() {
    for value in [
        "whsec_...",
        "whsec_…",
        "whsec_",
        "whsec_development_only",
        "whsec_test_secret",
        "whsec_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "whsec_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "whsec_00000000000000000000000000000000",
        "whsec_abcabcabcabcabcabcabcabcabcabcab",
        "whsec_your_signing_secret_from_the_dashboard",
        "whsec_your-webhook-secret-goes-here-0123456789",
        "whsec_replace_me_with_the_real_secret",
        "whsec_changeme0123456789changeme0123",
        "whsec_<the endpoint's secret>",
        "whsec_************************",
    ] {
        let told = refusal(NAME, value);
        assert!(told.contains("placeholder"), "{value}: {told}");
    }
}

#[test]
fn the_files_that_people_copy_hold_no_secret_that_works() {
    let compose = document("compose.yaml");
    for line in compose.lines() {
        let secret = line.split("whsec_").nth(1).and_then(|rest| rest.chars().next());
        assert!(secret.is_none_or(|char| !char.is_ascii()), "a public default: {line}");
    }
    let ports: Vec<&str> =
        compose.lines().map(str::trim).filter(|line| line.ends_with(":8000\"")).collect();
    assert_eq!(ports, ["- \"127.0.0.1:8000:8000\""]);
    let example = document(".env.example");
    let values = example.lines().filter_map(|line| line.strip_prefix("#STRIPE_WEBHOOK_SECRET="));
    let values: Vec<&str> = values.collect();
    assert!(!values.is_empty());
    for value in values {
        assert!(refusal(NAME, value).contains("placeholder"), "{value}");
    }
}

#[test]
fn signing_secrets_are_accepted_as_people_and_tools_write_them() {
    let folder = Folder::new();
    let file = |text: String| {
        let path = folder.path().join("secrets");
        fs::write(&path, text).expect("written");
        (FILE_NAME, path.display().to_string())
    };
    let tables = [
        ((NAME, DASHBOARD.to_owned()), vec!["…eU6K"]),
        ((NAME, format!(" \u{feff}\"{CLI}\"\r\n")), vec!["…9b37"]),
        ((NAME, format!("'{DASHBOARD} ,\t{CLI}'")), vec!["…eU6K", "…9b37"]),
        (file(format!("\u{feff}{DASHBOARD}\r\n")), vec!["…eU6K"]),
    ];
    let check = |(name, value): (&str, String), last4: Vec<&str>| {
        let url = ("DATABASE_URL", "sqlite://none.db");
        let ran = run(&folder, "check", &[(name, &value), url, ANY_PORTS[0], ANY_PORTS[1]]);
        let line = format!("signing secrets: {}\n", last4.join(", "));
        assert!(ran.is_content && ran.out.contains(&line), "{value}: {}", ran.out);
    };
    for (setting, last4) in tables {
        check(setting, last4);
    }
    let lines = format!("\n\"{DASHBOARD}\"\n\n  {CLI}, {SECRET}\n\n");
    check(file(lines), vec!["…eU6K", "…9b37", "…ABCD"]);
}

#[test]
fn a_secret_file_that_holds_anything_else_is_refused_and_not_shown() {
    let folder = Folder::new();
    let path = folder.path().join("secrets");
    for (text, words) in [
        (format!("# hunter2, rolled in May\n{DASHBOARD}\n"), "line 1 is a comment"),
        (format!("{DASHBOARD}\n\n  # hunter2\n"), "line 3 is a comment"),
        (format!("{DASHBOARD} # hunter2\n"), "comment"),
        (format!("{DASHBOARD}\nhunter2\n"), "the 2nd of 2 values does not begin with whsec_"),
        (format!("{NAME}={DASHBOARD}\n"), "does not begin with whsec_"),
        ("\u{feff} \n\n".to_owned(), "empty"),
    ] {
        fs::write(&path, &text).expect("written");
        let told = refusal(FILE_NAME, &path.display().to_string());
        assert!(told.contains(&format!("{FILE_NAME}: ")) && told.contains(words), "{text}: {told}");
        assert!(!told.contains("hunter2") && !told.contains(&DASHBOARD[6..12]), "{text}: {told}");
    }
}

/// `trigger` and `dev` read the same settings, and the file that `dev` makes, in the same way.
#[test]
fn trigger_and_dev_refuse_what_serve_refuses() {
    let folder = Folder::new();
    let trigger = "trigger payment_intent.succeeded --order O1 --url http://127.0.0.1:1/";
    let wrong = [(NAME, "whsec_9f3c1be07d5a4e6288b1c0d4f7a93e52 # hunter2"), NOWHERE];
    for words in [trigger, "dev"] {
        let refused = run(&folder, words, &wrong);
        assert!(!refused.is_content && refused.err.contains("comment"), "{words}: {}", refused.err);
        assert!(!refused.err.contains("hunter2"), "{words}: {}", refused.err);
    }
    fs::create_dir(folder.path().join(".paidup")).expect("a folder");
    fs::write(folder.path().join(".paidup/secret"), "# hunter2\n").expect("written");
    for words in [trigger, "dev"] {
        let refused = run(&folder, words, &[NOWHERE]);
        let told = &refused.err;
        assert!(!refused.is_content && told.contains(".paidup/secret: "), "{words}: {told}");
        assert!(
            told.contains("line 1 is a comment") && !told.contains("hunter2"),
            "{words}: {told}"
        );
    }
}

#[test]
fn the_file_env_is_read_from_the_working_directory_alone() {
    let folder = Folder::new();
    let parent = folder.path().join("parent");
    let child = parent.join("child");
    fs::create_dir_all(&child).expect("folders");
    fs::write(parent.join(".env"), "DATABASE_URL=sqlite://of-the-parent.db\n").expect("written");
    let mut migrate = command(&folder, "migrate", &[]);
    let ran = migrate.current_dir(&child).output().expect("it runs");
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && out.contains("SQLite paidup.db"), "{out}");
}

#[test]
fn a_bad_line_of_the_file_env_is_named_by_its_number_and_not_shown() {
    let folder = Folder::new();
    let path = folder.path().join(".env");
    for (text, number) in [
        ("hunter2\n", 1),
        ("# settings\n\nSTRIPE_MODE=live\nSTRIPE_WEBHOOK_SECRET: hunter2\nLISTEN=x\n", 4),
        ("STRIPE_MODE=live\nADMIN_TOKEN=hunter2 hunter2", 2),
        ("STRIPE_MODE=live\nADMIN_TOKEN=\"hunter2\nLISTEN=127.0.0.1:0\n\n", 2),
        ("A=\"two\nlines\"\nADMIN_TOKEN=hunter2\\x\n", 3),
        ("STRIPE_MODE=live\r\n\r\nhunter2\r\n", 3),
        ("A=b\nADMIN_TOKEN=hun\0ter2\n", 2),
    ] {
        fs::write(&path, text).expect("written");
        for words in ["--help", "--version", "serve --help"] {
            assert!(run(&folder, words, &[]).is_content, "{words} beside {text:?}");
        }
        for words in ["migrate", "health", "check"] {
            let refused = run(&folder, words, &[]);
            assert!(!refused.is_content, "{words} beside {text:?}");
            let place = format!(".env, line {number}: ");
            assert!(refused.err.contains(&place), "{text:?}: {}", refused.err);
            assert!(!refused.err.contains("hun"), "{text:?}: {}", refused.err);
        }
    }
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    let refused = run(&folder, "migrate", &[]);
    assert!(!refused.is_content && refused.err.contains(".env: "), "{}", refused.err);
}

#[test]
fn a_good_file_env_may_have_comments_a_bom_and_no_last_newline() {
    let folder = Folder::new();
    let text = "\u{feff}# paidup\nDATABASE_URL=sqlite://of-the-file.db # here\nSTRIPE_MODE=live ";
    fs::write(folder.path().join(".env"), text).expect("written");
    let ran = run(&folder, "migrate", &[]);
    assert!(ran.is_content && ran.out.contains("of-the-file.db"), "{}{}", ran.out, ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_can_read_the_files_that_paidup_makes() {
    let folder = Folder::new();
    let url = ("DATABASE_URL", "sqlite://shop.db");
    for words in ["migrate", "serve"] {
        let file = folder.path().join("shop.db");
        if words == "migrate" {
            assert!(run(&folder, words, &[url]).is_content);
            assert_eq!(mode(&file), 0o600, "after {words}");
            fs::remove_file(file).expect("removed");
            continue;
        }
        let mut serve = command(&folder, words, &ANY_PORTS);
        serve.envs([url, (NAME, SECRET)]);
        let service = Service::of(serve);
        let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
        assert_eq!(service.post(&paid).await.status, 200);
        for name in ["shop.db", "shop.db-wal", "shop.db-shm"] {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name} of {words}");
        }
    }
}

/// Words of 32 characters or more that could be a token.
fn tokens(text: &str) -> Vec<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric());
    words.filter(|word| word.len() >= 32).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_admin_token_goes_to_a_file_and_not_into_the_log() {
    let folder = Folder::new();
    let mut serve = command(&folder, "serve", &ANY_PORTS);
    serve.env(NAME, SECRET).env_remove("ADMIN_TOKEN");
    let out = folder.path().join("out");
    serve.stdout(fs::File::create(&out).expect("a file"));
    let service = Service::of(serve);
    let path = folder.path().join(".paidup/admin_token");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    let token = fs::read_to_string(&path).expect("a token");
    let api = Api::of(service);
    let (status, _, answer) =
        api.call(Method::GET, "/api/v1/orders", Some(token.trim()), None).await;
    assert_eq!(status, 200, "{answer}");
    let (_, log) = api.service.stopped().await;
    let out = fs::read_to_string(&out).expect("text");
    assert!(log.contains(".paidup/admin_token"), "{log}");
    assert_eq!(tokens(&log), Vec::<&str>::new());
    assert_eq!(tokens(&out), Vec::<&str>::new());
}

/// Where no file can be written, the service runs, and its API and console stay closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_for_the_token_the_api_is_closed() {
    let folder = Folder::new();
    fs::write(folder.path().join(".paidup"), "not a folder").expect("written");
    let mut serve = command(&folder, "serve", &ANY_PORTS);
    serve.env(NAME, SECRET).env_remove("ADMIN_TOKEN");
    let service = Service::of(serve);
    assert_eq!(service.ask("/api/v1/orders").await.status, 401);
    let (status, log) = service.stopped().await;
    assert!(status.success() && log.contains("set ADMIN_TOKEN"), "{log}");
}

#[test]
fn the_database_can_be_named_by_a_file() {
    let folder = Folder::new();
    let path = folder.path().join("url");
    let setting = [("DATABASE_URL_FILE", "url")];
    for text in ["sqlite://named.db\n", "\u{feff}\"sqlite://named.db\"\r\n"] {
        fs::write(&path, text).expect("written");
        let ran = run(&folder, "migrate", &setting);
        assert!(ran.out.contains("SQLite named.db"), "{text:?}: {}{}", ran.out, ran.err);
    }
    for text in ["", "\n", "mysql://root:hunter2@db/x"] {
        fs::write(&path, text).expect("written");
        let ran = run(&folder, "migrate", &setting);
        assert!(
            !ran.is_content && ran.err.contains("DATABASE_URL_FILE: "),
            "{text:?}: {}",
            ran.err
        );
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    fs::remove_file(&path).expect("removed");
    let ran = run(&folder, "migrate", &setting);
    assert!(!ran.is_content && ran.err.contains("DATABASE_URL_FILE: "), "{}", ran.err);
    // The secret itself in the wrong variable.
    for name in ["DATABASE_URL_FILE", "ADMIN_TOKEN_FILE", FILE_NAME] {
        let value = "postgres://root:hunter2@db/x";
        let settings = [(name, value), NOWHERE];
        let mut serve = command(&folder, "serve", &settings);
        let output = serve.env_remove("ADMIN_TOKEN").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(&format!("{name}: the file cannot be read")), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let both = [setting[0], ("DATABASE_URL", "sqlite://other.db")];
    let ran = run(&folder, "migrate", &both);
    assert!(!ran.is_content && ran.err.contains("leave one of them out"), "{}", ran.err);
    let files: BTreeSet<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| !name.to_string_lossy().starts_with("named.db"))
        .collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn port_is_the_port_of_the_webhook_listener_unless_listen_is_set() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    drop(taken);
    let check = |words: &str, settings: &[(&str, &str)]| {
        let mut all = vec![(NAME, SECRET), ANY_PORTS[1]];
        all.extend(settings);
        let ran = run(&folder, words, &all);
        format!("{}{}", ran.out, ran.err)
    };
    let told = check("check", &[("PORT", &port)]);
    assert!(told.contains(&format!("LISTEN=0.0.0.0:{port} is free")), "{told}");
    let told = check("check", &[("PORT", "80"), ("LISTEN", "127.0.0.1:0")]);
    assert!(told.contains("LISTEN=127.0.0.1:0 is free"), "{told}");
    let told = check("trigger payment_intent.succeeded --order O1", &[("PORT", &port)]);
    assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
    for wrong in ["http", "-1", "65536", "8000/tcp"] {
        let told = check("check", &[("PORT", wrong)]);
        assert!(told.contains("PORT: ") && told.contains("65535"), "{wrong}: {told}");
    }
}

#[test]
fn one_pair_of_quotes_around_any_setting_is_not_part_of_it() {
    let folder = Folder::new();
    let key = ("STRIPE_API_KEY", "'rk_test_0123456789'");
    let settings = [
        (NAME, &format!("\"{SECRET}\"")[..]),
        ("DATABASE_URL", "\"sqlite://quoted.db\""),
        ("LISTEN", "'127.0.0.1:0'"),
        ("OPERATOR_LISTEN", "\" 127.0.0.1:0 \""),
        ("STRIPE_MODE", "\"live\""),
        ("ADMIN_TOKEN", "\"0123456789abcdef\""),
        ("LOG_FORMAT", "\"\""),
        ("RUST_LOG", "\"info\""),
        ("BACKFILL_EVERY", "\"15m\""),
        key,
    ];
    let ran = run(&folder, "check", &settings);
    assert!(ran.is_content && ran.out.contains("SQLite quoted.db"), "{}{}", ran.out, ran.err);
    for (name, value) in
        [("STRIPE_MODE", "\"live'"), ("STRIPE_MODE", "\"\"live\"\""), ("STRIPE_MODE", "\"")]
    {
        let mut wrong = settings.to_vec();
        wrong.push((name, value));
        let ran = run(&folder, "check", &wrong);
        assert!(!ran.is_content && ran.out.contains(name), "{value}: {}", ran.out);
    }
    let wrong = [(NAME, SECRET), NOWHERE, ("RUST_LOG", "=,=")];
    let ran = run(&folder, "serve", &wrong);
    assert!(!ran.is_content && ran.err.contains("RUST_LOG: "), "{}", ran.err);
}

/// What compose.yaml starts: reachable, but no key that anybody else knows opens it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_can_make_a_development_secret() {
    let folder = Folder::new();
    let mut serve = command(&folder, "serve --dev-secret", &ANY_PORTS);
    serve.env(NAME, "");
    let service = Service::of(serve);
    let path = folder.path().join(".paidup/secret");
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).expect("a secret");
    let paid = pi("pi_1").order("O1").event("payment_intent.succeeded").body();
    assert_eq!(service.post(&paid).await.status, 400);
    let secret = SigningSecret::new(&text).expect("a secret");
    let signed = secret.header(paidup::unix_seconds(), &paid);
    assert_eq!(service.post_with(&signed, &paid).await.status, 200);
    let words = format!("trigger payment_intent.succeeded --order O2 --url {}", service.webhook);
    let ran = run(&folder, &words, &[(NAME, "")]);
    assert!(ran.is_content && ran.out.contains("200 applied"), "{}{}", ran.out, ran.err);
    let (_, log) = service.stopped().await;
    assert!(log.contains("STRIPE_WEBHOOK_SECRET is not set"), "{log}");
    assert!(!log.contains(text.trim()), "{log}");

    let given = run(&folder, "serve --dev-secret", &[(NAME, "whsec_..."), NOWHERE]);
    assert!(!given.is_content && given.err.contains("placeholder"), "{}", given.err);
}
