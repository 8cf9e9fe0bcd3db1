//! Signatures are forged: good headers and bodies are bent a million times, and none may pass. The same
//! calls go to Stripe's own package, which must take and refuse the same. And whether the time of a
//! comparison tells how much of a signature was right.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use paidup::domain::signature::{SigningSecret, TOLERANCE_SECONDS_DEFAULT, verify};

use super::forged_sdk;
use crate::Result;
use crate::events::{Events, Random, SECRET};
use crate::form::Form;
use crate::report::Report;

pub const NOW: i64 = 1_800_000_000;
const BODIES: u32 = 100;
/// What a header is bent with: its own letters first.
pub const LETTERS: &[u8] = b"0123456789abcdef=,tv v1t0Av2-+;:\"\\\x00\x09\xff";
/// Above it, two times are said to differ (the bound of dudect).
const T_MAX: f64 = 4.5;

pub fn run(form: &Form) -> Result<Report> {
    let mut report = Report::default();
    let seed = Random::seed();
    report.figure("seed", seed.to_string());
    mutations(form, &mut Random::new(seed), &mut report)?;
    timing(form, &mut Random::new(seed), &mut report)?;
    report.section("beside Stripe's package");
    forged_sdk::run(form, &mut Random::new(seed), &mut report)?;
    Ok(report)
}

fn mutations(form: &Form, random: &mut Random, report: &mut Report) -> Result<()> {
    let secrets =
        [SigningSecret::new(SECRET)?, SigningSecret::new("whsec_the_old_one_0123456789")?];
    let other = SigningSecret::new("whsec_of_somebody_else_0123456789")?;
    let events = Events::at("forged", NOW);
    let bodies: Vec<Bytes> = (0..BODIES).map(|number| events.body(number)).collect();
    let count = form.pick(50_000_u32, 2_000_000);
    let (mut tried, mut accepted, mut untouched) = (0_u64, 0_u64, 0_u64);
    for number in 0..count {
        let body = bodies[(number % BODIES) as usize].clone();
        let signer = &secrets[(number % 2) as usize];
        let header = signer.header(NOW, &body);
        let (bent_header, bent_body) = bend(random, &header, &body, &other);
        if says_the_same(&header, &bent_header, NOW) && bent_body == body {
            // White space, another order, one item more: still what Stripe signed.
            untouched += 1;
            continue;
        }
        tried += 1;
        let verified =
            verify(&bent_header, bent_body.clone(), &secrets, NOW, TOLERANCE_SECONDS_DEFAULT);
        if verified.is_ok() {
            accepted += 1;
            report.broken(format!("accepted: {}", String::from_utf8_lossy(&bent_header)));
        }
        // And the control: unbent it passes.
        if number % 1000 == 0 {
            let good = verify(header.as_bytes(), body, &secrets, NOW, TOLERANCE_SECONDS_DEFAULT);
            report.must("what was not bent passes", good.is_ok());
        }
    }
    report.figure("mutations tried", tried);
    report.figure("mutations that left all as it was, passed over", untouched);
    report.figure("accepted", accepted);
    Ok(())
}

/// Whether a bent header still carries the good signature and its time, so that it may pass.
fn says_the_same(header: &str, bent: &[u8], now: i64) -> bool {
    let Some(v1) = header.split("v1=").nth(1) else { return false };
    let Ok(bent) = std::str::from_utf8(bent) else { return false };
    let items: Vec<&str> = bent.split(',').map(str::trim).collect();
    let times: Vec<&str> = items.iter().filter_map(|item| item.strip_prefix("t=")).collect();
    let has_time = times.len() == 1 && times.iter().all(|time| time.trim().parse() == Ok(now));
    has_time && items.iter().any(|item| item.strip_prefix("v1=") == Some(v1))
}

