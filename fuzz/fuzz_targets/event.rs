//! Any authentic body. Reading it never panics; read again, or spelled in another way (other white space,
//! other escapes, the fields in another order), it says the same; what is JSON with an id and a type
//! is an event, whatever else is in it; and it can be folded, alone and once more.

#![no_main]

#[path = "../../tests/it/support/memory.rs"]
mod memory;

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use memory::Memory;
use paidup::domain::event::{Event, NotAnEvent};
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::origin::Stored;
use paidup::domain::policy::{Accounts, Mode, Policy};
use paidup::domain::signature::{SigningSecret, verify};
use serde_json::value::RawValue;

const NOW: i64 = 1_800_000_000;
/// Deeper than this it stays as it is spelled.
const DEPTH_MAX: u32 = 50;

fuzz_target!(|input: &[u8]| {
    let secrets = [SigningSecret::new("whsec_fuzz_0123456789").expect("not empty")];
    let header = secrets[0].header(NOW, input);
    let body = Bytes::copy_from_slice(input);
    let proof = verify(header.as_bytes(), body, &secrets, NOW, 0).expect("signed just now");
    let rules = OrderIdRules::default();
    let read = Event::read(&proof, &rules);
    assert_same(&read, &read_again(input));
    if let Some(spelled) = spell(input) {
        assert_same(&read, &read_again(spelled.as_bytes()));
        assert!(
            read.is_err()
                || read.as_ref().is_ok_and(|one| one.says_the_same_as(spelled.as_bytes(), &rules))
        );
    }
    if is_json_with_id_and_type(input) {
        assert!(read.is_ok(), "{}", String::from_utf8_lossy(input));
    }
    let Ok(event) = read else { return };
    assert!(is_id(event.id()) && is_id(event.kind()));
    // The prefix of a connected account does not count towards the 500 bytes.
    let prefix = event.head().account.as_ref().map_or(0, |account| account.len() + 1);
    let is_order = |id: &str| {
        (prefix + 1..=prefix + 500).contains(&id.len()) && !id.chars().any(char::is_control)
    };
    assert!(event.order_id().is_none_or(is_order));
    let mode = if event.livemode() { Mode::Live } else { Mode::Test };
    let mut memory = Memory::new(Policy { mode, accounts: Accounts::Any, ..Policy::default() });
    memory.deliver([&event]);
    let rows = memory.rows();
    memory.deliver([&event]);
    assert_eq!(rows, memory.rows());
    for row in rows.values() {
        let snapshot = &row.snapshot;
        let amounts =
            [snapshot.amount_received, snapshot.amount_refunded, snapshot.amount_disputed];
        assert!(amounts.iter().all(|amount| *amount >= 0), "{row:?}");
    }
});

fn read_again(body: &[u8]) -> Result<Event, NotAnEvent> {
    let body = Stored::in_our_table_of_events(Bytes::copy_from_slice(body), NOW);
    Event::read_again(&body, &OrderIdRules::default())
}

fn assert_same(one: &Result<Event, NotAnEvent>, other: &Result<Event, NotAnEvent>) {
    let told = |read: &Result<Event, NotAnEvent>| {
        read.as_ref()
            .map(|event| (event.head().clone(), event.reading().clone()))
            .map_err(|why| *why)
    };
    let body = |read: &Result<Event, NotAnEvent>| {
        read.as_ref()
            .map_or_else(|_| String::new(), |event| String::from_utf8_lossy(event.body()).into())
    };
    assert_eq!(told(one), told(other), "{}\n{}", body(one), body(other));
}

fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_json_with_id_and_type(input: &[u8]) -> bool {
    let holds_id = |value: &&RawValue| {
        serde_json::from_str::<String>(value.get()).is_ok_and(|text| is_id(&text))
    };
    // Raw, for serde_json refuses more as a `Value`: what is nested deeply, numbers too large for it.
    serde_json::from_slice::<BTreeMap<String, &RawValue>>(input).is_ok_and(|fields| {
        ["id", "type"].iter().all(|name| fields.get(*name).is_some_and(holds_id))
    })
}

/// The same JSON in other words; `None` if it is none.
fn spell(input: &[u8]) -> Option<String> {
    let raw: &RawValue = serde_json::from_slice(input).ok()?;
    let mut spelled = String::new();
    spell_value(raw.get(), 0, &mut spelled)?;
    Some(spelled)
}

fn spell_value(raw: &str, depth: u32, spelled: &mut String) -> Option<()> {
    match raw.as_bytes().first() {
        _ if depth == DEPTH_MAX => spelled.push_str(raw),
        Some(b'"') => match serde_json::from_str::<String>(raw) {
            Ok(text) => spell_text(&text, spelled),
            // Half a surrogate pair is JSON, but no text.
            Err(_) => spelled.push_str(raw),
        },
        Some(b'[') => {
            spelled.push_str("[\t");
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            for (index, item) in items.into_iter().enumerate() {
                spelled.push_str(if index == 0 { "" } else { " ,\n" });
                spell_value(item.get(), depth + 1, spelled)?;
            }
            spelled.push_str("\r\n]");
        }
        Some(b'{') => {
            spelled.push_str("{ ");
            // Of a name that is there twice the last one counts; from the last name to the first.
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw).ok()?;
            for (index, (name, value)) in fields.into_iter().rev().enumerate() {
                spelled.push_str(if index == 0 { "" } else { " , " });
                spell_text(&name, spelled);
                spelled.push_str("\t: ");
                spell_value(value.get(), depth + 1, spelled)?;
            }
            spelled.push_str(" }");
        }
        _ => spelled.push_str(raw),
    }
    Some(())
}

/// Every second character as an escape.
fn spell_text(text: &str, spelled: &mut String) {
    spelled.push('"');
    for (index, char) in text.chars().enumerate() {
        if index % 2 == 1 && char.is_ascii_alphanumeric() {
            spelled.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                spelled.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    spelled.push('"');
}
