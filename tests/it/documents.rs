//! The documents are true and complete: links lead somewhere, each setting, metric, event type and word
//! of the code is explained, and none is explained that the code does not have. SQL is left to
//! [`super::recipe`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use paidup::domain::event_types;
use paidup::domain::order::{KINDS, Problem, Status};
use paidup::domain::outcome::Outcome;
use paidup::domain::payment::dispute::DisputeStatus;
use paidup::domain::policy::Policy;
use paidup::http::error::REASONS;
use paidup::http::views::OrderView;

use crate::recipe::document;
use crate::support::fixtures::{EventBody, pi, refund};
use crate::support::memory::Memory;
use crate::support::service::paidup;

const README_LINES_MAX: usize = 180;
const LINE_CHARS_MAX: usize = 120;
const ORDERS: &str = "docs/reference/orders.md";
const SETTINGS: &str = "docs/reference/settings.md";
const METRICS: &str = "docs/reference/metrics.md";
const STRIPE: &str = "docs/guides/stripe.md";
/// Folders that are not the project's.
const FOREIGN: [&str; 6] = ["target", "node_modules", "results", "artifacts", "corpus", "peers"];
/// Said badly; STYLE.md says what is better.
const BANNED: [&str; 7] =
    ["told", "whoever", "for ever", "of ours", "so many", "is none", "the begin of"];
/// Stripe's events that the guide must explain, whatever the code asks Stripe for today.
const TYPES: [&str; 37] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.processing",
    "payment_intent.amount_capturable_updated",
    "payment_intent.partially_funded",
    "charge.succeeded",
    "charge.failed",
    "charge.captured",
    "charge.expired",
    "charge.pending",
    "charge.updated",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.updated",
    "invoice.finalized",
    "invoice_payment.paid",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                collect(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// The project's files with these endings: each one's path from its root, and its text.
fn files(below: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root().join(below), endings, &mut found);
    let mut files: Vec<(String, String)> = found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.strip_prefix(root()).expect("below the root");
            (name.to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}

fn documents() -> Vec<(String, String)> {
    let documents = files("", &[".md"]);
    assert!(documents.len() >= 18, "{documents:?}");
    documents
}

/// A document without its code blocks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The places in a document that a link can name, as GitHub makes them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter_map(|char| match char {
                ' ' => Some('-'),
                '-' | '_' => Some(char),
                char if char.is_alphanumeric() => Some(char),
                _ => None,
            });
            kept.collect()
        })
        .collect()
}

/// Where a document's links and pictures lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let between = |from: &str, to: char| -> Vec<String> {
        let after = prose.split(from).skip(1);
        after.filter_map(|rest| rest.split(to).next()).map(str::to_owned).collect()
    };
    [between("](", ')'), between("src=\"", '"'), between("srcset=\"", '"')].concat()
}

#[test]
fn every_link_leads_somewhere() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, text) in documents() {
        let folder = root().join(&name);
        let folder = folder.parent().expect("a folder");
        for link in links(&text) {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(&name) } else { folder.join(path) };
            let has_anchor = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                anchor.is_empty() || anchors(&text).contains(anchor)
            };
            if !target.exists() || !has_anchor() {
                wrong.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty() && seen > 50, "{seen} links; lead nowhere: {wrong:#?}");
}

