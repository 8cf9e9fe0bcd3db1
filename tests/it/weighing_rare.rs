//! Combinations that are rare and real: each was once weighed wrongly.

use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::outcome::Outcome;
use paidup::domain::policy::Policy;
use serde_json::json;

use crate::support::fixtures::{
    EventBody, Object, charge, dispute, invoice, invoice_payment, pi, refund, session, subscription,
};
use crate::support::memory::Memory;
use crate::support::stories::{Story, charge_1, check_all, row, story, succeeded, told};

const COMPLETED: &str = "checkout.session.completed";

fn pays(id: &str, amount: i64, currency: &str, at: i64) -> EventBody {
    succeeded(pi(id).order("O1").amount(amount, currency)).at(at)
}

fn gives_back(id: &str, of: &str, amount: i64, currency: &str, at: i64) -> EventBody {
    refund(id).pi(of).amount(amount, currency).event("refund.created").at(at)
}

fn one_off(amount: i64) -> Object {
    invoice("in_1").order("O1").set("billing_reason", "manual").amount(amount, "usd")
}

fn read_by(keys: Option<&str>, pattern: Option<&str>) -> Policy {
    let rules = OrderIdRules::new(keys, pattern).expect("rules");
    Policy { order_ids: rules.into(), ..Policy::default() }
}

#[test]
fn money_that_went_back_or_is_nothing_has_no_currency_to_complain_of() {
    let free = |currency: &str, at: i64| {
        session("cs_0")
            .order("O1")
            .amount(0, currency)
            .payment_status("no_payment_required")
            .event(COMPLETED)
            .at(at)
    };
    check_all(&[
        story(
            "the wrong currency, given back, then the right one",
            vec![
                pays("pi_1", 10000, "eur", 10),
                gives_back("re_1", "pi_1", 10000, "eur", 20),
                pays("pi_2", 10000, "usd", 30),
            ],
        )
        .due(10000, "usd")
        .ends("paid 10000 0 usd paid@10", "problem refunded paid", "aaa"),
        story("a trial in another currency", vec![free("eur", 10)]).due(1000, "usd").ends(
            "pending 0 0 usd paid@10",
            "",
            "a",
        ),
        story("and the price too", vec![free("eur", 10), pays("pi_1", 1000, "usd", 20)])
            .due(1000, "usd")
            .ends("paid 1000 0 usd paid@10", "paid", "aa"),
        story(
            "nothing in the right one, all in another",
            vec![one_off(0).event("invoice.paid").at(10), pays("pi_1", 2500, "eur", 20)],
        )
        .due(5000, "usd")
        .ends("pending 2500 0 eur problem=wrong_currency paid@10", "problem", "aa"),
        story(
            "what was given back of one currency hides none of another",
            vec![
                pays("pi_1", 1000, "eur", 10),
                gives_back("re_1", "pi_1", 1000, "eur", 20),
                pays("pi_2", 900, "jpy", 30),
            ],
        )
        .due(1000, "usd")
        .ends(
            "pending 1000 1000 eur problem=wrong_currency paid@10 refunded@20",
            "problem refunded problem",
            "aaa",
        ),
    ]);
}

#[test]
fn a_dispute_in_another_currency_does_not_unpay() {
    let pays_it = |at: i64| {
        let part = invoice_payment("inpay_1").invoice("in_1").pi("pi_1").amount(29900, "eur");
        part.event("invoice_payment.paid").at(at)
    };
    let euros = one_off(29900).amount(29900, "eur");
    story(
        "paid by invoice, and disputed in dollars",
        vec![
            euros.event("invoice.paid").at(10),
            pays_it(10),
            dispute("dp_1").pi("pi_1").amount(32000, "usd").event("charge.dispute.created").at(20),
        ],
    )
    .due(29900, "eur")
    .ends("paid 29900 0 eur dispute=open paid@10", "paid dispute_opened", "aua")
    .check();
}

