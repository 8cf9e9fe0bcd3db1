//! The samples of Checkout Sessions, invoices and subscriptions.

use serde_json::{Value, json};

use super::Twist::{self, Balance, Bare, Deposit, Renewal, Unpaid};
use super::{EMAIL, NAME, Sale, address, which};

const MONTH_SECONDS: i64 = 30 * 24 * 60 * 60;
const RETRY_SECONDS: i64 = 3 * 24 * 60 * 60;
const SESSION_SECONDS: i64 = 24 * 60 * 60;

impl Sale<'_> {
    pub(super) fn session(&self, kind: &str, twist: Twist) -> Value {
        let is_open = kind == "checkout.session.expired";
        let is_paid =
            !is_open && twist != Unpaid && kind != "checkout.session.async_payment_failed";
        json!({
            "id": self.id("cs_test", ""), "object": "checkout.session",
            "adaptive_pricing": {"enabled": false}, "after_expiration": null,
            "allow_promotion_codes": null, "amount_subtotal": self.amount,
            "amount_total": self.amount,
            "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
            "billing_address_collection": null, "cancel_url": "https://shop.example/cart",
            "client_reference_id": null, "consent": null, "created": self.since,
            "currency": self.currency, "currency_conversion": null, "custom_fields": [],
            "customer": (!is_open).then(|| self.customer_id()), "customer_creation": "always",
            "customer_details": (!is_open).then(|| json!({
                "address": address(), "email": EMAIL, "name": NAME, "phone": null,
                "tax_exempt": "none", "tax_ids": [],
            })),
            "customer_email": null, "discounts": [],
            "expires_at": self.since.saturating_add(SESSION_SECONDS), "invoice": null,
            "invoice_creation": null, "livemode": false, "locale": "auto",
            "metadata": self.metadata(twist), "mode": "payment",
            // A PaymentIntent is made when the customer confirms.
            "payment_intent": (!is_open).then(|| self.payment_intent_id(twist)),
            "payment_link": null, "payment_method_collection": "if_required",
            "payment_method_types": ["card", "sepa_debit"],
            "payment_status": if is_paid { "paid" } else { "unpaid" }, "recovered_from": null,
            "setup_intent": null, "shipping_address_collection": null, "shipping_cost": null,
            "shipping_options": [], "status": if is_open { "expired" } else { "complete" },
            "submit_type": null, "subscription": null,
            "success_url": "https://shop.example/thank-you",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted", "url": null,
        })
    }

    pub(super) fn invoice(&self, kind: &str, twist: Twist, at: i64) -> Value {
        let (status, paid) = match kind {
            "invoice.paid" | "invoice.payment_succeeded" | "invoice.overpaid" => {
                ("paid", self.amount(twist))
            }
            "invoice.updated" => ("open", self.half()),
            "invoice.voided" => ("void", 0),
            "invoice.marked_uncollectible" => ("uncollectible", 0),
            _ => ("open", 0),
        };
        let reason = match twist {
            Renewal => "subscription_cycle",
            Deposit | Balance => "manual",
            _ => "subscription_create",
        };
        let (is_one_off, is_paid) = (reason == "manual", status == "paid");
        let id = self.invoice_id(twist);
        // A subscription's second invoice is newer than its first.
        let created = self.since.saturating_add(i64::from(twist == Renewal));
        let amount = self.amount(twist);
        let parent = (!is_one_off).then(|| {
            json!({"type": "subscription_details", "quote_details": null, "subscription_details": {
                "metadata": self.metadata(twist), "subscription": self.subscription_id(),
            }})
        });
        json!({
            "id": id, "object": "invoice", "account_country": "US", "account_name": "A shop",
            "amount_due": amount, "amount_overpaid": i64::from(kind == "invoice.overpaid"), "amount_paid": paid,
            "amount_remaining": amount - paid, "amount_shipping": 0,
            "attempt_count": 1, "attempted": true, "auto_advance": status == "open",
            "automatic_tax": {"enabled": false, "status": null},
            "billing_reason": reason,
            "collection_method": if is_one_off { "send_invoice" } else { "charge_automatically" },
            "created": created, "currency": self.currency, "customer": self.customer_id(),
            "customer_email": EMAIL, "customer_name": NAME, "default_payment_method": null,
            "description": null, "discounts": [], "due_date": null, "ending_balance": 0,
            "lines": {"object": "list", "has_more": false, "total_count": 1, "data": [
                self.line(twist, &id, created, is_one_off),
            ]},
            "livemode": false,
            "metadata": self.metadata(if is_one_off { twist } else { Bare }),
            "next_payment_attempt":
                (kind == "invoice.payment_failed").then(|| at.saturating_add(RETRY_SECONDS)),
            "number": "PAIDUP-0001", "parent": parent,
            "period_end": created, "period_start": created, "starting_balance": 0,
            "status": status,
            "status_transitions": {
                "finalized_at": created,
                "marked_uncollectible_at": (status == "uncollectible").then_some(at),
                "paid_at": is_paid.then_some(at), "voided_at": (status == "void").then_some(at),
            },
            "subtotal": amount, "total": amount, "total_taxes": [],
        })
    }

    fn line(&self, twist: Twist, invoice: &str, created: i64, is_one_off: bool) -> Value {
        let parent = if is_one_off {
            json!({"type": "invoice_item_details", "invoice_item_details": {
                "invoice_item": self.id("ii", invoice), "proration": false, "subscription": null,
            }})
        } else {
            json!({"type": "subscription_item_details", "subscription_item_details": {
                "proration": false, "subscription": self.subscription_id(),
                "subscription_item": self.id("si", ""),
            }})
        };
        json!({
            "id": self.id("il", invoice), "object": "line_item", "amount": self.amount(twist),
            "currency": self.currency, "description": self.description(), "invoice": invoice,
            "livemode": false, "metadata": self.metadata(if is_one_off { Bare } else { twist }),
            "parent": parent,
            "period": {"start": created, "end": created.saturating_add(MONTH_SECONDS)},
            "quantity": 1,
        })
    }

    pub(super) fn invoice_payment(&self, twist: Twist) -> Value {
        let amount = self.amount(twist);
        json!({
            "id": self.id("inpay", which(twist)), "object": "invoice_payment",
            "amount_paid": amount, "amount_requested": amount, "created": self.since,
            "currency": self.currency, "invoice": self.invoice_id(twist), "is_default": true,
            "livemode": false,
            "payment": {"type": "payment_intent", "payment_intent": self.payment_intent_id(twist)},
            "status": "paid",
            "status_transitions": {"canceled_at": null, "paid_at": self.since},
        })
    }

    pub(super) fn subscription(&self, kind: &str) -> Value {
        let id = self.subscription_id();
        let is_over = kind == "customer.subscription.deleted";
        json!({            "id": id, "object": "subscription", "application": null,
            "automatic_tax": {"enabled": false}, "billing_cycle_anchor": self.since,
            "cancel_at": null, "cancel_at_period_end": false,
            "canceled_at": is_over.then_some(self.since),
            "collection_method": "charge_automatically", "created": self.since,
            "currency": self.currency, "customer": self.customer_id(), "days_until_due": null,
            "default_payment_method": self.id("pm", ""), "description": null, "discounts": [],
            "ended_at": is_over.then_some(self.since),
            "items": {"object": "list", "has_more": false, "total_count": 1, "data": [{
                "id": self.id("si", ""), "object": "subscription_item", "created": self.since,
                "current_period_start": self.since,
                "current_period_end": self.since.saturating_add(MONTH_SECONDS),
                "metadata": {}, "quantity": 1, "subscription": id,
                "price": {
                    "id": self.id("price", ""), "object": "price", "active": true,
                    "currency": self.currency, "unit_amount": self.amount, "type": "recurring",
                    "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
                },
            }]},
            "latest_invoice": self.invoice_id(Twist::Plain), "livemode": false,
            "metadata": self.metadata(Twist::Plain), "next_pending_invoice_item_invoice": null,
            "start_date": self.since, "status": if is_over { "canceled" } else { "active" }, "test_clock": null, "trial_end": null,
        })
    }

    fn invoice_id(&self, twist: Twist) -> String {
        self.id("in", which(twist))
    }

    fn subscription_id(&self) -> String {
        self.id("sub", "")
    }
}
