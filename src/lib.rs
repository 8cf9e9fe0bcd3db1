//! paidup: Stripe webhooks in, order states out.

pub mod domain;

pub mod store;