#[test]
fn a_refunds_word_moves_no_payment_from_its_subscription() {
    let paid = invoice("in_6").subscription("sub_6").amount(1000, "usd");
    let linked = invoice_payment("inpay_6").invoice("in_6").pi("pi_6").amount(1000, "usd");
    story(
        "the refund names a return",
        vec![
            paid.event("invoice.paid").at(10),
            linked.event("invoice_payment.paid").at(10),
            subscription("sub_6").order("O1").event("customer.subscription.updated").at(20),
            refund("re_1")
                .pi("pi_6")
                .order("RMA-1")
                .amount(100, "usd")
                .event("refund.created")
                .at(30),
        ],
    )
    .due(1000, "usd")
    .ends("partially_refunded 1000 100 usd paid@10 refunded@30", "paid partially_refunded", "aaaa")
    .check();
}

#[test]
fn a_paid_session_settles_its_invoice() {
    let completed =
        || session("cs_1").order("O1").invoice("in_1").amount(1000, "usd").event(COMPLETED).at(20);
    let open = || one_off(1000).set("amount_paid", 0).status("open");
    check_all(&[
        story(
            "the open invoice is heard later",
            vec![completed(), open().event("invoice.finalized").at(19)],
        )
        .due(1000, "usd")
        .ends("paid 1000 0 usd paid@20", "paid", "au"),
        story("it failed before", vec![open().event("invoice.payment_failed").at(10), completed()])
            .due(1000, "usd")
            .ends("paid 1000 0 usd paid@20 failed@10", "failed paid", "aa"),
    ]);
}

#[test]
fn the_first_place_that_names_an_order_decides() {
    let policy = || read_by(None, Some("shop-a:(.+)"));
    let named = || one_off(29900).order("shop-a:O1").line_order("legacy 7");
    let by_details = invoice("in_2").subscription("sub_1").subscription_order("other 1");
    check_all(&[
        story("a line names none", vec![named().event("invoice.paid").at(10)])
            .policy(policy())
            .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "its subscription names another shop's",
            vec![by_details.order("shop-a:O1").event("invoice.paid").at(10)],
        )
        .policy(policy())
        .ends("paid 29900 0 usd paid@10", "paid", "a"),
        story(
            "only a line that names none",
            vec![invoice("in_3").line_order("legacy 7").event("invoice.paid").at(10)],
        )
        .policy(policy())
        .ends("none", "", "i"),
    ]);
}

#[test]
fn a_customers_text_settles_nothing_for_free() {
    let reads = || read_by(Some("order_id,@client_reference_id"), None);
    let of_stranger = || session("cs_9").client_reference("O1");
    let free = of_stranger()
        .amount(0, "usd")
        .payment_status("no_payment_required")
        .set("total_details", json!({"amount_discount": 30000}));
    check_all(&[
        story("all is taken off", vec![free.event(COMPLETED).at(10)])
            .due(29900, "usd")
            .policy(reads())
            .ends("pending 0 0 usd", "", "u"),
        story(
            "nothing of it is under way",
            vec![of_stranger().payment_status("unpaid").event(COMPLETED).at(10)],
        )
        .due(29900, "usd")
        .policy(reads())
        .ends("pending 0 0 usd", "", "u"),
    ]);
}

#[test]
fn a_payment_in_another_currency_is_announced() {
    check_all(&[
        story(
            "yen, and then the euros that are due",
            vec![pays("pi_1", 5000, "jpy", 10), pays("pi_2", 3000, "eur", 20)],
        )
        .due_after(1, 3000, "eur")
        .ends(
            "paid 3000 0 eur problem=overpaid paid@10",
            "paid problem paid+problem",
            "aa",
        ),
        story(
            "in two parts",
            vec![
                pays("pi_1", 5000, "jpy", 10),
                pays("pi_2", 1000, "eur", 20),
                pays("pi_3", 2000, "eur", 30),
            ],
        )
        .due_after(1, 3000, "eur")
        .ends(
            "paid 3000 0 eur problem=overpaid paid@10",
            "paid problem - paid+problem",
            "aaa",
        ),
    ]);
}

