//! Whose event it is, and whether it counts: where an order id may stand and what it may look like,
//! parked events, the operator's choices, what is the shop's own, and what is told of a change.

use paidup::domain::order::{OrderSnapshot, Problem, Status, kinds};
use paidup::domain::outcome::Outcome;
use paidup::domain::payment::dispute::{Dispute, DisputeStatus};
use paidup::domain::policy::{Mode, Policy, UnknownOrders};
use serde_json::{Value, json};

use crate::support::fixtures::{
    EventBody, Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};
use crate::support::memory::Memory;
use crate::support::stories::{delivered, row, told};

const PAID: &str = "payment_intent.succeeded";
const COMPLETED: &str = "checkout.session.completed";

fn with_metadata(object: Object, metadata: Value) -> Object {
    object.set("metadata", metadata)
}

#[test]
fn each_place_names_the_order_by_its_rank() {
    let details = |order: Value| json!({"subscription": "sub_1", "metadata": {"order_id": order}});
    let empty = || Value::from("");
    for (name, event, expected) in [
        ("a PaymentIntent", pi("pi_1").order("O1").event(PAID), Some("O1")),
        ("a charge", charge("ch_1").order("O1").event("charge.succeeded"), Some("O1")),
        ("a refund", refund("re_1").order("O1").event("refund.created"), Some("O1")),
        ("a dispute", dispute("dp_1").order("O1").event("charge.dispute.created"), Some("O1")),
        ("a session", session("cs_1").order("O1").event(COMPLETED), Some("O1")),
        (
            "its client reference, which anyone can choose",
            session("cs_1").client_reference("O1").event(COMPLETED),
            None,
        ),
        (
            "metadata before the client reference",
            session("cs_1").order("O1").client_reference("O2").event(COMPLETED),
            Some("O1"),
        ),
        (
            "a client reference means nothing on a PaymentIntent",
            pi("pi_1").client_reference("O1").event(PAID),
            None,
        ),
        ("an invoice", invoice("in_1").order("O1").event("invoice.paid"), Some("O1")),
        ("its line", invoice("in_1").line_order("O1").event("invoice.paid"), Some("O1")),
        (
            "the first line that names one",
            invoice("in_1").line_order("O1").line_order("O2").event("invoice.paid"),
            Some("O1"),
        ),
        (
            "the subscription's before the line's",
            invoice("in_1").subscription_order("O1").line_order("O2").event("invoice.paid"),
            Some("O1"),
        ),
        (
            "the invoice's own before the subscription's",
            invoice("in_1").order("O1").subscription_order("O2").event("invoice.paid"),
            Some("O1"),
        ),
        (
            "the subscription's before basil",
            old_invoice("in_1").subscription_order("O1").event("invoice.paid"),
            Some("O1"),
        ),
        (
            "basil's place before the older one",
            invoice("in_1")
                .subscription_order("O1")
                .set("subscription_details", details("O2".into()))
                .event("invoice.paid"),
            Some("O1"),
        ),
        (
            "a subscription",
            subscription("sub_1").order("O1").event("customer.subscription.updated"),
            Some("O1"),
        ),
        ("lines as a bare list", bare_lines(), Some("O1")),
        ("no metadata", pi("pi_1").without("metadata").event(PAID), None),
        ("metadata null", with_metadata(pi("pi_1"), Value::Null).event(PAID), None),
        ("metadata {}", with_metadata(pi("pi_1"), json!({})).event(PAID), None),
        ("metadata []", with_metadata(pi("pi_1"), json!([])).event(PAID), None),
        ("metadata a text", with_metadata(pi("pi_1"), json!("order_id")).event(PAID), None),
        ("order_id null", with_metadata(pi("pi_1"), json!({"order_id": null})).event(PAID), None),
        (
            "order_id a number",
            with_metadata(pi("pi_1"), json!({"order_id": 17})).event(PAID),
            Some("17"),
        ),
        (
            "another case is another key",
            with_metadata(pi("pi_1"), json!({"Order_Id": "O1"})).event(PAID),
            None,
        ),
        (
            "an empty detail is no order",
            {
                let parent = json!({"subscription_details": details(Value::Null)});
                invoice("in_1").set("parent", parent).line_order("O1").event("invoice.paid")
            },
            Some("O1"),
        ),
        (
            "umlauts and spaces",
            pi("pi_1").order("Größe 7 / 日本").event(PAID),
            Some("Größe 7 / 日本"),
        ),
        ("500 bytes", pi("pi_1").order(&"x".repeat(500)).event(PAID), Some(&"x".repeat(500))),
        ("501 bytes are refused", pi("pi_1").order(&"x".repeat(501)).event(PAID), None),
        ("500 characters of two bytes are", pi("pi_1").order(&"ü".repeat(500)).event(PAID), None),
        (
            "an empty text",
            with_metadata(pi("pi_1"), json!({"order_id": empty()})).event(PAID),
            None,
        ),
    ] {
        assert_eq!(event.event().order_id(), expected, "{name}");
    }
}

