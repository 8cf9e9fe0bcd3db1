//! The fields that matter, of each object that an event can be about.

use crate::domain::lenient::{List, Metadata, Value, lenient_object};

lenient_object! {
    /// A webhook's body.
    pub struct Envelope<'a> {
        id: Value<'a>,
        object: Value<'a>,
        r#type: Value<'a>,
        api_version: Value<'a>,
        account: Value<'a>,
        livemode: Value<'a>,
        created: Value<'a>,
        data: Data<'a>,
    }
}

lenient_object! {
    /// `data`.
    pub struct Data<'a> {
        object: Object<'a>,
    }
}

lenient_object! {
    /// `data.object`, of whatever kind.
    pub struct Object<'a> {
        id: Value<'a>,
        created: Value<'a>,
        date: Value<'a>,
        status: Value<'a>,
        currency: Value<'a>,
        metadata: Metadata<'a>,
        amount: Value<'a>,
        amount_received: Value<'a>,
        amount_captured: Value<'a>,
        amount_refunded: Value<'a>,
        amount_total: Value<'a>,
        amount_paid: Value<'a>,
        amount_due: Value<'a>,
        amount_remaining: Value<'a>,
        amount_details: AmountDetails<'a>,
        total: Value<'a>,
        tax: Value<'a>,
        total_taxes: List<Listed<'a>>,
        total_tax_amounts: List<Listed<'a>>,
        total_discount_amounts: List<Listed<'a>>,
        total_details: TotalDetails<'a>,
        shipping_cost: ShippingCost<'a>,
        currency_conversion: CurrencyConversion<'a>,
        captured: Value<'a>,
        refunded: Value<'a>,
        paid: Value<'a>,
        paid_out_of_band: Value<'a>,
        mode: Value<'a>,
        payment_status: Value<'a>,
        payment_link: Value<'a>,
        client_reference_id: Value<'a>,
        payment_intent: Value<'a>,
        latest_charge: Value<'a>,
        charges: List<Listed<'a>>,
        charge: Value<'a>,
        invoice: Value<'a>,
        subscription: Value<'a>,
        billing_reason: Value<'a>,
        reason: Value<'a>,
        evidence_details: EvidenceDetails<'a>,
        failure_code: Value<'a>,
        failure_message: Value<'a>,
        cancellation_reason: Value<'a>,
        last_payment_error: PaymentError<'a>,
        receipt_email: Value<'a>,
        customer_email: Value<'a>,
        customer_details: Person<'a>,
        billing_details: Person<'a>,
        payment: InvoicePaymentOf<'a>,
        parent: Parent<'a>,
        subscription_details: SubscriptionDetails<'a>,
        lines: List<Line<'a>>,
        refunds: List<Listed<'a>>,
    }
}

lenient_object! {
    /// A PaymentIntent's `amount_details`.
    pub struct AmountDetails<'a> {
        tip: Listed<'a>,
    }
}

lenient_object! {
    /// A Checkout Session's `total_details`.
    pub struct TotalDetails<'a> {
        amount_discount: Value<'a>,
        amount_shipping: Value<'a>,
        amount_tax: Value<'a>,
    }
}

lenient_object! {
    /// An invoice's `shipping_cost`.
    pub struct ShippingCost<'a> {
        amount_total: Value<'a>,
    }
}

lenient_object! {
    /// A Checkout Session's `currency_conversion`, before 2025-03-31.
    pub struct CurrencyConversion<'a> {
        amount_total: Value<'a>,
        source_currency: Value<'a>,
    }
}

lenient_object! {
    /// A dispute's `evidence_details`.
    pub struct EvidenceDetails<'a> {
        due_by: Value<'a>,
    }
}

lenient_object! {
    /// A PaymentIntent's `last_payment_error`.
    pub struct PaymentError<'a> {
        code: Value<'a>,
        decline_code: Value<'a>,
        message: Value<'a>,
    }
}

lenient_object! {
    /// `customer_details`, `billing_details`.
    pub struct Person<'a> {
        email: Value<'a>,
    }
}

lenient_object! {
    /// An invoice payment's `payment`.
    pub struct InvoicePaymentOf<'a> {
        payment_intent: Value<'a>,
        charge: Value<'a>,
        payment_record: Value<'a>,
    }
}

lenient_object! {
    /// An invoice's `parent`, from basil on.
    pub struct Parent<'a> {
        subscription_details: SubscriptionDetails<'a>,
    }
}

lenient_object! {
    /// What an invoice knows of its subscription.
    pub struct SubscriptionDetails<'a> {
        metadata: Metadata<'a>,
        subscription: Value<'a>,
    }
}

lenient_object! {
    /// An invoice's line.
    pub struct Line<'a> {
        metadata: Metadata<'a>,
    }
}

lenient_object! {
    /// An element of a list: a refund, a charge, a tax, a discount.
    pub struct Listed<'a> {
        id: Value<'a>,
        amount: Value<'a>,
        status: Value<'a>,
    }
}