/// A good header and body, with something wrong in one of them.
pub fn bend(
    random: &mut Random,
    header: &str,
    body: &Bytes,
    other: &SigningSecret,
) -> (Vec<u8>, Bytes) {
    let (mut head, mut content) = (header.as_bytes().to_vec(), body.to_vec());
    match random.below(12) {
        0 => flip(random, &mut content),
        1 => drop(content.pop()),
        2 => content.push(LETTERS[random.below(LETTERS.len() as u64) as usize]),
        3 => {
            let (one, two) =
                (random.below(content.len() as u64), random.below(content.len() as u64));
            content.swap(one as usize, two as usize);
        }
        4 => head = other.header(NOW, body).into_bytes(),
        5 => {
            let seconds = 1 + random.below(1_000_000) as i64;
            let time = if random.below(2) == 0 { NOW + seconds } else { NOW - seconds };
            head = header.replace(&format!("t={NOW}"), &format!("t={time}")).into_bytes();
        }
        6 => head = header.replace("v1=", "v0=").into_bytes(),
        7 => head.truncate(random.below(head.len() as u64) as usize),
        8 => {
            let at = random.below(head.len() as u64 + 1) as usize;
            head.insert(at, LETTERS[random.below(LETTERS.len() as u64) as usize]);
        }
        9 => drop(head.remove(random.below(head.len() as u64) as usize)),
        _ => {
            for _ in 0..=random.below(4) {
                if random.below(3) == 0 {
                    flip(random, &mut head);
                } else {
                    let at = random.below(head.len() as u64) as usize;
                    head[at] = LETTERS[random.below(LETTERS.len() as u64) as usize];
                }
            }
        }
    }
    (head, Bytes::from(content))
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    let at = random.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << random.below(8);
}

/// Two headers in random turn over the same body: one wrong in the first digit, one in the last. Welch's
/// t over their times, without the slowest tenth, says whether they differ.
fn timing(form: &Form, random: &mut Random, report: &mut Report) -> Result<()> {
    let secrets = [SigningSecret::new(SECRET)?];
    let body = Bytes::from_static(b"{}");
    let header = secrets[0].header(NOW, &body);
    let (time, v1) = header.split_once("v1=").ok_or("a header has a v1")?;
    // Another digit for a digit, another letter for a letter: reading these takes the same way.
    let wrong = |digit: u8| match digit {
        b'0' => '1',
        b'1'..=b'9' => '0',
        b'a' => 'b',
        _ => 'a',
    };
    let v1 = v1.as_bytes();
    let first = format!("{time}v1={}{}", wrong(v1[0]), std::str::from_utf8(&v1[1..])?);
    let last = format!("{time}v1={}{}", std::str::from_utf8(&v1[..63])?, wrong(v1[63]));
    let mut times = [Vec::new(), Vec::new()];
    // Both stand in the same place: where a header lies in memory has a time of its own.
    let mut sent = first.as_bytes().to_vec();
    for _ in 0..form.pick(20_000, 1_000_000) {
        let class = random.below(2) as usize;
        sent.copy_from_slice([first.as_bytes(), last.as_bytes()][class]);
        let body = body.clone();
        let started = Instant::now();
        let verified = black_box(verify(black_box(&sent), body, &secrets, NOW, 300));
        times[class].push(started.elapsed().as_nanos() as f64);
        if verified.is_ok() {
            report.broken("a wrong digit passed".to_owned());
        }
    }
    let t = welch(&mut times);
    report
        .figure("timing, |t| of first against last digit wrong", (t.abs() * 100.0).round() / 100.0);
    // Machines of CI are shared, and a neighbour's work is in the times.
    report.must(
        &format!("the comparison's time tells nothing: |t| < {T_MAX}"),
        !form.long || t.abs() < T_MAX,
    );
    Ok(())
}

fn welch(times: &mut [Vec<f64>; 2]) -> f64 {
    let mut all: Vec<f64> = times.concat();
    all.sort_by(f64::total_cmp);
    let most = all.get(all.len() * 9 / 10).copied().unwrap_or(f64::MAX);
    let [one, two] = times.each_ref().map(|times| {
        let kept: Vec<f64> = times.iter().copied().filter(|time| *time <= most).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (one.0 - two.0) / (one.1 + two.1).sqrt()
}
