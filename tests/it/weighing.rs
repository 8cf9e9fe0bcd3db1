//! What an order's state means, rule by rule: all money counts, what is due is compared with what was
//! kept, and only the shop names orders. How a row is written is explained in `support/stories.rs`.

use std::sync::Arc;

use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::{Accounts, Mode, Policy};
use serde_json::json;

use crate::support::fixtures::{
    EventBody, Object, charge, dispute, invoice, invoice_payment, old_invoice, pi, refund, session,
    subscription,
};
use crate::support::memory::Memory;
use crate::support::stories::{
    Story, charge_1, check_all, delivered, failed, pi_1, refund_1, row, story, succeeded, told,
};

const PAID: &str = "payment_intent.succeeded";
const COMPLETED: &str = "checkout.session.completed";

fn pays(id: &str, amount: i64, at: i64) -> EventBody {
    succeeded(pi(id).order("O1").amount(amount, "usd")).at(at)
}

fn refunds(id: &str, of: &str, amount: i64, at: i64) -> EventBody {
    refund(id).pi(of).amount(amount, "usd").event("refund.created").at(at)
}

#[test]
fn due_is_compared_with_what_was_kept() {
    let stories = [
        story(
            "paid, all given back, and a little paid again",
            vec![
                pays("pi_1", 29900, 100),
                refunds("re_1", "pi_1", 29900, 200),
                pays("pi_2", 100, 300),
            ],
        )
        .ends(
            "partially_refunded 30000 29900 usd paid@100 refunded@200",
            "paid refunded -",
            "aaa",
        ),
        story(
            "two instalments, and the large one is given back",
            vec![
                pays("pi_1", 29800, 100),
                pays("pi_2", 100, 200),
                refunds("re_1", "pi_1", 29800, 300),
            ],
        )
        .ends(
            "partially_refunded 29900 29800 usd paid@100 refunded@300",
            "problem paid partially_refunded",
            "aaa",
        ),
        story(
            "paid, given back, and paid again in full",
            vec![
                pays("pi_1", 29900, 100),
                refunds("re_1", "pi_1", 29900, 200),
                pays("pi_2", 29900, 300),
            ],
        )
        .ends("paid 59800 29900 usd paid@100 refunded@200", "paid refunded paid", "aaa"),
        story(
            "a further payment is under way",
            vec![
                pays("pi_1", 20000, 100),
                pi("pi_2")
                    .order("O1")
                    .amount(9900, "usd")
                    .event("payment_intent.processing")
                    .at(200),
            ],
        )
        .ends(
            "processing 20000 0 usd problem=underpaid paid@100",
            "problem processing",
            "aa",
        ),
        story(
            "refunded in part, and a further payment is under way",
            vec![
                pays("pi_1", 29900, 100),
                refunds("re_1", "pi_1", 900, 200),
                pi("pi_2")
                    .order("O1")
                    .amount(900, "usd")
                    .event("payment_intent.processing")
                    .at(300),
            ],
        )
        .ends(
            "processing 29900 900 usd paid@100 refunded@200",
            "paid partially_refunded processing",
            "aaa",
        ),
    ]
    .map(|story| story.due(29900, "usd"));
    check_all(&stories);
    check_all(&[
        story(
            "without a due amount, two payments, one given back: what was asked for is there",
            vec![pays("pi_1", 500, 100), pays("pi_2", 400, 200), refunds("re_1", "pi_2", 400, 300)],
        )
        .ends("paid 900 400 usd paid@100 refunded@300", "paid - partially_refunded", "aaa"),
        story(
            "without a due amount, two payments of different amounts are no problem",
            vec![pays("pi_1", 500, 100), pays("pi_2", 400, 200)],
        )
        .ends("paid 900 0 usd paid@100", "paid -", "aa"),
        story(
            "without a due amount, the same amount twice is",
            vec![pays("pi_1", 500, 100), pays("pi_2", 500, 200)],
        )
        .ends("paid 1000 0 usd problem=overpaid paid@100", "paid problem", "aa"),
        story(
            "and none once one of them is given back",
            vec![pays("pi_1", 500, 100), pays("pi_2", 500, 200), refunds("re_1", "pi_1", 500, 300)],
        )
        .ends(
            "paid 1000 500 usd paid@100 refunded@300",
            "paid problem partially_refunded",
            "aaa",
        ),
    ]);
}

