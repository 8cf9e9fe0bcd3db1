//! Any header over any body, which stand in the input on either side of its first line end: whatever
//! passes carries the one signature that the secret makes, and the time it is of.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use paidup::domain::signature::{SigningSecret, verify};

const NOW: i64 = 1_800_000_000;

fuzz_target!(|input: &[u8]| {
    let secrets = [SigningSecret::new("whsec_fuzz_0123456789").expect("not empty")];
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, body) = input.split_at(end);
    let Ok(proof) = verify(header, Bytes::copy_from_slice(body), &secrets, NOW, 300) else {
        return;
    };
    let good = secrets[0].header(proof.signed_at(), body);
    let v1 = good.split("v1=").nth(1).expect("it has one");
    let text = std::str::from_utf8(header).expect("what passes is text");
    assert!(text.contains(v1) && proof.signed_at().abs_diff(NOW) <= 300, "{text}");
});
