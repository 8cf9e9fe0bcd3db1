//! paidup: Stripe webhooks in, order states out.

pub mod domain;