fn bare_lines() -> EventBody {
    let lines = json!([{"metadata": {}}, {"metadata": {"order_id": "O1"}}]);
    invoice("in_1").set("lines", lines).event("invoice.paid")
}

#[test]
fn an_order_id_that_cannot_be_one_makes_the_event_ignored_with_why() {
    for (order_id, why) in [
        (json!("x".repeat(501)), "its order id is 501 bytes long; 1 to 500 are allowed"),
        (json!(""), "its order id is 0 bytes long; 1 to 500 are allowed"),
        (json!("O\u{0}1"), "its order id holds control characters"),
        (json!("O1\n"), "its order id holds control characters"),
        (json!("O\u{85}1"), "its order id holds control characters"),
        (json!(true), "its order id is not a text"),
        (json!(1.5), "its order id is not a text"),
        (json!({"no": "id"}), "its order id is not a text"),
        (json!(["O1"]), "its order id is not a text"),
    ] {
        let event = with_metadata(pi("pi_1"), json!({"order_id": order_id})).event(PAID);
        let memory = delivered(std::slice::from_ref(&event));
        let outcome = memory.outcome(&event.event_id());
        assert_eq!((outcome.outcome, outcome.reason.as_str()), (Outcome::Ignored, why));
        assert!(memory.rows().is_empty() && memory.payments().is_empty());
    }
}

#[test]
fn an_amount_that_cannot_be_read_does_not_count_as_all() {
    for amount in [json!(-1), json!("29900"), json!(299.5), json!(1e30), json!([]), json!(u64::MAX)]
    {
        let event = pi("pi_1").order("O1").set("amount_received", amount).event(PAID);
        let memory = delivered(std::slice::from_ref(&event));
        let outcome = memory.outcome(&event.event_id());
        let why = "amount_received is not a whole, non-negative number of minor units";
        assert_eq!((outcome.outcome, outcome.reason.as_str()), (Outcome::Ignored, why));
    }
}

#[test]
fn events_on_which_no_order_depends_are_ignored_with_why() {
    let of_type = |kind: &str| pi("pi_1").order("O1").event(kind);
    for (event, why) in [
        (of_type("payout.paid"), "no order depends on events of this type"),
        (of_type("invoiceitem.created"), "no order depends on events of this type"),
        (of_type("a.type.of.the.future"), "no order depends on events of this type"),
        (pi("pi_1").without("id").event(PAID), "its object has no id"),
        (refund("re_1").without("id").event("refund.created"), "its object has no id"),
        (
            subscription("sub_1").event("customer.subscription.created"),
            "this subscription's metadata names no order",
        ),
    ] {
        let memory = delivered(std::slice::from_ref(&event));
        let outcome = memory.outcome(&event.event_id());
        assert_eq!((outcome.outcome, outcome.reason.as_str()), (Outcome::Ignored, why));
    }
}

#[test]
fn parked_events_are_joined_by_the_event_that_links_them() {
    let paid = pi("pi_1").event(PAID).at(100);
    let refunded = charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded").at(300);
    let completed = session("cs_1").pi("pi_1").order("O1").event(COMPLETED).at(200);
    // Split in every way, one batch included.
    for cut in 0..8_u32 {
        let mut memory = Memory::new(Policy::default());
        let mut batch = Vec::new();
        for (index, event) in [&paid, &refunded, &completed].into_iter().enumerate() {
            batch.push(event.event());
            if cut & (1 << index) != 0 {
                memory.deliver(&std::mem::take(&mut batch));
            }
        }
        memory.deliver(&batch);
        let expected = "partially_refunded 29900 100 usd paid@100 refunded@300";
        assert_eq!(row(&memory, "O1"), expected, "cut {cut}");
        assert_eq!(told(&memory, "O1"), "partially_refunded", "cut {cut}");
        for event in [&paid, &refunded, &completed] {
            let outcome = memory.outcome(&event.event_id());
            assert_eq!(outcome.outcome, Outcome::Applied, "cut {cut}");
            assert_eq!(outcome.order_id.as_deref(), Some("O1"), "cut {cut}");
            assert_eq!(outcome.payment_key.as_deref(), Some("pi_1"), "cut {cut}");
        }
    }
}