#[test]
fn a_paid_renewal_is_notified_whatever_the_status() {
    let of = |sub: &str, id: &str, reason: &str, amount: i64| {
        invoice(id)
            .subscription(sub)
            .subscription_order("O1")
            .set("billing_reason", reason)
            .amount(amount, "usd")
    };
    let (first, next) = ("subscription_create", "subscription_cycle");
    check_all(&[
        story(
            "another subscription of the order has failed",
            vec![
                of("sub_1", "in_1", first, 1000).created(10).event("invoice.paid").at(10),
                of("sub_2", "in_2", first, 1500).created(11).event("invoice.paid").at(11),
                of("sub_1", "in_3", next, 1000).created(20).event("invoice.payment_failed").at(20),
                of("sub_2", "in_4", next, 1500).created(21).event("invoice.paid").at(21),
            ],
        )
        .ends(
            "failed 4000 0 usd renewals=1 paid@10 failed@20",
            "paid - failed renewed",
            "aaaa",
        ),
        story(
            "a part was given back",
            vec![
                of("sub_1", "in_1", first, 10000)
                    .set("payment_intent", "pi_1")
                    .created(10)
                    .event("invoice.paid")
                    .at(10),
                gives_back("re_1", "pi_1", 3000, "usd", 15),
                of("sub_1", "in_2", next, 1000).created(20).event("invoice.paid").at(20),
            ],
        )
        .due(10000, "usd")
        .ends(
            "partially_refunded 11000 3000 usd renewals=1 paid@10 refunded@15",
            "paid partially_refunded renewed",
            "aaa",
        ),
        story(
            "the newest failed, and is tried again by debit",
            vec![
                of("sub_1", "in_1", first, 1000)
                    .set("charge", "ch_1")
                    .event("invoice.payment_failed")
                    .at(10),
                charge("ch_2").invoice("in_1").status("pending").event("charge.pending").at(20),
            ],
        )
        .ends("processing 0 0 usd failed@10", "failed processing", "aa"),
    ]);
}

#[test]
fn an_amount_that_cannot_be_read_is_not_guessed() {
    let mut memory = Memory::new(Policy::default());
    memory.deliver([&pays("pi_1", 1000, "usd", 10).event()]);
    for event in [
        dispute("dp_1").pi("pi_1").set("amount", "abc").event("charge.dispute.created").at(20),
        invoice_payment("inpay_1")
            .invoice("in_1")
            .pi("pi_1")
            .set("amount_paid", "abc")
            .event("invoice_payment.paid")
            .at(30),
    ] {
        memory.deliver([&event.event()]);
        let outcome = memory.outcome(&event.event_id());
        assert_eq!(outcome.outcome, Outcome::Ignored, "{}", outcome.reason);
        assert!(outcome.reason.contains("amount"), "{}", outcome.reason);
    }
    assert_eq!(row(&memory, "O1"), "paid 1000 0 usd paid@10");
    assert_eq!(told(&memory, "O1"), "paid");
}

