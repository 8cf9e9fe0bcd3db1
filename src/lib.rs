//! paidup: Stripe webhooks in, order states out.

pub mod domain;
pub mod http;
pub mod ingest;
pub mod store;