#[test]
fn the_payment_is_named_by_the_most_telling_id() {
    for (event, key) in [
        (pi("pi_1").charge("ch_1").invoice("in_1").event(PAID), "pi_1"),
        (charge("ch_1").pi("pi_1").invoice("in_1").event("charge.succeeded"), "pi_1"),
        (charge("ch_1").invoice("in_1").event("charge.succeeded"), "in_1"),
        (charge("ch_1").event("charge.succeeded"), "ch_1"),
        (refund("re_1").pi("pi_1").charge("ch_1").event("refund.created"), "pi_1"),
        (refund("re_1").charge("ch_1").event("refund.created"), "ch_1"),
        (refund("re_1").event("refund.created"), "re_1"),
        (dispute("dp_1").charge("ch_1").event("charge.dispute.created"), "ch_1"),
        (session("cs_1").pi("pi_1").event(COMPLETED), "pi_1"),
        (session("cs_1").invoice("in_1").event(COMPLETED), "in_1"),
        (session("cs_1").event(COMPLETED), "cs_1"),
        (old_invoice("in_1").pi("pi_1").charge("ch_1").event("invoice.paid"), "pi_1"),
        (invoice("in_1").event("invoice.paid"), "in_1"),
        (
            invoice_payment("inpay_1").pi("pi_1").invoice("in_1").event("invoice_payment.paid"),
            "pi_1",
        ),
        (invoice_payment("i").charge("ch_1").invoice("in_1").event("invoice_payment.paid"), "in_1"),
        // What Stripe calls expanded: the whole object where its id could stand.
        (
            charge("ch_1").set("payment_intent", json!({"id": "pi_1"})).event("charge.succeeded"),
            "pi_1",
        ),
    ] {
        let memory = delivered(std::slice::from_ref(&event));
        assert_eq!(
            memory.outcome(&event.event_id()).payment_key.as_deref(),
            Some(key),
            "{event:?}"
        );
    }
}

#[test]
fn hold_keeps_an_unknown_order_parked_until_the_shop_inserts_it() {
    let mut memory =
        Memory::new(Policy { unknown_orders: UnknownOrders::Hold, ..Policy::default() });
    let paid = pi("pi_1").order("O1").event(PAID).at(100);
    memory.deliver([&paid.event()]);
    assert_eq!(row(&memory, "O1"), "none");
    assert_eq!(memory.outcome(&paid.event_id()).outcome, Outcome::Parked);
    assert_eq!(memory.outcome(&paid.event_id()).order_id.as_deref(), Some("O1"));

    memory.insert_order("O1", Some((29_900, "usd")), 500);
    memory.take_up(&["O1"]);
    assert_eq!(row(&memory, "O1"), "paid 29900 0 usd paid@100");
    assert_eq!(told(&memory, "O1"), "paid");
    let change = memory.changes("O1")[0];
    assert_eq!((change.version, change.from, &change.event_id), (1, Some(Status::Pending), &None));
    // The row is the shop's, and so is its age.
    assert_eq!(memory.order("O1").map(|order| order.created_at), Some(500));

    memory.take_up(&["O1"]);
    assert_eq!(told(&memory, "O1"), "paid", "a second sweep tells nothing");
}

#[test]
fn a_held_order_is_taken_up_by_its_next_event_too() {
    let mut memory =
        Memory::new(Policy { unknown_orders: UnknownOrders::Hold, ..Policy::default() });
    memory.deliver([&pi("pi_1").order("O1").event(PAID).at(100).event()]);
    memory.insert_order("O1", None, 50);
    memory.deliver([&charge("ch_1")
        .pi("pi_1")
        .refunded(29_900)
        .event("charge.refunded")
        .at(200)
        .event()]);
    assert_eq!(row(&memory, "O1"), "refunded 29900 29900 usd paid@100 refunded@200");
    assert_eq!(told(&memory, "O1"), "refunded");
}