#[test]
fn the_shops_word_counts_before_between_and_after_events() {
    let small = || vec![pays("pi_1", 100, 100)];
    let both = || vec![pays("pi_1", 100, 100), pays("pi_2", 29800, 200)];
    check_all(&[
        story("registered after an event of less", small()).due_after(1, 29900, "usd").ends(
            "pending 100 0 usd problem=underpaid paid@100",
            "paid problem",
            "a",
        ),
        story("and the rest comes", both()).due_after(1, 29900, "usd").ends(
            "paid 29900 0 usd paid@100",
            "paid problem paid",
            "aa",
        ),
        story("registered after all of it", both()).due_after(2, 29900, "usd").ends(
            "paid 29900 0 usd paid@100",
            "paid -",
            "aa",
        ),
        story("the shop asks for less, and what came is enough", small())
            .due(29900, "usd")
            .due_after(1, 100, "usd")
            .ends("paid 100 0 usd paid@100", "problem paid", "a"),
        story("the shop asks for more", both()).due(29900, "usd").due_after(2, 30000, "usd").ends(
            "pending 29900 0 usd problem=underpaid paid@100",
            "problem paid problem",
            "aa",
        ),
        story("the shop changes the currency", small())
            .due(100, "eur")
            .due_after(1, 100, "usd")
            .ends("paid 100 0 usd paid@100", "problem paid", "a"),
    ]);
}

#[test]
fn attempts_that_are_under_way_failed_or_ended() {
    let intent = |kind: &str| pi_1().event(&format!("payment_intent.{kind}"));
    let declined = || failed(pi_1()).at(100);
    check_all(&[
        story(
            "declined, then a debit is under way",
            vec![declined(), intent("processing").at(200)],
        )
        .ends("processing 0 0 usd failed@100", "failed processing", "aa"),
        story("and it fails", vec![intent("processing").at(200), failed(pi_1()).at(300)]).ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@300",
            "processing failed",
            "aa",
        ),
        story("of one second, the failure counts", vec![declined(), intent("processing").at(100)])
            .ends(
                "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
                "failed",
                "au",
            ),
        story(
            "of one charge, its failure counts, whatever the second",
            vec![
                charge_1().order("O1").event("charge.failed").at(100),
                charge_1().order("O1").event("charge.pending").at(200),
            ],
        )
        .ends("failed 0 0 usd failed@100", "failed", "au"),
        story(
            "a failed charge that is updated later does not hide the debit",
            vec![
                charge("ch_0").pi("pi_1").order("O1").event("charge.failed").at(100),
                charge_1().order("O1").event("charge.pending").at(200),
                charge("ch_0")
                    .pi("pi_1")
                    .order("O1")
                    .status("failed")
                    .event("charge.updated")
                    .at(300),
            ],
        )
        .ends("processing 0 0 usd failed@100", "failed processing", "aau"),
        story("reserved", vec![intent("amount_capturable_updated").at(100)]).ends(
            "authorized 0 0 usd",
            "authorized",
            "a",
        ),
        story(
            "canceled ends what was reserved, whatever the second",
            vec![intent("canceled").at(100), intent("amount_capturable_updated").at(200)],
        )
        .ends("canceled 0 0 usd code=canceled", "canceled", "au"),
        story(
            "an abandoned session beside a declined card",
            vec![declined(), session("cs_1").order("O1").event("checkout.session.expired").at(200)],
        )
        .ends(
            "failed 0 0 usd code=card_declined message=Your card was declined. failed@100",
            "failed",
            "au",
        ),
        story(
            "an intent that the shop replaced is no failure",
            vec![intent("canceled").at(100), pays("pi_2", 29900, 200)],
        )
        .ends("paid 29900 0 usd paid@200", "canceled paid", "aa"),
    ]);
}