/// Comments in the code name documents too.
#[test]
fn every_document_that_the_code_names_is_there() {
    let mut wrong = Vec::new();
    for (name, text) in files("", &[".rs", ".sh", ".toml", ".yaml", ".sql", ".md", ".example"]) {
        for (position, _) in text.match_indices("docs/") {
            let before = text[..position].chars().next_back();
            let rest = &text[position..];
            let path: String = rest
                .chars()
                .take_while(|char| char.is_alphanumeric() || "/._-".contains(*char))
                .collect();
            let path = path.trim_end_matches('.');
            let is_ours = before.is_none_or(|char| char != '/' && !char.is_alphanumeric());
            if is_ours && path.contains(".md") && !root().join(path).exists() {
                wrong.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// And documents name files of the code, from the root or from src/.
#[test]
fn every_file_that_a_document_names_is_there() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, text) in documents() {
        for span in prose(&text).split('`').skip(1).step_by(2) {
            let is_path = span.contains('/')
                && [".rs", ".md", ".sql", ".sh"].iter().any(|ending| span.ends_with(ending))
                && span.chars().all(|char| char.is_alphanumeric() || "/._-".contains(char));
            if !is_path {
                continue;
            }
            seen += 1;
            if !["", "src", "benches/load"].iter().any(|from| root().join(from).join(span).exists())
            {
                wrong.push(format!("{name}: {span}"));
            }
        }
    }
    assert!(wrong.is_empty() && seen > 40, "{seen} files; not there: {wrong:#?}");
}

#[test]
fn every_document_is_in_the_summary() {
    let summary = document("docs/SUMMARY.md");
    for (name, _) in files("docs", &[".md"]) {
        let name = name.trim_start_matches("docs/");
        let is_there = name == "SUMMARY.md" || summary.contains(&format!("({name})"));
        assert!(is_there, "{name} is not in docs/SUMMARY.md");
    }
}

#[test]
fn the_readme_is_short() {
    let readme = document("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines");
    for (number, line) in readme.lines().enumerate() {
        assert!(line.chars().count() <= LINE_CHARS_MAX, "line {} is too long", number + 1);
    }
}

#[test]
fn the_documents_are_in_plain_english() {
    let mut wrong = Vec::new();
    let mut all = documents();
    for name in [".env.example", "notify.example.toml", "compose.yaml"] {
        all.push((name.to_owned(), document(name)));
    }
    for (name, text) in all.iter().filter(|(name, _)| name != "STYLE.md") {
        let words: String = prose(text)
            .to_lowercase()
            .chars()
            .map(|char| if char.is_alphanumeric() { char } else { ' ' })
            .collect();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        for banned in BANNED {
            if format!(" {words} ").contains(&format!(" {banned} ")) {
                wrong.push(format!("{name}: {banned}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The settings that the program reads, from its own text.
fn settings() -> BTreeSet<String> {
    let mut code = files("src/config", &[".rs"]);
    code.push(("src/config.rs".to_owned(), document("src/config.rs")));
    let code = code.iter().filter_map(|(_, code)| code.split("#[cfg(test)]").next());
    let texts = code.flat_map(|code| code.split('"').skip(1).step_by(2));
    let is_name = |text: &&str| {
        text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    texts.filter(is_name).map(str::to_owned).collect()
}

/// The first cells of a document's tables, without their marks.
fn rows(text: &str) -> BTreeSet<String> {
    let first = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    first.map(|cell| cell.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_setting_is_in_every_document() {
    let settings = settings();
    assert!(settings.len() >= 25, "{settings:?}");
    let help = String::from_utf8(paidup().arg("--help").output().expect("it runs").stdout);
    let help = help.expect("text");
    let (reference, example) = (document(SETTINGS), document(".env.example"));
    for name in &settings {
        assert!(reference.contains(&format!("| `{name}` |")), "{name} in {SETTINGS}");
        assert!(example.contains(&format!("#{name}=")), "{name} in .env.example");
        if name != "STRIPE_SIGNATURE_TOLERANCE_SECONDS" {
            assert!(help.contains(name), "{name} in --help");
        }
    }
    for line in example.lines().filter(|line| line.contains('=') && !line.starts_with("# ")) {
        let name = line.trim_start_matches('#').split('=').next().unwrap_or_default();
        assert!(settings.contains(name), "{name} is no setting");
    }
    for document_name in [SETTINGS, "README.md"] {
        let is_setting =
            |name: &String| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let named = rows(&document(document_name)).into_iter().filter(is_setting);
        for name in named.filter(|name| !name.is_empty()) {
            assert!(settings.contains(&name), "{document_name}: {name} is no setting");
        }
    }
}

/// The metrics that the source makes or describes.
fn metrics() -> BTreeSet<String> {
    let mut metrics = BTreeSet::new();
    for (_, code) in files("src", &[".rs"]) {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for made in ["counter!(", "gauge!(", "histogram!("] {
            for after in code.split(made).skip(1) {
                let name =
                    after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                metrics.extend(name.map(str::to_owned));
            }
        }
    }
    metrics
}

fn words_with(text: &str, prefix: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let made = metrics();
    assert!(made.len() >= 15, "{made:?}");
    let reference = document(METRICS);
    assert_eq!(words_with(&reference, "paidup_"), made, "the left is {METRICS}");
    for reason in REASONS {
        assert!(reference.contains(&format!("`{reason}`")), "{reason} is not in {METRICS}");
    }
    for (name, text) in documents() {
        let named = words_with(&prose(&text), "paidup_").into_iter();
        // The roles of SECURITY.md.
        let named = named.filter(|word| !["paidup_owner", "paidup_serve"].contains(&word.as_str()));
        for word in named {
            assert!(made.contains(&word), "{name}: {word} is no metric");
        }
    }
}

#[test]
fn every_word_of_the_code_is_explained() {
    let reference = document(ORDERS);
    let explained = rows(&reference);
    let has_row = |word: &str| {
        assert!(explained.contains(word), "{word} has no row in {ORDERS}");
    };
    Status::ALL.iter().for_each(|status| has_row(status.name()));
    Problem::ALL.iter().for_each(|problem| has_row(problem.name()));
    DisputeStatus::ALL.iter().for_each(|dispute| has_row(dispute.name()));
    KINDS.iter().for_each(|kind| has_row(kind));
    for column in OrderView::NAMES {
        let is_there = reference.lines().any(|line| {
            let cell = line.strip_prefix("| ").and_then(|line| line.split(" |").next());
            cell.is_some_and(|cell| cell.split(", ").any(|name| name == format!("`{column}`")))
        });
        assert!(is_there, "the column {column} has no row in {ORDERS}");
    }
    let outcomes = rows(&document("docs/reference/http.md"));
    for outcome in Outcome::ALL {
        assert!(outcomes.contains(outcome.name()), "{} in http.md", outcome.name());
    }
    let example = document("notify.example.toml");
    let readme = document("README.md");
    for kind in KINDS {
        assert!(example.contains(&format!("#   {kind} ")), "{kind} in notify.example.toml");
    }
    for status in Status::ALL {
        assert!(readme.contains(&format!("`{}`", status.name())), "{} in README", status.name());
    }
}

/// The columns that paidup keeps for itself are named too.
#[test]
fn every_column_of_orders_is_named() {
    let reference = document(ORDERS);
    for schema in ["migrations/postgres/0001_schema.sql", "migrations/sqlite/0001_schema.sql"] {
        let schema = document(schema);
        let table = schema.split("create table orders (").nth(1).expect("the table");
        let table = table.split("\n);").next().expect("its end");
        let lines =
            table.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        let names: BTreeSet<&str> = names
            .filter(|name| !["--", "check"].contains(name) && !name.starts_with("check"))
            .collect();
        assert!(names.len() >= 20, "{names:?}");
        for name in names {
            assert!(reference.contains(&format!("`{name}`")), "{name} is not in {ORDERS}");
        }
    }
}

#[test]
fn every_event_type_is_in_the_guide() {
    let guide = document(STRIPE);
    let table: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let missing: BTreeSet<&str> = event_types::all()
        .chain(TYPES)
        .filter(|kind| !table.iter().any(|line| line.contains(&format!("`{kind}`"))))
        .collect();
    assert!(missing.is_empty(), "not in the table of {STRIPE}: {missing:?}");
}

#[test]
fn every_command_is_explained() {
    let help = String::from_utf8(paidup().arg("--help").output().expect("it runs").stdout);
    let help = help.expect("text");
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let commands =
        commands.expect("commands").lines().filter_map(|line| line.split_whitespace().next());
    let reference = document("docs/reference/cli.md");
    let mut seen = 0;
    for command in commands.filter(|command| *command != "help") {
        seen += 1;
        assert!(reference.contains(&format!("`paidup {command}")), "{command} in cli.md");
    }
    assert!(seen >= 14, "{help}");
}

/// What the glossary says the code calls a thing, the code calls it.
#[test]
fn the_glossary_is_that_of_the_code() {
    let code: String = files("src", &[".rs"]).into_iter().map(|(_, code)| code).collect();
    let names: BTreeSet<&str> =
        code.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
    let style = document("STYLE.md");
    let table = style.split("in the code |").nth(1).and_then(|rest| rest.split("\n\n").next());
    let mut seen = 0;
    for row in table.expect("the glossary").lines().filter(|row| row.contains('`')) {
        let cell = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2).flat_map(|name| name.split("::")) {
            seen += 1;
            let is_there =
                names.contains(name) || name.ends_with(".rs") && !files("src", &[name]).is_empty();
            assert!(is_there, "the code has no {name}");
        }
    }
    assert!(seen >= 20, "{seen}");
}

/// One row of the examples: what is due, what happens, and how the order ends.
fn example(due: &str, story: &str) -> String {
    let mut memory = Memory::new(Policy::default());
    if let Ok(amount) = due.parse() {
        memory.insert_order("O1", Some((amount, "usd")), 1);
    }
    let mut events: Vec<EventBody> = Vec::new();
    for (number, step) in story.split(", ").enumerate() {
        let words: Vec<&str> = step.split(' ').collect();
        let amount: i64 = words[1].parse().expect(step);
        let currency = words.get(2).copied().unwrap_or("usd");
        let intent = pi(&format!("pi_{number}")).order("O1").amount(amount, currency);
        let event = match words[0] {
            "pay" => intent.event("payment_intent.succeeded"),
            "fail" => intent.event("payment_intent.payment_failed"),
            "processing" => intent.event("payment_intent.processing"),
            "cancel" => intent.event("payment_intent.canceled"),
            "reserve" => intent.event("payment_intent.amount_capturable_updated"),
            "refund" => {
                let refund = refund(&format!("re_{number}")).pi(&format!("pi_{}", number - 1));
                refund.amount(amount, currency).event("refund.created")
            }
            other => panic!("{other} is no step"),
        };
        events.push(event.at(100 * (i64::try_from(number).expect("few") + 1)));
    }
    for event in &events {
        memory.deliver([&event.event()]);
    }
    let snapshot = &memory.order("O1").expect("an order").snapshot;
    let problem = snapshot.problem.map(|problem| format!("`{}`", problem.name()));
    format!(
        "`{}` | {} | {} | {}",
        snapshot.status.name(),
        snapshot.amount_received,
        snapshot.amount_refunded,
        problem.unwrap_or_default()
    )
}

#[test]
fn the_examples_of_orders_are_right() {
    let reference = document(ORDERS);
    let table = reference.split("<!-- examples: orders -->\n").nth(1).expect("the mark");
    let table = table.split("\n\n").next().expect("its end");
    let mut wrong = BTreeMap::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let shown = cells[2..].join(" | ");
        let is = example(cells[0], cells[1]);
        if shown != is {
            wrong.insert(row, is);
        }
    }
    assert!(wrong.is_empty() && table.lines().count() > 12, "{wrong:#?}");
}
