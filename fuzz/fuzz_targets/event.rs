//! Any authentic body: reading it never panics; an event says the same as itself; and what is JSON with
//! an id and a type is an event, whatever else is in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paidup::domain::event::Event;
use paidup::domain::signature::{SigningSecret, verify};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let secrets = [SigningSecret::new("whsec_fuzz_0123456789").expect("not empty")];
    let header = secrets[0].header(5, input);
    let body = bytes::Bytes::copy_from_slice(input);
    let proof = verify(header.as_bytes(), body, &secrets, 5, 0).expect("signed just now");
    let read = Event::read(&proof);
    if let Ok(event) = &read {
        assert!(event.says_the_same_as(input));
        assert!(!event.id().is_empty() && !event.id().contains('\0'));
        assert!(event.order_id().is_none_or(|id| (1..=500).contains(&id.len())));
    }
    // serde_json's own reading is stricter on depth alone.
    let value: Result<Value, _> = serde_json::from_slice(input);
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.is_some_and(|text| {
            (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
        })
    };
    if value.is_ok_and(|value| text(&value, "id") && text(&value, "type")) {
        assert!(read.is_ok(), "{}", String::from_utf8_lossy(input));
    }
});