#[test]
fn events_of_the_other_mode_are_ignored_with_why() {
    let live = pi("pi_1").order("O1").event(PAID).id("evt_live");
    let test = pi("pi_2").order("O2").event(PAID).id("evt_test").test();
    for (mode, live_verdict, test_verdict) in [
        (Mode::Live, Outcome::Applied, Outcome::Ignored),
        (Mode::Test, Outcome::Ignored, Outcome::Applied),
    ] {
        let mut memory = Memory::new(Policy { mode, ..Policy::default() });
        memory.deliver([&live.event(), &test.event()]);
        let verdicts = ["evt_live", "evt_test"].map(|id| memory.outcome(id).outcome);
        assert_eq!(verdicts, [live_verdict, test_verdict], "{mode:?}");
        for (id, verdict) in [("O1", live_verdict), ("O2", test_verdict)] {
            assert_eq!(memory.order(id).is_some(), verdict == Outcome::Applied, "{mode:?} {id}");
        }
    }
    let mut memory = Memory::new(Policy { mode: Mode::Live, ..Policy::default() });
    memory.deliver([&test.event()]);
    let why = "a test event, and STRIPE_MODE is live";
    assert_eq!(memory.outcome("evt_test").reason, why);
}

#[test]
fn the_address_of_the_most_telling_object_counts_and_the_shops_own_most() {
    let charged = charge("ch_1").pi("pi_1").email("charge@example.com").event("charge.succeeded");
    let paid = pi("pi_1").order("O1").email("intent@example.com").event(PAID);
    let completed = session("cs_1").pi("pi_1").email("session@example.com").event(COMPLETED);
    let nonsense = session("cs_2").pi("pi_1").email("not an address").event(COMPLETED);
    let second = pi("pi_2").order("O1").email("a@example.com").event(PAID);
    for (events, own, expected) in [
        (vec![&paid], None, Some("intent@example.com")),
        (vec![&paid, &second], None, Some("intent@example.com")),
        (vec![&paid, &charged], None, Some("intent@example.com")),
        (vec![&charged, &paid, &completed, &nonsense], None, Some("session@example.com")),
        (vec![&completed, &paid], None, Some("session@example.com")),
        (vec![&paid, &completed], Some("shop@example.com"), Some("shop@example.com")),
        // The same address in both is still the shop's, whatever came first.
        (vec![&paid, &completed], Some("intent@example.com"), Some("intent@example.com")),
        (vec![&completed, &paid], Some("intent@example.com"), Some("intent@example.com")),
    ] {
        let mut memory = Memory::new(Policy::default());
        memory.insert_order("O1", None, 1);
        if let Some(own) = own {
            memory.set_email("O1", own);
        }
        for event in events {
            memory.deliver([&event.event()]);
        }
        let email = memory.order("O1").and_then(|order| order.customer_email.as_deref());
        assert_eq!(email, expected);
    }
}

#[test]
fn an_outcome_says_what_changed_or_why_nothing_did() {
    let events = [
        pi("pi_1").order("O1").event("payment_intent.created").at(100),
        pi("pi_1").order("O1").event(PAID).at(200),
        pi("pi_1").order("O1").event(PAID).at(300),
        pi("pi_1").event("payment_intent.payment_failed").at(300),
        pi("pi_1").event("payment_intent.payment_failed").at(400),
        pi("pi_1").event("payment_intent.processing").at(500),
        charge("ch_1").pi("pi_1").refunded(100).event("charge.refunded").at(600),
        dispute("dp_1").charge("ch_1").event("charge.dispute.created").at(700),
        pi("pi_2").order("O1").event(PAID).at(800),
        pi("pi_3").order("O1").event(PAID).test().at(900),
        pi("pi_4").event(PAID).at(1000),
    ];
    let memory = delivered(&events);
    let reasons = events.map(|event| memory.outcome(&event.event_id()).reason.clone());
    assert_eq!(
        reasons,
        [
            "new → pending",
            "pending → paid; received 29900 usd",
            "it says nothing new; the order was paid already",
            "details only; the order stays paid",
            "a failure does not undo a payment; the order is paid",
            "it says nothing new; the order was paid already",
            "paid → partially_refunded; refunded 100 usd",
            "disputed 29900 usd; dispute open",
            "partially_refunded → paid; received 59800 usd; problem overpaid",
            "a test event, and STRIPE_MODE is live",
            "no order id yet; it waits for an event that links its payment to one",
        ]
    );
}

