//! Stories of real shops with the right answer, in every order of delivery, on both databases.
//!
//! The stories lie in the folder that `PAIDUP_STORIES` names (`NAME.jsonl`, an event body a line, and
//! `NAME.expect.json`); they are not part of this project, and without them these tests have nothing to
//! do. Each is played at once and twice, in at most [`DELIVERIES_MAX`] orders: all permutations where
//! there are no more, else random ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use paidup::domain::event::Event;
use paidup::domain::policy::Policy;
use paidup::domain::rows::Order;
use paidup::store::Session;
use paidup::store::register::{Registration, register};
use paidup::store::transaction::{Rules, record};
use serde::Deserialize;
use serde_json::Value;

use crate::support::databases::on_both;
use crate::support::dice::Dice;
use crate::support::fixtures::read;
use crate::support::memory::Memory;

const DELIVERIES_MAX: usize = 120;
/// On a database every event is a commit, so these are fewer; in memory all are played.
const DATABASE_DELIVERIES_MAX: usize = 12;
/// In milliseconds.
const NOW: i64 = 1_795_452_931_000;

#[derive(Deserialize)]
struct Expectation {
    right: String,
    register_first: BTreeMap<String, Due>,
    orders: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    #[serde(default)]
    told_in_order_of_the_file: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    never_told: Vec<String>,
}

#[derive(Deserialize)]
struct Due {
    amount_due: i64,
    currency: String,
}

struct Story {
    name: String,
    bodies: Vec<String>,
    expected: Expectation,
}

/// `None` if there is no folder.
fn stories() -> Option<Vec<Story>> {
    let Some(folder) = std::env::var_os("PAIDUP_STORIES").map(PathBuf::from) else {
        println!("skipped: PAIDUP_STORIES names no folder");
        return None;
    };
    let entries = std::fs::read_dir(folder).expect("PAIDUP_STORIES names a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let bodies = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let stories: Vec<Story> = bodies.map(|path| story(path)).collect();
    assert!(!stories.is_empty(), "a folder without stories is no proof");
    Some(stories)
}

fn story(path: &Path) -> Story {
    let text = std::fs::read_to_string(path).expect("a readable story");
    let expected = std::fs::read(path.with_extension("expect.json")).expect("its answer");
    Story {
        name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
        bodies: text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        expected: serde_json::from_slice(&expected).expect("an answer"),
    }
}

/// All orders of so many things where they are few, else random ones; the first is as they are.
fn deliveries(count: usize, most: usize) -> Vec<Vec<usize>> {
    let first: Vec<usize> = (0..count).collect();
    let all = (1..=count).try_fold(1_usize, usize::checked_mul).unwrap_or(usize::MAX);
    if all > most {
        let mut dice = Dice(count as u64);
        return (0..most)
            .map(|number| {
                let mut order = first.clone();
                if number > 0 {
                    dice.shuffle(&mut order);
                }
                order
            })
            .collect();
    }
    let mut orders = vec![Vec::new()];
    for _ in 0..count {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let rest: Vec<usize> =
                    first.iter().copied().filter(|next| !order.contains(next)).collect();
                rest.into_iter().map(move |next| [order.clone(), vec![next]].concat())
            })
            .collect();
    }
    orders
}

/// What is wrong with a row.
fn differences(order: Option<&Order>, expected: Option<&BTreeMap<String, Value>>) -> Vec<String> {
    match (order, expected) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["a row, and there must be none".to_owned()],
        (None, Some(_)) => vec!["no row".to_owned()],
        (Some(order), Some(expected)) => {
            let row = row(order);
            let differs =
                |(name, value): &(&String, &Value)| row.get(name.as_str()) != Some(*value);
            let said = |(name, value): (&String, &Value)| {
                format!(
                    "{name} is {} and should be {value}",
                    row.get(name.as_str()).unwrap_or(&Value::Null)
                )
            };
            expected.iter().filter(differs).map(said).collect()
        }
    }
}

fn row(order: &Order) -> BTreeMap<&'static str, Value> {
    let snapshot = &order.snapshot;
    BTreeMap::from([
        ("status", snapshot.status.name().into()),
        ("amount_received", snapshot.amount_received.into()),
        ("amount_refunded", snapshot.amount_refunded.into()),
        ("amount_disputed", snapshot.amount_disputed.into()),
        ("currency", snapshot.currency.clone().into()),
        ("problem", snapshot.problem.map(|problem| problem.name()).into()),
        ("dispute", snapshot.dispute.map(|dispute| dispute.name()).into()),
        ("failure_code", order.failure_code.clone().into()),
    ])
}

