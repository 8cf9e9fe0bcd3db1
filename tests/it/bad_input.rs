//! Authentic bodies that are broken, hostile or odd: what is no event is refused with its reason, and
//! everything else is read for what it still says.

use std::fmt::Write as _;

use paidup::domain::delta::{Delta, Meaning, Reading};
use paidup::domain::event::{Event, NotAnEvent};
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::outcome::IgnoredReason;
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::Policy;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;

use crate::support::fixtures::{EventBody, SIGNED_AT, charge, pi, read, session};
use crate::support::memory::Memory;
use crate::support::stories::row;

const DEPTH: usize = 10_000;
const PROPERTY_CASES: u32 = 512;

fn paid() -> EventBody {
    pi("pi_1").order("O1").event("payment_intent.succeeded").at(100)
}

fn says(event: &Event) -> &Delta {
    match event.reading() {
        Reading::Relevant(delta) => delta,
        Reading::Ignored(why) => panic!("ignored: {why}"),
    }
}

/// The paid event with this text in place of another.
fn bent(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(paid().body()).expect("JSON is text");
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn what_is_no_event_is_refused_with_its_reason() {
    use NotAnEvent::{NoIdOrType, NotJson};
    let deep = "[".repeat(DEPTH);
    for (name, body, expected) in [
        ("nothing", &b""[..], NotJson),
        ("a space", b" ", NotJson),
        ("text", b"this is no JSON", NotJson),
        ("half an object", br#"{"id":"evt_1","type":"a.b""#, NotJson),
        ("two objects", br#"{"id":"evt_1","type":"a.b"}{}"#, NotJson),
        ("a trailing comma", br#"{"id":"evt_1","type":"a.b",}"#, NotJson),
        ("a byte order mark", b"\xef\xbb\xbf{\"id\":\"evt_1\",\"type\":\"a.b\"}", NotJson),
        ("invalid UTF-8", b"{\"id\":\"evt_1\",\"type\":\"a.b\",\"x\":\"\xff\"}", NotJson),
        ("UTF-16", b"{\0}\0", NotJson),
        ("an unknown escape", br#"{"id":"evt_1","type":"a.b","x":"\q"}"#, NotJson),
        ("a raw line end in a name", b"{\"id\":\"evt_1\",\"type\":\"a.b\",\"x\n\":1}", NotJson),
        ("brackets that never close", deep.as_bytes(), NotJson),
        ("null", b"null", NoIdOrType),
        ("a number", b"17", NoIdOrType),
        ("a list", b"[]", NoIdOrType),
        ("an empty object", b"{}", NoIdOrType),
        ("no id", br#"{"type":"a.b"}"#, NoIdOrType),
        ("no type", br#"{"id":"evt_1"}"#, NoIdOrType),
        ("an id that is a number", br#"{"id":1,"type":"a.b"}"#, NoIdOrType),
        ("an id that is null", br#"{"id":null,"type":"a.b"}"#, NoIdOrType),
        ("an id that is a list", br#"{"id":["evt_1"],"type":"a.b"}"#, NoIdOrType),
        ("an empty id", br#"{"id":"","type":"a.b"}"#, NoIdOrType),
        ("an id with NUL", br#"{"id":"evt_\u0000","type":"a.b"}"#, NoIdOrType),
        ("a type that is true", br#"{"id":"evt_1","type":true}"#, NoIdOrType),
        ("an id with half a surrogate pair", br#"{"id":"evt_\ud800","type":"a.b"}"#, NoIdOrType),
        ("the last id counts", br#"{"id":"evt_1","type":"a.b","id":7}"#, NoIdOrType),
    ] {
        assert_eq!(read(body).map(|_| ()), Err(expected), "{name}");
    }
    let of_length = |id: usize| format!(r#"{{"id":"{}","type":"a.b"}}"#, "x".repeat(id));
    assert!(read(of_length(255).as_bytes()).is_ok());
    assert_eq!(read(of_length(256).as_bytes()).map(|_| ()), Err(NoIdOrType));
    assert_eq!([NotJson, NoIdOrType].map(NotAnEvent::reason), ["not_json", "no_id_or_type"]);
}

#[test]
fn the_least_event_is_read() {
    let event = read(br#" {"id":"evt_1","type":"a.b"} "#).expect("an event");
    assert_eq!((event.id(), event.kind(), event.livemode()), ("evt_1", "a.b", false));
    assert_eq!(event.reading(), &Reading::Ignored(IgnoredReason::Type));
}

#[test]
fn nesting_of_any_depth_is_passed_over() {
    let lists = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    for deep in [&lists, &objects] {
        for (from, to) in [
            ("\"id\":\"pi_1\"", format!("\"deep\":{deep},\"id\":\"pi_1\"")),
            ("\"data\":{", format!("\"data\":{{\"deep\":{deep},")),
            ("\"livemode\":", format!("\"deep\":{deep},\"livemode\":")),
            ("\"latest_charge\":null", format!("\"latest_charge\":{deep}")),
            ("\"metadata\":{", format!("\"metadata\":{{\"deep\":{deep},")),
            ("\"last_payment_error\":null", format!("\"last_payment_error\":{deep}")),
        ] {
            let event = read(&bent(from, &to)).unwrap_or_else(|why| panic!("{from}: {why}"));
            assert_eq!(says(&event).meaning, Meaning::Paid, "{from}");
        }
    }
}

/// RFC 8259, section 8.2: the grammar of JSON allows it, though it encodes no character.
#[test]
fn half_a_surrogate_pair_is_no_text_and_spoils_nothing_else() {
    for half in [r"\ud800", r"\udc00", r"\ude00\ud83d"] {
        for (from, to) in [
            ("\"livemode\":", format!("\"{half}\":1,\"livemode\":")),
            ("\"livemode\":", format!("\"type\":\"{half}\",\"livemode\":")),
            ("\"data\":{", format!("\"data\":\"{half}\",\"data\":{{")),
            ("\"metadata\":{", format!("\"metadata\":{{\"{half}\":\"{half}\",")),
            ("\"receipt_email\":null", format!("\"receipt_email\":\"{half}\"")),
            ("\"last_payment_error\":null", format!("\"last_payment_error\":\"{half}\"")),
            ("\"latest_charge\":null", format!("\"latest_charge\":{{\"id\":\"{half}\"}}")),
        ] {
            let event = read(&bent(from, &to)).unwrap_or_else(|why| panic!("{to}: {why}"));
            assert_eq!(says(&event), says(&paid().event()), "{to}");
        }
        let event = read(&bent("\"order_id\":\"O1\"", &format!("\"order_id\":\"{half}\"")));
        assert!(matches!(event.expect("an event").reading(), Reading::Ignored(_)), "{half}");
    }
}

#[test]
fn a_nul_in_any_text_reaches_no_database() {
    let failed = pi("pi_1")
        .order("O1")
        .failure("card\u{0}declined", "No\u{0}.")
        .email("a\u{0}@example.com")
        .event("payment_intent.payment_failed");
    let mut memory = Memory::new(Policy::default());
    memory.deliver([&failed.event()]);
    let order = memory.order("O1").expect("the order is there");
    assert_eq!(order.failure_code.as_deref(), Some("card\u{fffd}declined"));
    assert_eq!(order.failure_message.as_deref(), Some("No\u{fffd}."));
    assert_eq!(order.customer_email, None);
    // An id with NUL is no id; the charge is still known by its own.
    let event = charge("ch_1").pi("pi\u{0}").order("O1").event("charge.succeeded").event();
    let ids: Vec<&str> = says(&event).facts.ids.iter().map(|id| id.id.as_str()).collect();
    assert_eq!(ids, ["ch_1"]);
}

#[test]
fn a_long_message_is_cut() {
    let long = "ü".repeat(5000);
    let failed = pi("pi_1").failure("c", &long).event("payment_intent.payment_failed").event();
    let failure = says(&failed).facts.failure.as_ref().expect("it failed");
    assert_eq!(failure.message.as_ref().map(|text| text.chars().count()), Some(1000));
}

#[test]
fn an_event_without_a_usable_time_happened_when_it_was_sent() {
    for created in [
        json!(null),
        json!("soon"),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!([]),
        json!(u64::MAX),
        json!(253_402_300_800_i64),
    ] {
        let mut body = paid().json();
        body["created"] = created.clone();
        let event = read(body.to_string().as_bytes()).expect("an event");
        assert_eq!(
            (event.head().created, says(&event).facts.paid_at),
            (None, Some(SIGNED_AT)),
            "{created}"
        );
    }
    let event = read(&bent("\"created\":100,", "")).expect("an event");
    assert_eq!((event.head().created, says(&event).facts.paid_at), (None, Some(SIGNED_AT)));
    for (created, seconds) in [
        (json!(0), 0),
        (json!(253_402_300_799_i64), 253_402_300_799),
        (json!("2022-02-15T00:27:45.330Z"), 1_644_884_865),
    ] {
        let mut body = paid().json();
        body["created"] = created;
        let event = read(body.to_string().as_bytes()).expect("an event");
        assert_eq!(event.head().created, Some(seconds));
    }
}

#[test]
fn numbers_that_no_integer_holds_are_no_amounts() {
    for number in
        ["9223372036854775808", "1e400", "-1e400", "1e999999999", "12345678901234567890123", "0.1"]
    {
        let event =
            read(&bent("\"amount_received\":29900", &format!("\"amount_received\":{number}")));
        let event = event.unwrap_or_else(|why| panic!("{number}: {why}"));
        assert!(matches!(event.reading(), Reading::Ignored(_)), "{number}");
        // Where the number is not needed it changes nothing.
        let event =
            read(&bent("\"pending_webhooks\":1", &format!("\"pending_webhooks\":{number}")));
        assert_eq!(says(&event.expect("an event")).meaning, Meaning::Paid, "{number}");
        let event = read(&bent("\"receipt_email\":null", &format!("\"receipt_email\":{number}")));
        assert_eq!(says(&event.expect("an event")).facts.email, None, "{number}");
        let error = format!("\"last_payment_error\":{number}");
        let event = read(&bent("\"last_payment_error\":null", &error));
        assert_eq!(says(&event.expect("an event")).meaning, Meaning::Paid, "{number}");
    }
    let event = read(&bent("\"amount_received\":29900", "\"amount_received\":9223372036854775807"));
    assert_eq!(
        says(&event.expect("an event")).facts.money().and_then(|money| money.received),
        Some(i64::MAX)
    );
}

#[test]
fn the_largest_amounts_add_up_without_overflow() {
    let mut memory = Memory::new(Policy::default());
    memory.insert_order("O1", Some((i64::MAX, "usd")), 1);
    for number in 1..=3 {
        let object = pi(&format!("pi_{number}")).order("O1").amount(i64::MAX, "usd");
        memory.deliver([&object.event("payment_intent.succeeded").at(100).event()]);
        let object = charge(&format!("ch_{number}")).pi(&format!("pi_{number}"));
        let object = object.amount(i64::MAX, "usd").refunded(i64::MAX);
        memory.deliver([&object.event("charge.refunded").at(200).event()]);
    }
    let most = i64::MAX;
    assert_eq!(row(&memory, "O1"), format!("refunded {most} {most} usd paid@100 refunded@200"));
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let event = read(&bent("\"data\":{", "\"data\":{\"object\":{\"id\":\"pi_other\"}},\"data\":{"));
    assert_eq!(event.expect("an event").head().object_id.as_deref(), Some("pi_1"));
    let event = read(&bent("\"order_id\":\"O1\"", "\"order_id\":\"O1\",\"order_id\":\"O2\""));
    assert_eq!(event.expect("an event").order_id(), Some("O2"));
    let twice = "\"latest_charge\":{\"id\":\"ch_1\",\"id\":\"ch_2\"}";
    let event = read(&bent("\"latest_charge\":null", twice)).expect("an event");
    assert!(says(&event).facts.ids.iter().any(|id| id.id == "ch_2"));
    // However the key is written.
    let event = read(&bent("\"order_id\":\"O1\"", "\"order\\u005fid\":\"O3\""));
    assert_eq!(event.expect("an event").order_id(), Some("O3"));
}

#[test]
fn an_order_id_of_another_type_does_not_spoil_other_events() {
    let mut memory = Memory::new(Policy::default());
    let odd = session("cs_1").pi("pi_1").order(&"x".repeat(501));
    let odd = odd.event("checkout.session.completed");
    memory.deliver([&odd.event(), &paid().event()]);
    assert_eq!(memory.outcome(&odd.event_id()).outcome, Outcome::Ignored);
    assert_eq!(row(&memory, "O1"), "paid 29900 0 usd paid@100");
}

#[test]
fn another_delivery_of_an_event_says_the_same_or_not() {
    let rules = OrderIdRules::default();
    let event = paid().event();
    let event_says = |body: &[u8]| event.says_the_same_as(body, &rules);
    assert!(event_says(&paid().body()));
    // Stripe counts this down between deliveries.
    assert!(event_says(&bent("\"pending_webhooks\":1", "\"pending_webhooks\":0")));
    assert!(event_says(&bent("\"type\":", " \"type\": ")));
    assert!(!event_says(&bent("\"amount_received\":29900", "\"amount_received\":29901")));
    assert!(!event_says(&bent("\"O1\"", "\"O2\"")));
    assert!(!event_says(&bent("\"created\":100,", "\"created\":101,")));
    assert!(!event_says(b"no JSON"));
    let timeless = read(&bent("\"created\":100,", "")).expect("an event");
    let timeless_says = |body: &[u8]| timeless.says_the_same_as(body, &rules);
    assert!(timeless_says(&bent("\"created\":100,", " ")));
}

proptest! {
    #![proptest_config(Config {
        cases: PROPERTY_CASES,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_to_an_event_makes_it_panic(
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        insert in "[\\[\\]{}\":,0-9a-z\\\\]{0,8}",
    ) {
        let body = paid().body();
        let at = at.index(body.len());
        let end = (at + cut).min(body.len());
        let mut damaged = String::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        write!(damaged, "{}{insert}{}", text(&body[..at]), text(&body[end..])).expect("to a String");
        if let Ok(event) = read(damaged.as_bytes()) {
            Memory::new(Policy::default()).deliver([&event]);
        }
    }
}