#[test]
fn each_change_is_recorded_once_from_what_was_committed() {
    let paid = pi("pi_1").order("O1").event(PAID).at(100).event();
    let failed = pi("pi_1").order("O1").event("payment_intent.payment_failed").at(50).event();
    let refunded = charge("ch_1").pi("pi_1").refunded(29_900).event("charge.refunded").event();
    // All in one batch: failed and paid were never committed, so nobody is told of them.
    let mut memory = Memory::new(Policy::default());
    memory.deliver([&failed, &paid, &refunded, &paid]);
    let change = memory.changes("O1")[0];
    assert_eq!(told(&memory, "O1"), "refunded");
    assert_eq!((change.version, change.from), (1, None));
    assert_eq!(change.event_id.as_deref(), Some(refunded.id()));
    // Each in its own, with a duplicate: each is told once, and the versions count up.
    let mut memory = Memory::new(Policy::default());
    for event in [&failed, &paid, &paid, &refunded, &failed] {
        memory.deliver([event]);
    }
    assert_eq!(told(&memory, "O1"), "failed paid refunded");
    let versions: Vec<i64> = memory.changes("O1").iter().map(|change| change.version).collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(memory.order("O1").map(|order| order.version), Some(3));
}

/// A snapshot with these amounts.
fn snapshot(status: Status, received: i64, refunded: i64) -> OrderSnapshot {
    OrderSnapshot {
        status,
        amount_received: received,
        amount_refunded: refunded,
        ..OrderSnapshot::default()
    }
}

#[test]
fn notifications_follow_the_money() {
    use Status as S;
    let none: &[&str] = &[];
    // What was before, what is now, and what was received when the order was last announced as paid.
    for (name, from, to, announced, expected) in [
        ("new and pending", None, snapshot(S::Pending, 0, 0), None, none),
        ("new and paid", None, snapshot(S::Paid, 5, 0), None, &["order.paid"]),
        ("nothing was payable", None, snapshot(S::Paid, 0, 0), None, &["order.paid"]),
        ("new and failed", None, snapshot(S::Failed, 0, 0), None, &["order.failed"]),
        ("canceled", None, snapshot(S::Canceled, 0, 0), None, &["order.canceled"]),
        ("under way", None, snapshot(S::Processing, 0, 0), None, &["order.processing"]),
        ("reserved", None, snapshot(S::Authorized, 0, 0), None, &["order.authorized"]),
        ("new and refunded", None, snapshot(S::Refunded, 5, 5), None, &["order.refunded"]),
        (
            "paid after a failure",
            Some(snapshot(S::Failed, 0, 0)),
            snapshot(S::Paid, 5, 0),
            None,
            &["order.paid"],
        ),
        (
            "paid again because a refund failed",
            Some(snapshot(S::Refunded, 5, 5)),
            snapshot(S::Paid, 5, 0),
            Some(5),
            none,
        ),
        (
            "the shop asks for less, and what came is enough",
            Some(snapshot(S::Pending, 5, 0)),
            snapshot(S::Paid, 5, 0),
            None,
            &["order.paid"],
        ),
        (
            "paid a second time",
            Some(snapshot(S::Paid, 5, 0)),
            snapshot(S::Paid, 9, 0),
            Some(5),
            none,
        ),
        (
            "a refund that leaves it paid",
            Some(snapshot(S::Paid, 9, 0)),
            snapshot(S::Paid, 9, 4),
            Some(9),
            &["order.partially_refunded"],
        ),
        (
            "a refund while a renewal failed",
            Some(snapshot(S::Failed, 9, 0)),
            snapshot(S::Failed, 9, 4),
            Some(9),
            &["order.partially_refunded"],
        ),
        (
            "a further part",
            Some(snapshot(S::PartiallyRefunded, 9, 4)),
            snapshot(S::PartiallyRefunded, 9, 5),
            Some(9),
            &["order.partially_refunded"],
        ),
        (
            "the same part",
            Some(snapshot(S::PartiallyRefunded, 9, 5)),
            snapshot(S::PartiallyRefunded, 9, 5),
            Some(9),
            none,
        ),
        (
            "all",
            Some(snapshot(S::PartiallyRefunded, 9, 5)),
            snapshot(S::Refunded, 9, 9),
            Some(9),
            &["order.refunded"],
        ),
        (
            "back to pending",
            Some(snapshot(S::Paid, 5, 0)),
            snapshot(S::Pending, 5, 0),
            Some(5),
            none,
        ),
    ] {
        assert_eq!(kinds(from.as_ref(), &to, announced), expected, "{name}");
    }
}