fn of_sub(id: &str, created: i64) -> Object {
    invoice(id).subscription("sub_1").subscription_order("O1").created(created)
}

fn first(id: &str, created: i64) -> Object {
    of_sub(id, created).set("billing_reason", "subscription_create")
}

#[test]
fn only_a_subscription_has_a_newest_invoice() {
    let one_off = |id: &str, amount: i64| {
        invoice(id).order("O1").set("billing_reason", "manual").amount(amount, "usd")
    };
    check_all(&[
        story(
            "an invoice fails, and the order is paid by Checkout",
            vec![
                one_off("in_1", 5000).event("invoice.payment_failed").at(10),
                session("cs_1").order("O1").amount(5000, "usd").event(COMPLETED).at(20),
            ],
        )
        .due(5000, "usd")
        .ends("paid 5000 0 usd paid@20 failed@10", "failed paid", "aa"),
        story(
            "deposit and balance",
            vec![
                one_off("in_1", 300).event("invoice.paid").at(10),
                one_off("in_2", 700).event("invoice.paid").at(20),
            ],
        )
        .due(1000, "usd")
        .ends("paid 1000 0 usd paid@10", "problem paid", "aa"),
        story(
            "a void invoice leaves no failure",
            vec![
                one_off("in_1", 300).event("invoice.payment_failed").at(10),
                one_off("in_1", 300).event("invoice.voided").at(20),
            ],
        )
        .ends("canceled 0 0 usd code=voided failed@10", "failed canceled", "aa"),
        story(
            "one that is written off has failed",
            vec![one_off("in_1", 300).event("invoice.marked_uncollectible").at(10)],
        )
        .ends("failed 0 0 usd code=uncollectible failed@10", "failed", "a"),
        story(
            "part of an invoice",
            vec![one_off("in_1", 1000).set("amount_paid", 400).event("invoice.updated").at(10)],
        )
        .ends("pending 400 0 usd paid@10", "-", "a"),
        story(
            "paid outside of Stripe",
            vec![
                one_off("in_1", 1000)
                    .set("amount_paid", 0)
                    .set("amount_remaining", 1000)
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 1000 0 usd paid@10", "paid", "a"),
        story(
            "a refund of last month is shown, and notified",
            vec![
                first("in_1", 1).event("invoice.paid").at(10),
                invoice_payment("ip_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .event("invoice_payment.paid")
                    .at(11),
                of_sub("in_2", 2).event("invoice.paid").at(20),
                refunds("re_1", "pi_1", 29900, 30),
            ],
        )
        .ends(
            "paid 59800 29900 usd renewals=1 paid@10 refunded@30",
            "paid renewed partially_refunded",
            "auaa",
        ),
        story(
            "a cheaper renewal",
            vec![
                first("in_1", 1).event("invoice.paid").at(10),
                of_sub("in_2", 2).amount(100, "usd").event("invoice.paid").at(20),
            ],
        )
        .due(29900, "usd")
        .ends("paid 30000 0 usd renewals=1 paid@10", "paid renewed", "aa"),
        story(
            "a dearer renewal that is only issued",
            vec![
                first("in_1", 1).event("invoice.paid").at(10),
                of_sub("in_2", 2).amount(99900, "usd").event("invoice.finalized").at(20),
            ],
        )
        .ends("paid 29900 0 usd paid@10", "paid", "au"),
        story(
            "a trial's first invoice settles no amount that is due",
            vec![first("in_1", 1).amount(0, "usd").event("invoice.paid").at(10)],
        )
        .due(29900, "usd")
        .ends("pending 0 0 usd paid@10", "", "a"),
        story(
            "nor is one needed where none is due",
            vec![first("in_1", 1).amount(0, "usd").event("invoice.paid").at(10)],
        )
        .ends("paid 0 0 usd paid@10", "paid", "a"),
        story(
            "of two subscriptions, the one that failed shows",
            vec![
                first("in_1", 1).event("invoice.paid").at(10),
                invoice("in_9")
                    .subscription("sub_2")
                    .subscription_order("O1")
                    .created(0)
                    .event("invoice.payment_failed")
                    .at(20),
            ],
        )
        .ends("failed 29900 0 usd paid@10 failed@20", "paid failed", "aa"),
        story(
            "a failed renewal is voided",
            vec![
                first("in_1", 1).event("invoice.paid").at(10),
                of_sub("in_2", 2).event("invoice.payment_failed").at(20),
                of_sub("in_2", 2).event("invoice.voided").at(30),
            ],
        )
        .ends("paid 29900 0 usd paid@10 failed@20", "paid failed -", "aaa"),
    ]);
}

#[test]
fn what_stripe_takes_off_or_adds_is_no_problem() {
    let completed = |total: i64, details: serde_json::Value| {
        session("cs_1")
            .order("O1")
            .set("amount_total", total)
            .set("total_details", details)
            .event(COMPLETED)
            .at(10)
    };
    let details = |discount: i64, shipping: i64, tax: i64| json!({"amount_discount": discount, "amount_shipping": shipping, "amount_tax": tax});
    let invoiced = |total: i64, due: i64| {
        let invoice = invoice("in_1").order("O1").set("billing_reason", "manual");
        invoice.set("total", total).set("amount_due", due)
    };
    let stories = [
        story("a promotion code", vec![completed(4000, details(1000, 0, 0))]).ends(
            "paid 4000 0 usd paid@10",
            "paid",
            "a",
        ),
        story("a coupon of 100 %", vec![completed(0, details(5000, 0, 0))]).ends(
            "paid 0 0 usd paid@10",
            "paid",
            "a",
        ),
        story("tax and shipping", vec![completed(5900, details(0, 500, 400))]).ends(
            "paid 5900 0 usd paid@10",
            "paid",
            "a",
        ),
        story("and more than that", vec![completed(5901, details(0, 500, 400))]).ends(
            "paid 5901 0 usd problem=overpaid paid@10",
            "paid+problem",
            "a",
        ),
        story("less than the promotion code explains", vec![completed(3999, details(1000, 0, 0))])
            .ends("pending 3999 0 usd problem=underpaid paid@10", "problem", "a"),
        story("credit balance", vec![invoiced(5000, 3000).event("invoice.paid").at(10)]).ends(
            "paid 3000 0 usd paid@10",
            "paid",
            "a",
        ),
        story(
            "a discount on an invoice",
            vec![
                invoiced(4000, 4000)
                    .set("total_discount_amounts", json!([{"amount": 1000}]))
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 4000 0 usd paid@10", "paid", "a"),
        story(
            "tax on an invoice",
            vec![
                invoiced(5900, 5900)
                    .set("total_taxes", json!([{"amount": 900}]))
                    .event("invoice.paid")
                    .at(10),
            ],
        )
        .ends("paid 5900 0 usd paid@10", "paid", "a"),
        story(
            "a tip",
            vec![
                pi_1()
                    .amount(5500, "usd")
                    .set("amount_details", json!({"tip": {"amount": 500}}))
                    .event(PAID)
                    .at(10),
            ],
        )
        .ends("paid 5500 0 usd paid@10", "paid", "a"),
    ]
    .map(|story| story.due(5000, "usd"));
    check_all(&stories);
    check_all(&[
        story("nothing was due, and nothing came", vec![]).due(0, "usd").ends(
            "pending 0 0 usd",
            "",
            "",
        ),
        story("nothing was due, and the session is complete", vec![completed(0, details(0, 0, 0))])
            .due(0, "usd")
            .ends("paid 0 0 usd paid@10", "paid", "a"),
        story(
            "a refund after a promotion code, without a due amount",
            vec![
                session("cs_1")
                    .order("O1")
                    .pi("pi_1")
                    .set("amount_total", 4000)
                    .set("total_details", details(1000, 0, 0))
                    .event(COMPLETED)
                    .at(10),
                refunds("re_1", "pi_1", 500, 20),
            ],
        )
        .ends(
            "partially_refunded 4000 500 usd paid@10 refunded@20",
            "paid partially_refunded",
            "aa",
        ),
    ]);
}

#[test]
fn a_currency_that_stripe_converted_is_read_as_the_shops() {
    let converted = || {
        session("cs_1")
            .order("O1")
            .pi("pi_1")
            .amount(4600, "eur")
            .set("currency_conversion", json!({"amount_total": 5000, "source_currency": "usd"}))
            .event(COMPLETED)
            .at(10)
    };
    let paid = || succeeded(pi("pi_1").amount(4600, "eur")).at(10);
    let stories = [
        story("paid", vec![converted(), paid()]).ends("paid 5000 0 usd paid@10", "paid", "au"),
        story(
            "half of it given back",
            vec![
                converted(),
                paid(),
                refund("re_1").pi("pi_1").amount(2300, "eur").event("refund.created").at(20),
            ],
        )
        .ends(
            "partially_refunded 5000 2500 usd paid@10 refunded@20",
            "paid partially_refunded",
            "aua",
        ),
        story(
            "all of it given back",
            vec![
                converted(),
                paid(),
                refund("re_1").pi("pi_1").amount(4600, "eur").event("refund.created").at(20),
            ],
        )
        .ends("refunded 5000 5000 usd paid@10 refunded@20", "paid refunded", "aua"),
    ]
    .map(|story| story.due(5000, "usd"));
    check_all(&stories);
}

#[test]
fn money_in_another_currency_is_shown_as_it_came() {
    let yen = || succeeded(pi_1().amount(5000, "jpy")).at(100);
    check_all(&[
        story("all of it", vec![yen()]).due(29900, "eur").ends(
            "pending 5000 0 jpy problem=wrong_currency paid@100",
            "problem",
            "a",
        ),
        story(
            "and it is given back",
            vec![yen(), refund_1().amount(5000, "jpy").event("refund.created").at(200)],
        )
        .due(29900, "eur")
        .ends("refunded 5000 5000 jpy paid@100 refunded@200", "problem refunded", "aa"),
        story(
            "and the right money comes too",
            vec![yen(), succeeded(pi("pi_2").order("O1").amount(29900, "eur")).at(200)],
        )
        .due(29900, "eur")
        .ends("paid 29900 0 eur problem=overpaid paid@100", "problem paid+problem", "aa"),
    ]);
}

#[test]
fn what_a_partial_capture_releases_is_no_refund() {
    let captured = |refunded: i64| {
        charge_1().order("O1").set("amount", 10000).set("amount_captured", 5000).refunded(refunded)
    };
    check_all(&[
        story("captured in part", vec![captured(5000).event("charge.captured").at(100)]).ends(
            "paid 5000 0 usd paid@100",
            "paid",
            "a",
        ),
        story(
            "and updated",
            vec![
                captured(5000).event("charge.captured").at(100),
                captured(5000).event("charge.updated").at(200),
            ],
        )
        .ends("paid 5000 0 usd paid@100", "paid", "au"),
        story("and a part of it given back", vec![captured(7000).event("charge.refunded").at(200)])
            .ends(
                "partially_refunded 5000 2000 usd paid@200 refunded@200",
                "partially_refunded",
                "a",
            ),
        story(
            "where the list of refunds has the release too",
            vec![
                captured(7000)
                    .set(
                        "refunds",
                        json!([
                            {"id": "re_2", "amount": 2000, "status": "succeeded"},
                            {"id": "re_1", "amount": 5000, "status": "succeeded"},
                        ]),
                    )
                    .event("charge.refunded")
                    .at(200),
            ],
        )
        .ends(
            "partially_refunded 5000 2000 usd paid@200 refunded@200",
            "partially_refunded",
            "a",
        ),
        story(
            "what was reserved and expired was never refunded",
            vec![
                charge_1().order("O1").uncaptured().event("charge.succeeded").at(100),
                refund_1()
                    .set("reason", "expired_uncaptured_charge")
                    .event("refund.created")
                    .at(200),
                charge_1().order("O1").uncaptured().refunded(29900).event("charge.expired").at(200),
            ],
        )
        .ends("canceled 0 0 usd code=expired", "authorized canceled", "aua"),
    ]);
}

#[test]
fn of_several_totals_of_refunds_the_latest_counts() {
    let total = |amount: i64, kind: &str| charge_1().order("O1").refunded(amount).event(kind);
    let fails = || refund_1().amount(900, "usd").status("failed").event("refund.failed");
    check_all(&[
        story(
            "a refund fails, and the charge says so later",
            vec![
                total(900, "charge.refunded").at(100),
                fails().at(200),
                total(0, "charge.updated").at(200),
            ],
        )
        .ends(
            "paid 29900 0 usd refunds_failed=1 paid@100",
            "partially_refunded paid+refund_failed",
            "aau",
        ),
        story(
            "it is made again, and the failure is delivered last",
            vec![
                total(900, "charge.refunded").at(100),
                total(900, "charge.refunded").id("evt_again").at(300),
                fails().at(200),
            ],
        )
        .ends(
            "partially_refunded 29900 900 usd refunds_failed=1 paid@100 refunded@100",
            "partially_refunded refund_failed",
            "aua",
        ),
    ]);
}

#[test]
fn unknown_words_are_recorded_and_count_for_nothing() {
    check_all(&[
        story(
            "a refund of an unknown status",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("brand_new").event("refund.updated").at(200),
            ],
        )
        .ends("paid 29900 0 usd paid@100", "paid", "au"),
        story(
            "and it becomes a known one",
            vec![
                succeeded(pi_1()).at(100),
                refund_1().status("brand_new").event("refund.updated").at(200),
                refund_1().status("succeeded").event("refund.updated").at(300),
            ],
        )
        .ends("refunded 29900 29900 usd paid@100 refunded@300", "paid refunded", "aua"),
    ]);
}

fn rules(keys: Option<&str>, pattern: Option<&str>) -> Policy {
    let order_ids = Arc::new(OrderIdRules::new(keys, pattern).expect("rules"));
    Policy { order_ids, ..Policy::default() }
}

fn delivered_by(policy: &Policy, events: &[EventBody]) -> Memory {
    let mut memory = Memory::new(policy.clone());
    for event in events {
        memory.deliver([&event.event_by(&policy.order_ids)]);
    }
    memory
}

#[test]
fn a_text_that_a_customer_chose_only_pays() {
    let reads = || rules(Some("order_id,@client_reference_id"), None);
    let completed = || session("cs_1").client_reference("O1").email("x@example.com");
    let due = |story: Story| story.due(29900, "usd").policy(reads());
    check_all(&[
        story("it makes no order", vec![completed().event(COMPLETED).at(10)])
            .policy(reads())
            .ends("none", "", "p"),
        due(story("it pays the shop's order", vec![completed().event(COMPLETED).at(10)])).ends(
            "paid 29900 0 usd paid@10",
            "paid",
            "a",
        ),
        due(story("it cancels none", vec![completed().event("checkout.session.expired").at(10)]))
            .ends("pending 0 0 usd", "", "u"),
        due(story(
            "it fails none",
            vec![completed().event("checkout.session.async_payment_failed").at(10)],
        ))
        .ends("pending 0 0 usd", "", "u"),
        due(story(
            "it opens no dispute",
            vec![
                completed().pi("pi_1").event(COMPLETED).at(10),
                dispute("dp_1").pi("pi_1").event("charge.dispute.created").at(20),
            ],
        ))
        .ends("paid 29900 0 usd paid@10", "paid", "au"),
        due(story(
            "a Payment Link's is never read",
            vec![completed().set("payment_link", "plink_1").event(COMPLETED).at(10)],
        ))
        .ends("pending 0 0 usd", "", "p"),
        due(story(
            "the shop's own word goes before it",
            vec![completed().client_reference("O2").order("O1").event(COMPLETED).at(10)],
        ))
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        due(story(
            "the shop's word on its subscription goes before it",
            vec![
                subscription("sub_1").order("O1").event("customer.subscription.created").at(5),
                session("cs_1")
                    .client_reference("user_42")
                    .subscription("sub_1")
                    .event(COMPLETED)
                    .at(10),
            ],
        ))
        .ends("paid 29900 0 usd paid@10", "paid", "ua"),
    ]);
    let memory = delivered_by(&reads(), &[pi_1().event(PAID), completed().event(COMPLETED)]);
    assert_eq!(memory.order("O1").and_then(|order| order.customer_email.as_deref()), None);
}

#[test]
fn the_settings_say_which_keys_and_ids_name_orders() {
    let named = |keys: Option<&str>, pattern: Option<&str>, metadata: serde_json::Value| {
        let policy = rules(keys, pattern);
        let event = pi("pi_1").set("metadata", metadata).event(PAID);
        let memory = delivered_by(&policy, std::slice::from_ref(&event));
        let outcome = memory.outcome(&event.event_id());
        (memory.rows().into_keys().collect::<Vec<_>>(), outcome.outcome, outcome.reason.clone())
    };
    for (keys, pattern, metadata, order) in [
        (Some("shop_order,order_id"), None, json!({"order_id": "O1", "shop_order": "O2"}), "O2"),
        (Some("shop_order,order_id"), None, json!({"order_id": "O1"}), "O1"),
        (None, Some("shop-[0-9]+"), json!({"order_id": "shop-1"}), "shop-1"),
        (None, Some("shop-([0-9]+)"), json!({"order_id": "shop-1"}), "1"),
    ] {
        assert_eq!(named(keys, pattern, metadata.clone()).0, [order], "{metadata}");
    }
    for other in ["other-1", "xshop-1", "shop-1x"] {
        let (orders, outcome, reason) =
            named(None, Some("shop-([0-9]+)"), json!({"order_id": other}));
        assert_eq!((orders.len(), outcome), (0, Outcome::Ignored));
        assert_eq!(reason, format!("its order id {other:?} does not match ORDER_ID_PATTERN"));
    }
}

#[test]
fn each_account_has_orders_of_its_own() {
    let paid = |id: &str| pi(id).order("7").event(PAID).id(&format!("evt_{id}"));
    let events = [paid("pi_1"), paid("pi_2").account("acct_1"), paid("pi_3").account("acct_2")];
    let listed = Accounts::Listed(["acct_1".to_owned()].into());
    for (accounts, orders) in [
        (Accounts::Own, &["7"][..]),
        (listed, &["7", "acct_1/7"]),
        (Accounts::Any, &["7", "acct_1/7", "acct_2/7"]),
    ] {
        let policy = Policy { accounts, ..Policy::default() };
        let memory = delivered_by(&policy, &events);
        assert_eq!(memory.rows().into_keys().collect::<Vec<_>>(), orders);
        for order in orders {
            assert_eq!(row(&memory, order), "paid 29900 0 usd paid@1000", "{order}");
        }
    }
    let memory = delivered_by(&Policy::default(), &events);
    let why = "an event of account acct_1, which STRIPE_ACCOUNTS does not list";
    assert_eq!(memory.outcome("evt_pi_2").reason, why);
    // The account does not count towards the length of the shop's id.
    let long = "x".repeat(500);
    let event = pi("pi_1").order(&long).event(PAID).account("acct_1");
    let policy = Policy { accounts: Accounts::Any, ..Policy::default() };
    assert!(delivered_by(&policy, &[event]).order(&format!("acct_1/{long}")).is_some());
}

#[test]
fn test_money_settles_no_live_order() {
    let test = pays("pi_2", 29900, 200).test();
    let memory = delivered(&[failed(pi_1()).at(100), test.clone()]);
    assert_eq!(memory.order("O1").expect("an order").snapshot.amount_received, 0);
    let policy = Policy { mode: Mode::Test, ..Policy::default() };
    let memory = delivered_by(&policy, &[failed(pi_1()).at(100), test]);
    assert_eq!(row(&memory, "O1"), "paid 29900 0 usd paid@200");
}

#[test]
fn the_latest_word_of_one_place_names_the_order() {
    let named = |order: &str| pi("pi_1").order(order);
    let declined = failed(named("O1")).at(100);
    let paid = succeeded(named("O2")).at(200);
    for events in [[declined.clone(), paid.clone()], [paid, declined]] {
        let memory = delivered(&events);
        assert_eq!(memory.order("O1").expect("a row").snapshot.amount_received, 0);
        assert_eq!(memory.order("O2").expect("a row").snapshot.amount_received, 29900);
    }
    // Of one second, the smaller id.
    let memory = delivered(&[
        succeeded(named("O2")).at(100).id("evt_1"),
        succeeded(named("O1")).at(100).id("evt_2"),
    ]);
    assert_eq!(memory.order("O1").expect("a row").snapshot.amount_received, 29900);
    assert_eq!(memory.order("O2").expect("a row").snapshot.amount_received, 0);
}

#[test]
fn a_refunds_metadata_makes_no_row() {
    let back = refund("re_1").pi("pi_1").order("O1").event("refund.created").at(200);
    let memory = delivered(std::slice::from_ref(&back));
    assert_eq!(row(&memory, "O1"), "none");
    assert_eq!(memory.outcome(&back.event_id()).outcome, Outcome::Parked);
    // Where the order has a row, it is the best word that there is.
    let paid = pays("pi_2", 29900, 100);
    let memory = delivered(&[paid, back]);
    assert_eq!(told(&memory, "O1"), "paid");
}

#[test]
fn an_old_intent_links_the_charges_that_it_lists() {
    let intent = pi_1().set("charges", json!({"data": [{"id": "ch_2"}, {"id": "ch_1"}]}));
    let memory = delivered(&[
        intent.event(PAID).at(100),
        refund("re_1").charge("ch_2").amount(900, "usd").event("refund.created").at(200),
    ]);
    assert_eq!(row(&memory, "O1"), "partially_refunded 29900 900 usd paid@100 refunded@200");
}

#[test]
fn renewals_are_notified_one_by_one() {
    let memory = delivered(&[
        first("in_1", 1).event("invoice.paid").at(10),
        of_sub("in_2", 2).event("invoice.paid").at(20),
        of_sub("in_3", 3).event("invoice.payment_failed").at(30),
        of_sub("in_3", 3).event("invoice.paid").at(40),
    ]);
    assert_eq!(told(&memory, "O1"), "paid renewed failed renewed");
    let old = |id: &str, created: i64| {
        old_invoice(id).subscription("sub_1").subscription_order("O1").created(created)
    };
    let memory = delivered(&[
        old("in_1", 1).event("invoice.paid").at(10),
        old("in_2", 2).event("invoice.paid").at(20),
        subscription("sub_1").order("O1").event("customer.subscription.updated").at(30),
    ]);
    // The first one that is known is no renewal of anything, whatever it says.
    assert_eq!(told(&memory, "O1"), "paid renewed");
}

#[test]
fn an_order_with_many_payments_reads_a_few_of_them() {
    let mut memory = Memory::new(Policy::default());
    let paid = |number: usize| pays(&format!("pi_{number:05}"), 100, 100 + number as i64);
    let events: Vec<_> = (0..1000).map(|number| paid(number).event()).collect();
    for batch in events.chunks(50) {
        memory.deliver(batch);
    }
    memory.insert_order("O2", Some((1, "usd")), 1);
    let expected = "paid 100000 0 usd problem=overpaid paid@100";
    assert_eq!(row(&memory, "O1"), expected);
    // An event of a payment in the middle, and one that is new.
    memory.deliver([&refunds("re_1", "pi_00500", 40, 9000).event()]);
    assert!(memory.payments_read < 400, "{} of 1000 payments were read", memory.payments_read);
    memory.deliver([&paid(1000).event()]);
    assert!(memory.payments_read < 300, "{} of 1001 payments were read", memory.payments_read);
    assert_eq!(row(&memory, "O1"), "paid 100100 40 usd problem=overpaid paid@100 refunded@9000");
    // A payment that goes to another order leaves its page.
    let moved = succeeded(pi("pi_00500").order("O2").amount(100, "usd")).at(9500);
    memory.deliver([&moved.id("evt_moved").event()]);
    assert_eq!(row(&memory, "O1"), "paid 100000 0 usd problem=overpaid paid@100");
    assert_eq!(row(&memory, "O2"), "paid 100 40 usd problem=overpaid paid@600 refunded@9000");
}