#[test]
fn deliveries_are_all_permutations_or_a_sample() {
    assert_eq!(deliveries(4, 120).len(), 24);
    assert_eq!(
        deliveries(5, 120).into_iter().collect::<std::collections::BTreeSet<_>>().len(),
        120
    );
    assert_eq!(deliveries(6, 120).len(), 120);
    assert_eq!(deliveries(6, 120)[0], [0, 1, 2, 3, 4, 5]);
}

/// Plays a story in memory; says what is wrong.
fn played(story: &Story, events: &[Event], order: &[usize]) -> Vec<String> {
    let mut memory = Memory::new(Policy::default());
    for (id, due) in &story.expected.register_first {
        memory.insert_order(id, Some((due.amount_due, &due.currency)), 1);
    }
    for index in order {
        memory.deliver([&events[*index]]);
    }
    let mut wrong = Vec::new();
    for (id, expected) in &story.expected.orders {
        for difference in differences(memory.order(id), expected.as_ref()) {
            wrong.push(format!("{id}: {difference}"));
        }
        let kinds: Vec<&str> =
            memory.changes(id).iter().flat_map(|change| change.kinds.iter().copied()).collect();
        for kind in
            kinds.iter().filter(|kind| story.expected.never_told.iter().any(|one| one == *kind))
        {
            wrong.push(format!("{id}: {kind} was notified"));
        }
        let in_order = order.is_sorted() && order.len() == events.len();
        if let Some(told) = story.expected.told_in_order_of_the_file.get(id)
            && in_order
            && *told != kinds
        {
            wrong.push(format!("{id}: notified {kinds:?} and not {told:?}"));
        }
    }
    wrong
}

#[test]
fn every_story_has_its_right_answer_in_every_order_in_memory() {
    let Some(stories) = stories() else { return };
    let mut wrong = Vec::new();
    for story in &stories {
        let read = |body: &String| read(body.as_bytes()).expect("an event");
        let events: Vec<Event> = story.bodies.iter().map(read).collect();
        for order in deliveries(events.len(), DELIVERIES_MAX) {
            let twice: Vec<usize> = order.iter().flat_map(|index| [*index, *index]).collect();
            for order in [&order, &twice] {
                let found = played(story, &events, order);
                if !found.is_empty() {
                    wrong.push(format!(
                        "{} as {order:?}: {}\n    right: {}",
                        story.name,
                        found.join("; "),
                        story.expected.right
                    ));
                    break;
                }
            }
            if wrong.last().is_some_and(|last| last.starts_with(&format!("{} as", story.name))) {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), stories.len(), wrong.join("\n"));
}

/// Ids of this delivery alone, so that one database serves all of them.
fn renamed(body: &str, story: &Story, number: usize) -> String {
    let mut body: Value = serde_json::from_str(body).expect("JSON");
    rename(&mut body, &|text| {
        let is_order = story.expected.orders.contains_key(text)
            || story.expected.register_first.contains_key(text);
        let is_id = text.split_once('_').is_some_and(|(kind, _)| {
            ["evt", "pi", "ch", "py", "cs", "in", "inpay", "re", "du", "dp", "sub"].contains(&kind)
        });
        (is_order || is_id).then(|| format!("{text}.{number}"))
    });
    body.to_string()
}

fn rename(value: &mut Value, name: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = name(text) {
                *text = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|item| rename(item, name));
        }
        _ => {}
    }
}

async fn play(session: &mut Session, story: &Story, order: &[usize], number: usize) -> Vec<String> {
    let rules = Rules::default();
    for (id, due) in &story.expected.register_first {
        let registration = Registration {
            id: format!("{id}.{number}"),
            amount_due: due.amount_due,
            currency: due.currency.clone(),
            customer_email: None,
        };
        register(session, &rules, &registration, NOW).await.expect("registered");
    }
    for index in order {
        let body = renamed(&story.bodies[*index], story, number);
        let event = read(body.as_bytes()).expect("an event");
        record(session, &rules, &[&event, &event], NOW).await.expect("recorded");
    }
    let mut wrong = Vec::new();
    for (id, expected) in &story.expected.orders {
        let record = session.order(&format!("{id}.{number}")).await.expect("an answer");
        for difference in differences(record.as_ref().map(|one| &one.order), expected.as_ref()) {
            wrong.push(format!("{} as {order:?}: {id}: {difference}", story.name));
        }
    }
    wrong
}

#[tokio::test]
async fn every_story_has_its_right_answer_on_both_databases() {
    let Some(stories) = stories() else { return };
    on_both(async |database| {
        let mut session = database.session().await;
        let (mut wrong, mut number) = (Vec::new(), 0);
        for story in &stories {
            for order in deliveries(story.bodies.len(), DATABASE_DELIVERIES_MAX) {
                number += 1;
                wrong.extend(play(&mut session, story, &order, number).await);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}