#[test]
fn renewals_failed_refunds_and_problems_are_notified() {
    use {Problem as P, Status as S};
    let none: &[&str] = &[];
    let renewed = |received, renewals| OrderSnapshot { renewals, ..snapshot(S::Paid, received, 0) };
    let failed = |refunds_failed| OrderSnapshot { refunds_failed, ..snapshot(S::Paid, 5, 0) };
    let problem = |problem| OrderSnapshot { problem, ..snapshot(S::Pending, 1, 0) };
    for (name, from, to, announced, expected) in [
        ("a renewal", renewed(5, 0), renewed(9, 1), Some(5), &["order.renewed"][..]),
        (
            "a renewal after a failure",
            OrderSnapshot { status: S::Failed, ..renewed(5, 0) },
            renewed(9, 1),
            Some(5),
            &["order.renewed"],
        ),
        ("the first payment", renewed(0, 0), renewed(9, 1), None, &["order.paid"]),
        ("a refund failed", failed(0), failed(1), Some(5), &["order.refund_failed"]),
        ("and another", failed(1), failed(2), Some(5), &["order.refund_failed"]),
        ("underpaid", problem(None), problem(Some(P::Underpaid)), None, &["order.problem"]),
        (
            "another problem",
            problem(Some(P::Underpaid)),
            problem(Some(P::WrongCurrency)),
            None,
            &["order.problem"],
        ),
        ("solved", problem(Some(P::Underpaid)), problem(None), None, none),
    ] {
        let from = if name == "the first payment" { snapshot(S::Pending, 0, 0) } else { from };
        assert_eq!(kinds(Some(&from), &to, announced), expected, "{name}");
    }
}

#[test]
fn every_change_of_a_dispute_is_notified() {
    use DisputeStatus as D;
    let none: &[&str] = &[];
    let disputed = |disputes: &[(&str, D)]| {
        let dispute = |status| Dispute {
            at: 1,
            status,
            amount: Some(5),
            currency: None,
            reason: None,
            due_by: None,
        };
        let disputes = disputes.iter().map(|(id, status)| ((*id).to_owned(), dispute(*status)));
        OrderSnapshot { disputes: disputes.collect(), ..snapshot(Status::Paid, 5, 0) }
    };
    for (from, to, expected) in [
        (&[][..], &[("dp_1", D::Inquiry)][..], &["order.dispute_opened"][..]),
        (&[("dp_1", D::Inquiry)], &[("dp_1", D::Open)], &["order.dispute_opened"]),
        (&[("dp_1", D::Open)], &[("dp_1", D::Open)], none),
        (&[("dp_1", D::Open)], &[("dp_1", D::Won)], &["order.dispute_closed"]),
        (&[("dp_1", D::Open)], &[("dp_1", D::Lost)], &["order.dispute_closed"]),
        (&[("dp_1", D::Open)], &[("dp_1", D::Prevented)], &["order.dispute_closed"]),
        (&[("dp_1", D::Lost)], &[("dp_1", D::Open)], &["order.dispute_opened"]),
        (&[("dp_1", D::Lost)], &[("dp_1", D::Won)], &["order.dispute_closed"]),
        (&[("dp_1", D::Open)], &[("dp_1", D::Unknown)], &["order.dispute_opened"]),
        // A second one beside an open one.
        (&[("dp_1", D::Open)], &[("dp_1", D::Open), ("dp_2", D::Open)], &["order.dispute_opened"]),
        (
            &[("dp_1", D::Open), ("dp_2", D::Open)],
            &[("dp_1", D::Lost), ("dp_2", D::Unknown)],
            &["order.dispute_opened", "order.dispute_closed"],
        ),
    ] {
        let kinds = kinds(Some(&disputed(from)), &disputed(to), Some(5));
        assert_eq!(kinds, expected, "{from:?} to {to:?}");
    }
}
