//! Any header over any body: it passes if, and only if, an independent reading says that it must, by the
//! same secret and of the same time.

#![no_main]

mod reference;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use paidup::domain::signature::{SigningSecret, verify};
use reference::{Call, NOW, SECRETS, TOLERANCE_SECONDS};

fuzz_target!(|input: &[u8]| {
    let Some(call) = Call::of(input) else { return };
    let secrets = SECRETS.map(|secret| SigningSecret::new(secret).expect("not empty"));
    let body = Bytes::copy_from_slice(call.body);
    let verified = verify(&call.header, body, &secrets, NOW, TOLERANCE_SECONDS);
    let passed = verified.as_ref().ok().map(|proof| (proof.secret(), proof.signed_at()));
    let header = String::from_utf8_lossy(&call.header);
    assert_eq!(passed, call.judge(), "{header}: {:?}", verified.as_ref().err());
    assert!(verified.is_ok_and(|proof| proof.body() == call.body) || passed.is_none());
});
