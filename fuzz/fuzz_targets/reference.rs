//! What an input of the targets `signature` and `handler` is as a call, and whether that call is Stripe's:
//! judged by the words of the README alone, with another HMAC than paidup's.
//!
//! Nobody guesses a signature. So an input has its header as a template, and the right signature is put
//! where it asks for that: what is tried is everything around it.

use ring::hmac;

/// What the clock says, in Unix seconds.
pub const NOW: i64 = 1_800_000_000;
/// How far `t` may be from it, either way.
pub const TOLERANCE_SECONDS: u32 = 300;
/// The secrets of the endpoint, the second the old one.
pub const SECRETS: [&str; 2] = ["whsec_fuzz_0123456789", "whsec_fuzz_before_that_0123456789"];
const STRANGERS: &str = "whsec_fuzz_of_somebody_else";

/// A call, as it comes to the webhook.
pub struct Call<'a> {
    pub header: Vec<u8>,
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// Two bytes say how many seconds from now it is signed, in the order of the machines that are small
    /// first; up to the first line end is the header, and then the body. In the header `#` is the time of
    /// the signature, `@` and `$` are the signature by the first and the second secret, `~` is a stranger's.
    pub fn of(input: &'a [u8]) -> Option<Self> {
        let (ahead, rest) = input.split_first_chunk::<2>()?;
        let time = NOW + i64::from(i16::from_le_bytes(*ahead));
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (template, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        let mut header = Vec::new();
        for byte in template {
            match byte {
                b'#' => header.extend(time.to_string().bytes()),
                b'@' => header.extend(v1(SECRETS[0], time, body).bytes()),
                b'$' => header.extend(v1(SECRETS[1], time, body).bytes()),
                b'~' => header.extend(v1(STRANGERS, time, body).bytes()),
                other => header.push(*other),
            }
        }
        Some(Self { header, body })
    }

    /// Which secret signed it, and when; `None` if it must be refused.
    pub fn judge(&self) -> Option<(usize, i64)> {
        let text = std::str::from_utf8(&self.header).ok().filter(|text| text.len() <= 4096)?;
        let of = |name: &str| -> Vec<&str> {
            text.split(',').filter_map(|item| item.trim().strip_prefix(name)).collect()
        };
        let (times, signatures) = (of("t="), of("v1="));
        let [time] = times[..] else { return None };
        let time: i64 = time.trim().parse().ok()?;
        let signed_by = |secret: &&str| signatures.contains(&v1(secret, time, self.body).as_str());
        let secret = SECRETS.iter().position(signed_by)?;
        let is_good = signatures.len() <= 16 && time.abs_diff(NOW) <= TOLERANCE_SECONDS.into();
        is_good.then_some((secret, time))
    }
}

fn v1(secret: &str, time: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{time}.").as_bytes());
    signed.update(body);
    signed.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
