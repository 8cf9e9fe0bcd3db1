//! The other proofs that a body is Stripe's, beside the signature ([`super::signature`]).
//!
//! A body is read only with a proof of where it came from. Whoever makes one of these says so by the
//! name of the function that makes it; there is no other way to an event.

use bytes::Bytes;

/// A body that Stripe's API answered with. No signature is on it: the key that asked and the
/// certificate that answered are the proof.
#[derive(Debug, Clone)]
pub struct Fetched {
    body: Bytes,
    asked_at: i64,
}

impl Fetched {
    /// One element of the list that Stripe's API gave for our key, over TLS, byte for byte.
    /// `asked_at` is in Unix seconds.
    #[must_use]
    pub fn from_stripes_api_with_our_key(body: Bytes, asked_at: i64) -> Self {
        Self { body, asked_at }
    }

    pub(super) fn parts(&self) -> (&Bytes, i64) {
        (&self.body, self.asked_at)
    }
}

/// A body of our own table of events. It was proven when it was recorded; its signature is not kept,
/// and would be too old by now.
#[derive(Debug, Clone)]
pub struct Stored {
    body: Bytes,
    received_at: i64,
}

impl Stored {
    /// A row's body, and when it came, in Unix seconds.
    #[must_use]
    pub fn in_our_table_of_events(body: Bytes, received_at: i64) -> Self {
        Self { body, received_at }
    }

    pub(super) fn parts(&self) -> (&Bytes, i64) {
        (&self.body, self.received_at)
    }
}
