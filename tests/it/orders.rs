//! The fold, one row for each rule and each trap: events in the order they come, then the order that
//! they end in, what was told on the way, and what became of each event. How a row is written is
//! explained in `support/stories.rs`; who may name an order, and how, is in `rules.rs`.

use crate::support::fixtures::{
    EventBody, Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};
use crate::support::stories::{delivered, row, story, told};

fn succeeded(object: Object) -> EventBody {
    object.event("payment_intent.succeeded")
}

fn failed(object: Object) -> EventBody {
    object
        .failure("card_declined", "Your card was declined.")
        .event("payment_intent.payment_failed")
}

/// PaymentIntent `pi_1` of order O1 over 29900 usd.
fn pi_1() -> Object {
    pi("pi_1").order("O1")
}

fn charge_1() -> Object {
    charge("ch_1").pi("pi_1")
}

fn refund_1() -> Object {
    refund("re_1").pi("pi_1").charge("ch_1")
}

fn dispute_1() -> Object {
    dispute("dp_1").pi("pi_1").charge("ch_1")
}

/// The session of `pi_1`; its PaymentIntent does not know the order.
fn session_1() -> Object {
    session("cs_1").pi("pi_1").order("O1")
}

#[test]
fn payments_that_succeed_or_fail() {
    for story in [
        story("a PaymentIntent succeeds", vec![succeeded(pi_1()).at(100)]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "a",
        ),
        story("a PaymentIntent is only created", vec![pi_1().event("payment_intent.created")])
            .ends("pending 0 0 usd", "-", "a"),
        story("an attempt fails", vec![failed(pi_1()).at(100)]).ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "a",
        ),
        story(
            "a late failure does not undo a payment",
            vec![succeeded(pi_1()).at(100), failed(pi_1()).at(200)],
        )
        .ends("paid 29900 0 usd paid@100 failed@200", "paid", "aa"),
        story(
            "a cancellation does not undo a payment",
            vec![succeeded(pi_1()).at(100), pi_1().event("payment_intent.canceled").at(100)],
        )
        .ends("paid 29900 0 usd paid@100 failed@100", "paid", "aa"),
        story(
            "a failure of before comes after",
            vec![succeeded(pi_1()).at(100), failed(pi_1()).at(50), failed(pi_1()).at(60)],
        )
        .ends("paid 29900 0 usd paid@100 failed@50", "paid", "aau"),
        story(
            "the second attempt succeeds",
            vec![failed(pi_1()).at(100), succeeded(pi_1()).at(200)],
        )
        .ends("paid 29900 0 usd paid@200 failed@100", "failed paid", "aa"),
        story(
            "the earliest word on a payment is its time",
            vec![
                succeeded(pi_1()).at(200),
                charge_1().event("charge.succeeded").at(100),
                charge_1().event("charge.succeeded").at(300),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aau"),
        story(
            "the last failure is told, and the first one's time",
            vec![
                failed(pi_1()).at(100),
                pi_1()
                    .failure("expired_card", "Expired.")
                    .event("payment_intent.payment_failed")
                    .at(200),
            ],
        )
        .ends(
            "failed 0 0 usd code=expired_card message=Expired. failed@100",
            "failed",
            "aa",
        ),
        story(
            "a failure without code does not hide one with",
            vec![
                failed(pi_1()).at(100),
                session_1().payment_status("unpaid").event("checkout.session.async_payment_failed"),
            ],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "au",
        ),
        story(
            "a cancellation is the last word on a failure",
            vec![
                pi_1()
                    .set("cancellation_reason", "abandoned")
                    .event("payment_intent.canceled")
                    .at(100),
                failed(pi_1()).at(200),
            ],
        )
        .ends("failed 0 0 usd code=canceled message=abandoned failed@100", "failed", "au"),
        story(
            "a charge fails with its own code",
            vec![
                pi_1().event("payment_intent.created"),
                charge_1()
                    .failure("insufficient_funds", "Too little.")
                    .event("charge.failed")
                    .at(100),
            ],
        )
        .ends(
            "failed 0 0 usd code=insufficient_funds message=Too little. failed@100",
            "- failed",
            "aa",
        ),
        story(
            "the decline code stands in for the code",
            vec![
                pi_1()
                    .set("last_payment_error", serde_json::json!({"decline_code": "do_not_honor"}))
                    .event("payment_intent.payment_failed")
                    .at(100),
            ],
        )
        .ends("failed 0 0 usd code=do_not_honor failed@100", "failed", "a"),
        story(
            "the second of two PaymentIntents succeeds",
            vec![failed(pi_1()).at(100), succeeded(pi("pi_2").order("O1")).at(200)],
        )
        .ends("paid 29900 0 usd paid@200 failed@100", "failed paid", "aa"),
        story(
            "two PaymentIntents for one order: paid twice",
            vec![succeeded(pi_1()).at(100), succeeded(pi("pi_2").order("O1")).at(200)],
        )
        .ends("paid 59800 0 usd problem=overpaid paid@100", "paid problem", "aa"),
        story(
            "the second payment is given back",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(200),
                charge("ch_2").pi("pi_2").refunded(29900).event("charge.refunded").at(300),
            ],
        )
        .ends("paid 59800 29900 usd paid@100 refunded@300", "paid problem -", "aaa"),
        story(
            "the same event comes twice",
            vec![succeeded(pi_1()).at(100), succeeded(pi_1()).at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aa"),
    ] {
        story.check();
    }
}

#[test]
fn charges_and_reservations() {
    for story in [
        story(
            "a charge alone, with its own metadata",
            vec![charge("ch_1").order("O1").event("charge.succeeded").at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "a"),
        story(
            "a charge that is not captured pays nothing",
            vec![charge("ch_1").order("O1").uncaptured().event("charge.succeeded")],
        )
        .ends("pending 0 0 usd", "-", "a"),
        story(
            "it is captured in part",
            vec![
                charge("ch_1").order("O1").uncaptured().event("charge.succeeded"),
                charge("ch_1")
                    .order("O1")
                    .set("amount_captured", 500)
                    .event("charge.captured")
                    .at(100),
            ],
        )
        .ends("paid 500 0 usd paid@100", "- paid", "aa"),
        story(
            "a reservation given back is a cancellation, not a refund",
            vec![
                charge("ch_1")
                    .order("O1")
                    .uncaptured()
                    .refunded(29900)
                    .event("charge.refunded")
                    .at(100),
            ],
        )
        .ends("failed 0 0 usd code=canceled failed@100", "failed", "a"),
        story(
            "a reservation expires",
            vec![charge("ch_1").order("O1").uncaptured().event("charge.expired").at(100)],
        )
        .ends("failed 0 0 usd code=expired failed@100", "failed", "a"),
        story(
            "a PaymentIntent knows its amount better than its charge",
            vec![
                charge_1().amount(500, "usd").event("charge.succeeded").at(100),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "aa"),
        story(
            "a charge that only says pending or updated",
            vec![
                charge("ch_1").order("O1").event("charge.pending"),
                charge("ch_1").order("O1").event("charge.updated"),
            ],
        )
        .ends("pending 0 0 usd", "-", "au"),
    ] {
        story.check();
    }
}

#[test]
fn refunds() {
    let refunded = |part: i64| charge_1().refunded(part).event("charge.refunded");
    for story in [
        story(
            "a refund comes before its payment",
            vec![
                charge_1().order("O1").refunded(29900).event("charge.refunded").at(200),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "refunded", "aa"),
        story(
            "a part, then all",
            vec![succeeded(pi_1()).at(100), refunded(9900).at(200), refunded(29900).at(300)],
        )
        .ends(
            "refunded 29900 29900 usd paid@100 refunded@200",
            "paid partially_refunded refunded",
            "aaa",
        ),
        story(
            "all, then the part of before",
            vec![succeeded(pi_1()).at(100), refunded(29900).at(300), refunded(9900).at(200)],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aaa"),
        story(
            "each part is told",
            vec![succeeded(pi_1()).at(100), refunded(100).at(200), refunded(200).at(300)],
        )
        .ends(
            "partially_refunded 29900 200 usd paid@100 refunded@200",
            "paid partially_refunded partially_refunded",
            "aaa",
        ),
        story(
            "a failed refund makes it paid again",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().event("refund.created").at(200),
                refund_1().status("failed").event("refund.failed").at(300),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid refunded paid", "aaa"),
        story(
            "a refund that failed is not revived by its past",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("failed").event("refund.failed").at(300),
                refund_1().status("pending").event("refund.created").at(200),
                refund_1().event("charge.refund.updated").at(250),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "auuu"),
        story(
            "a failed refund is taken off what the charge said",
            vec![
                succeeded(pi_1()).at(100),
                refunded(29900).at(200),
                refund_1().amount(20000, "usd").status("failed").event("refund.failed").at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 9900 usd paid@100 refunded@200",
            "paid refunded partially_refunded",
            "aaa",
        ),
        story(
            "a canceled refund is a failed one",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("canceled").event("refund.updated").at(300),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "au"),
        story(
            "a pending refund is under way, and counts",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().amount(900, "usd").status("pending").event("refund.created").at(200),
            ],
        )
        .ends(
            "partially_refunded 29900 900 usd paid@100 refunded@200",
            "paid partially_refunded",
            "aa",
        ),
        story(
            "a refund without metadata, known by its charge alone",
            vec![
                pi_1().charge("ch_1").event("payment_intent.succeeded").at(100),
                refund("re_1").charge("ch_1").event("refund.created").at(200),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "two refunds add up; the charge says it as a sum",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().amount(100, "usd").event("refund.created").at(200),
                refund("re_2").pi("pi_1").amount(200, "usd").event("refund.created").at(300),
                refunded(300).at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 300 usd paid@100 refunded@200",
            "paid partially_refunded partially_refunded",
            "aaau",
        ),
        story("more than all is all", vec![succeeded(pi_1()).at(100), refunded(99999).at(200)])
            .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "a refund implies that the charge was paid",
            vec![charge("ch_1").order("O1").refunded(100).event("charge.refunded").at(200)],
        )
        .ends(
            "partially_refunded 29900 100 usd paid@200 refunded@200",
            "partially_refunded",
            "a",
        ),
        story(
            "a refund alone pays nothing",
            vec![refund_1().order("O1").event("refund.created").at(200)],
        )
        .ends("pending 0 0 usd", "-", "a"),
        story(
            "one of two payments refunded: the order stays paid",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(100),
                refunded(500).at(200),
            ],
        )
        .ends(
            "paid 59800 500 usd problem=overpaid paid@100 refunded@200",
            "paid problem -",
            "aaa",
        ),
        story(
            "one wholly, one in part",
            vec![
                succeeded(pi_1()).at(100),
                succeeded(pi("pi_2").order("O1")).at(100),
                refunded(29900).at(200),
                charge("ch_2").pi("pi_2").refunded(1).event("charge.refunded").at(300),
            ],
        )
        .ends(
            "partially_refunded 59800 29901 usd paid@100 refunded@200",
            "paid problem - partially_refunded",
            "aaaa",
        ),
        story(
            "the refunds that an old charge lists",
            vec![
                charge("ch_1")
                    .order("O1")
                    .refunded(500)
                    .set(
                        "refunds",
                        serde_json::json!({"object": "list", "data": [
                            {"id": "re_1", "amount": 500, "status": "succeeded"},
                            {"id": "re_2", "amount": 700, "status": "failed"},
                        ]}),
                    )
                    .event("charge.refunded")
                    .at(200),
                // Had the list not been read, these 500 would be taken for others than re_1's.
                refund("re_3").charge("ch_1").amount(100, "usd").event("refund.created").at(300),
            ],
        )
        .ends(
            "partially_refunded 29900 600 usd paid@200 refunded@200",
            "partially_refunded partially_refunded",
            "aa",
        ),
    ] {
        story.check();
    }
}

#[test]
fn disputes_stand_beside_the_status() {
    let becomes = |status: &str, kind: &str| dispute_1().status(status).event(kind);
    let paid = || succeeded(pi_1()).at(100);
    let created = "charge.dispute.created";
    for (name, events, dispute, kinds) in [
        ("open", vec![becomes("needs_response", created)], "open", "dispute_opened"),
        ("under review", vec![becomes("under_review", created)], "open", "dispute_opened"),
        ("a state of the future", vec![becomes("brand_new", created)], "open", "dispute_opened"),
        (
            "an inquiry",
            vec![becomes("warning_needs_response", created)],
            "inquiry",
            "dispute_opened",
        ),
        (
            "an inquiry is closed",
            vec![
                becomes("warning_under_review", created),
                becomes("warning_closed", "charge.dispute.closed"),
            ],
            "won",
            "dispute_opened dispute_closed",
        ),
        (
            "won",
            vec![becomes("needs_response", created), becomes("won", "charge.dispute.closed")],
            "won",
            "dispute_opened dispute_closed",
        ),
        (
            "lost",
            vec![becomes("needs_response", created), becomes("lost", "charge.dispute.closed")],
            "lost",
            "dispute_opened dispute_closed",
        ),
        (
            "lost, and its opening comes after",
            vec![
                becomes("lost", "charge.dispute.closed").at(200),
                becomes("needs_response", created).at(300),
            ],
            "lost",
            "dispute_closed",
        ),
        (
            "the network reverses its decision",
            vec![
                becomes("won", "charge.dispute.closed").at(200),
                becomes("lost", "charge.dispute.closed").at(300),
            ],
            "lost",
            "dispute_closed dispute_closed",
        ),
        (
            "of two, the open one presses",
            vec![
                becomes("needs_response", created),
                dispute("dp_2").pi("pi_1").status("lost").event("charge.dispute.closed"),
            ],
            "open",
            "dispute_opened",
        ),
    ] {
        let memory = delivered(&[vec![paid()], events].concat());
        let expected = format!("paid 29900 0 usd dispute={dispute} paid@100");
        assert_eq!(row(&memory, "O1"), expected, "{name}");
        assert_eq!(told(&memory, "O1"), format!("paid {kinds}"), "{name}");
    }
}

#[test]
fn sessions() {
    let bare = || succeeded(pi("pi_1")).at(100);
    let completed = || session_1().event("checkout.session.completed").at(200);
    let unpaid =
        || session_1().payment_status("unpaid").event("checkout.session.completed").at(100);
    for story in [
        story("the session brings the order id after the payment", vec![bare(), completed()]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "aa",
        ),
        story("the session comes first", vec![completed(), bare()]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "aa",
        ),
        story("no order id yet", vec![bare()]).ends("none", "", "p"),
        story(
            "an unpaid session links, then the payment succeeds",
            vec![unpaid(), session_1().event("checkout.session.async_payment_succeeded").at(200)],
        )
        .ends("paid 29900 0 usd paid@200", "- paid", "aa"),
        story(
            "an unpaid session links, then the payment fails",
            vec![
                unpaid(),
                session_1()
                    .payment_status("unpaid")
                    .event("checkout.session.async_payment_failed")
                    .at(200),
            ],
        )
        .ends("failed 0 0 usd failed@200", "- failed", "aa"),
        story(
            "a session expires",
            vec![
                session("cs_1")
                    .order("O1")
                    .payment_status("unpaid")
                    .event("checkout.session.expired")
                    .at(9),
            ],
        )
        .ends("failed 0 0 usd code=expired failed@9", "failed", "a"),
        story(
            "nothing was to be paid",
            vec![
                session("cs_1")
                    .order("O1")
                    .amount(0, "usd")
                    .payment_status("no_payment_required")
                    .event("checkout.session.completed")
                    .at(9),
            ],
        )
        .ends("paid 0 0 usd paid@9", "paid", "a"),
        story(
            "mode setup saves a card and pays nothing",
            vec![
                session("cs_1")
                    .order("O1")
                    .set("mode", "setup")
                    .payment_status("no_payment_required")
                    .event("checkout.session.completed"),
            ],
        )
        .ends("pending 0 0 usd", "-", "a"),
        story(
            "the client reference is an order id",
            vec![session("cs_1").client_reference("O1").event("checkout.session.completed").at(9)],
        )
        .ends("paid 29900 0 usd paid@9", "paid", "a"),
        story(
            "metadata beat the client reference",
            vec![
                session("cs_1")
                    .client_reference("customer 7")
                    .order("O1")
                    .event("checkout.session.completed")
                    .at(9),
            ],
        )
        .ends("paid 29900 0 usd paid@9", "paid", "a"),
        story(
            "the PaymentIntent's own metadata beat its session's",
            vec![
                session("cs_1").pi("pi_1").order("O2").event("checkout.session.completed").at(9),
                succeeded(pi_1()).at(100),
            ],
        )
        .ends("paid 29900 0 usd paid@9", "paid", "aa"),
    ] {
        story.check();
    }
}

#[test]
fn an_order_that_loses_its_payment_to_another_is_told_so() {
    let memory = delivered(&[
        session("cs_1").pi("pi_1").order("O2").event("checkout.session.completed").at(9),
        succeeded(pi_1()).at(100),
    ]);
    assert_eq!(row(&memory, "O2"), "pending 0 0 -");
    assert_eq!(told(&memory, "O2"), "paid -");
}

#[test]
fn an_orders_age_is_that_of_the_first_event_that_names_it() {
    // The refund makes the payment's facts as old as 50, and leaves O2's age alone.
    let charged = charge_1().order("O2").event("charge.succeeded").at(101);
    let refunded = refund_1().event("refund.created").at(50);
    let paid = succeeded(pi_1()).at(100);
    for events in [[&charged, &refunded, &paid], [&paid, &refunded, &charged]] {
        let memory = delivered(&events.map(Clone::clone));
        let age = |id: &str| memory.order(id).map(|order| order.created_at);
        assert_eq!((age("O1"), age("O2")), (Some(100), Some(101)));
    }
}

#[test]
fn an_invoice_that_names_two_orders_makes_both_rows() {
    // O2 is the subscription's; the next invoice may be its.
    let named = invoice("in_1").order("O1").subscription("sub_1").subscription_order("O2");
    let memory = delivered(&[named.event("invoice.paid").at(100)]);
    assert_eq!(row(&memory, "O1"), "paid 29900 0 usd paid@100");
    assert_eq!(row(&memory, "O2"), "pending 0 0 -");
}

#[test]
fn subscriptions_and_invoices() {
    let of_sub = |id: &str, created: i64| invoice(id).subscription("sub_1").created(created);
    let named = |id: &str, created: i64| of_sub(id, created).subscription_order("O1");
    let old = |id: &str, created: i64| old_invoice(id).subscription("sub_1").created(created);
    for story in [
        story(
            "an invoice before basil, by its subscription_details",
            vec![
                old("in_1", 10).subscription_order("O1").event("invoice.payment_succeeded").at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "an invoice from basil on, by its parent",
            vec![named("in_1", 10).event("invoice.paid").at(10)],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story("by a line", vec![of_sub("in_1", 10).line_order("O1").event("invoice.paid").at(10)])
            .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "by the invoice's own metadata, before its subscription's and its lines'",
            vec![
                of_sub("in_1", 10)
                    .order("O1")
                    .subscription_order("O2")
                    .line_order("O3")
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "by its subscription's, before its lines'",
            vec![named("in_1", 10).line_order("O3").event("invoice.paid").at(10)],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "a renewal fails and recovers",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                named("in_2", 20).event("invoice.payment_failed").at(20),
                named("in_2", 20).event("invoice.paid").at(30),
            ],
        )
        .ends("paid 29900 0 usd paid@10 failed@20", "paid failed paid", "aaa"),
        story(
            "a failed renewal shows, even where the first invoice comes after",
            vec![
                named("in_2", 20).event("invoice.payment_failed").at(20),
                named("in_1", 10).event("invoice.paid").at(30),
            ],
        )
        .ends("failed 0 0 usd paid@30 failed@20", "failed", "aa"),
        story(
            "the newest is the newest made, not the last told",
            vec![
                named("in_2", 20).event("invoice.paid").at(20),
                named("in_1", 10).event("invoice.payment_failed").at(30),
            ],
        )
        .ends("paid 29900 0 usd paid@20 failed@30", "paid", "aa"),
        story(
            "two of the same second: the id decides",
            vec![
                named("in_2", 10).event("invoice.paid").at(10),
                named("in_1", 10).event("invoice.payment_failed").at(10),
            ],
        )
        .ends("paid 29900 0 usd paid@10 failed@10", "paid", "aa"),
        story(
            "a renewal that is only made decides nothing",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                named("in_2", 20).event("invoice.finalized").at(20),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "au"),
        story(
            "a basil invoice's PaymentIntent is joined by its invoice payment",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                succeeded(pi("pi_1")).at(11),
                invoice_payment("inpay_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .event("invoice_payment.paid")
                    .at(12),
                charge_1().refunded(29900).event("charge.refunded").at(13),
            ],
        )
        .ends("refunded 29900 29900 usd paid@10 refunded@13", "paid refunded", "aaua"),
        story(
            "the invoice payment comes first, the order id last",
            vec![
                invoice_payment("inpay_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .event("invoice_payment.paid")
                    .at(12),
                charge_1().refunded(29900).event("charge.refunded").at(13),
                succeeded(pi("pi_1")).at(11),
                named("in_1", 10).event("invoice.paid").at(10),
            ],
        )
        .ends("refunded 29900 29900 usd paid@10 refunded@13", "refunded", "aaaa"),
        story(
            "two keys that turn out to be one payment pay once",
            vec![
                of_sub("in_1", 10).order("O1").event("invoice.paid").at(10),
                succeeded(pi_1()).at(10),
                invoice_payment("inpay_1").invoice("in_1").pi("pi_1").event("invoice_payment.paid"),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "auu"),
        story(
            "the subscription's own event brings the order id",
            vec![
                of_sub("in_1", 10).event("invoice.paid").at(10),
                subscription("sub_1").order("O1").event("customer.subscription.created").at(9),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "aa"),
        story(
            "the session of a subscription brings the order id of its renewals",
            vec![
                of_sub("in_2", 20).event("invoice.payment_failed").at(20),
                session("cs_1")
                    .order("O1")
                    .invoice("in_1")
                    .subscription("sub_1")
                    .event("checkout.session.completed")
                    .at(10),
            ],
        )
        .ends("failed 0 0 usd paid@10 failed@20", "failed", "aa"),
        story(
            "an invoice before basil names its PaymentIntent and charge",
            vec![
                old("in_1", 10)
                    .pi("pi_1")
                    .charge("ch_1")
                    .subscription_order("O1")
                    .event("invoice.paid")
                    .at(10),
                refund("re_1").charge("ch_1").amount(900, "usd").event("refund.created").at(20),
            ],
        )
        .ends(
            "partially_refunded 29900 900 usd paid@10 refunded@20",
            "paid partially_refunded",
            "aa",
        ),
        story(
            "what the invoice says it received counts, not what one PaymentIntent did",
            vec![
                named("in_1", 10).event("invoice.paid").at(10),
                succeeded(pi("pi_1").amount(900, "usd")).at(10),
                invoice_payment("inpay_1").invoice("in_1").pi("pi_1").event("invoice_payment.paid"),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "aau"),
    ] {
        story.check();
    }
}

#[test]
fn what_is_due_must_be_received() {
    let paid = |amount: i64, currency: &str| succeeded(pi_1().amount(amount, currency)).at(100);
    let second = |amount: i64, currency: &str| {
        succeeded(pi("pi_2").order("O1").amount(amount, currency)).at(200)
    };
    for story in [
        story("exactly", vec![paid(29900, "usd")]).ends("paid 29900 0 usd paid@100", "paid", "a"),
        story("one less", vec![paid(29899, "usd")]).ends(
            "pending 29899 0 usd problem=underpaid paid@100",
            "problem",
            "a",
        ),
        story("one more", vec![paid(29901, "usd")]).ends(
            "paid 29901 0 usd problem=overpaid paid@100",
            "paid+problem",
            "a",
        ),
        story("another currency", vec![paid(29900, "jpy")]).ends(
            "pending 0 0 usd problem=wrong_currency paid@100",
            "problem",
            "a",
        ),
        story("two instalments", vec![paid(20000, "usd"), second(9900, "usd")]).ends(
            "paid 29900 0 usd paid@100",
            "problem paid",
            "aa",
        ),
        story("paid twice", vec![paid(29900, "usd"), second(29900, "usd")]).ends(
            "paid 59800 0 usd problem=overpaid paid@100",
            "paid problem",
            "aa",
        ),
        story(
            "paid, and something more in another currency",
            vec![paid(29900, "usd"), second(100, "eur")],
        )
        .ends("paid 29900 0 usd problem=overpaid paid@100", "paid problem", "aa"),
        story(
            "too little, and something more in another currency",
            vec![paid(100, "usd"), second(29900, "eur")],
        )
        .ends("pending 100 0 usd problem=wrong_currency paid@100", "problem problem", "aa"),
        story("an amount in capitals", vec![paid(29900, "USD")]).ends(
            "paid 29900 0 usd paid@100",
            "paid",
            "a",
        ),
        story(
            "what was too much is given back",
            vec![paid(30000, "usd"), refund_1().amount(100, "usd").event("refund.created").at(200)],
        )
        .ends(
            "partially_refunded 30000 100 usd paid@100 refunded@200",
            "paid+problem partially_refunded",
            "aa",
        ),
        story(
            "refunded after it was paid in full: no underpayment",
            vec![paid(29900, "usd"), refund_1().event("refund.created").at(200)],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story(
            "a body without amounts is a full payment",
            vec![succeeded(pi_1().without_amounts()).at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "a"),
        story(
            "and a refund without amounts a full refund",
            vec![
                succeeded(pi_1()).at(100),
                charge_1().without_amounts().event("charge.refunded").at(200),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@200", "paid refunded", "aa"),
        story("a failure of an order with an amount due", vec![failed(pi_1()).at(100)]).ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "a",
        ),
    ] {
        story.due(29900, "usd").check();
    }
    story(
        "without an amount due, a body without amounts is paid all the same",
        vec![succeeded(pi_1().without_amounts()).at(100)],
    )
    .ends("paid 0 0 - paid@100", "paid", "a")
    .check();
    story("nothing was due, and nothing came", vec![succeeded(pi_1().amount(0, "usd")).at(100)])
        .due(0, "usd")
        .ends("paid 0 0 usd paid@100", "paid", "a")
        .check();
}

#[test]
fn test_events_do_not_count_beside_live_ones() {
    for story in [
        story(
            "a test payment pays an order without live ones",
            vec![succeeded(pi_1()).test().at(100)],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "a"),
        story(
            "a test payment on a live order",
            vec![failed(pi_1()).at(100), succeeded(pi("pi_test").order("O1")).test().at(200)],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "au",
        ),
        story(
            "a live payment takes the order over from a test one",
            vec![
                succeeded(pi("pi_test").order("O1")).test().at(100),
                pi_1().event("payment_intent.created").at(200),
            ],
        )
        .ends("pending 0 0 usd", "paid -", "aa"),
    ] {
        story.check();
    }
}