#[test]
fn what_a_partial_capture_releases_depends_on_the_api_version() {
    const OLD: &str = "2024-06-20";
    let captured = |captured: i64, total: i64| {
        charge_1().order("O1").set("amount", 10000).set("amount_captured", captured).refunded(total)
    };
    let refunded = |id: &str, amount: i64| {
        refund(id).pi("pi_1").charge("ch_1").amount(amount, "usd").event("refund.created")
    };
    let half_back = "partially_refunded 5000 2000 usd paid@10 refunded@20";
    check_all(&[
        story(
            "since basil no total includes it",
            vec![
                captured(5000, 0).event("charge.captured").at(10),
                captured(5000, 2000).event("charge.refunded").at(20),
            ],
        )
        .ends(half_back, "paid partially_refunded", "aa"),
        story(
            "all given back",
            vec![
                captured(5000, 0).event("charge.captured").at(10),
                captured(5000, 5000).event("charge.refunded").at(20),
            ],
        )
        .ends("refunded 5000 5000 usd paid@10 refunded@20", "paid refunded", "aa"),
        story(
            "where only an update says it",
            vec![
                captured(5000, 5000).set("refunded", false).event("charge.updated").at(10),
                pi("pi_1").order("O1").amount(5000, "usd").event("payment_intent.succeeded").at(10),
            ],
        )
        .ends("paid 5000 0 usd paid@10", "paid", "au"),
        story(
            "only the last word",
            vec![captured(9000, 9000).set("refunded", true).event("charge.refunded").at(20)],
        )
        .ends("refunded 9000 9000 usd paid@20 refunded@20", "refunded", "a"),
        story(
            "before it every total does",
            vec![
                captured(5000, 5000).event("charge.captured").at(10).api_version(OLD),
                captured(5000, 7000).event("charge.refunded").at(20).api_version(OLD),
            ],
        )
        .ends(half_back, "paid partially_refunded", "aa"),
        story(
            "and it is a refund of its own",
            vec![
                captured(7000, 3000).event("charge.captured").at(10).api_version(OLD),
                refunded("re_1", 3000).at(10).api_version(OLD),
            ],
        )
        .due(7000, "usd")
        .ends("paid 7000 0 usd paid@10", "paid", "au"),
        story(
            "beside a true one of the same amount",
            vec![
                captured(7000, 3000).event("charge.captured").at(10).api_version(OLD),
                refunded("re_1", 3000).at(10).api_version(OLD),
                captured(7000, 6000).event("charge.refunded").at(20).api_version(OLD),
                refunded("re_2", 3000).at(20).api_version(OLD),
            ],
        )
        .due(7000, "usd")
        .ends(
            "partially_refunded 7000 3000 usd paid@10 refunded@10",
            "paid partially_refunded",
            "auau",
        ),
    ]);
}

#[test]
fn what_was_taken_off_counts_as_soon_as_the_money_has_come() {
    let reduced =
        |story: Story| story.due(5000, "usd").ends("paid 4500 0 usd paid@20", "paid", "ua");
    check_all(&[
        story(
            "a session that completed unpaid",
            vec![
                session("cs_1")
                    .order("O1")
                    .pi("pi_1")
                    .amount(4500, "usd")
                    .payment_status("unpaid")
                    .set("total_details", json!({"amount_discount": 500}))
                    .event(COMPLETED)
                    .at(10),
                pays("pi_1", 4500, "usd", 20),
            ],
        )
        .due(5000, "usd")
        .ends("paid 4500 0 usd paid@20", "processing paid", "aa"),
        reduced(story(
            "an invoice that its parts paid",
            vec![
                one_off(4500)
                    .set("amount_paid", 0)
                    .set("total_discount_amounts", json!([{"amount": 500}]))
                    .status("open")
                    .event("invoice.finalized")
                    .at(10),
                invoice_payment("inpay_1")
                    .invoice("in_1")
                    .pi("pi_1")
                    .amount(4500, "usd")
                    .event("invoice_payment.paid")
                    .at(20),
            ],
        )),
        story(
            "a part was paid before the rest failed",
            vec![
                one_off(10000)
                    .set("amount_paid", 4000)
                    .status("open")
                    .event("invoice.payment_failed")
                    .at(10),
            ],
        )
        .due(10000, "usd")
        .ends("pending 4000 0 usd problem=underpaid paid@10 failed@10", "problem", "a"),
    ]);
}

#[test]
fn two_that_were_partly_given_back_are_no_double_payment() {
    story(
        "as much as one is left",
        vec![
            pays("pi_1", 3000, "usd", 10),
            gives_back("re_1", "pi_1", 1000, "usd", 20),
            pays("pi_2", 3000, "usd", 30),
            gives_back("re_2", "pi_2", 2000, "usd", 40),
        ],
    )
    .ends(
        "paid 6000 3000 usd paid@10 refunded@20",
        "paid partially_refunded paid+problem partially_refunded",
        "aaaa",
    )
    .check();
}
