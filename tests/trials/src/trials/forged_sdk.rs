//! The same calls to paidup and to Stripe's own Python package: who takes which? Where they differ by
//! design a rule names the difference, from the call itself; any other difference fails the trial.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use paidup::domain::event::{Event, NotAnEvent};
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::signature::{
    HEADER_BYTES_MAX, Rejected, SigningSecret, TOLERANCE_SECONDS_DEFAULT, V1_ITEMS_MAX, Verified,
    verify,
};
use serde_json::json;

use super::forged::{LETTERS, NOW, bend};
use crate::Result;
use crate::events::{Events, Random, SECRET};
use crate::form::Form;
use crate::report::Report;

const SECRETS: [&str; 2] = [SECRET, "whsec_the_old_one_0123456789"];
const STRANGERS: &str = "whsec_of_somebody_else_0123456789";
/// So many are asked before the answers are read.
const ASKED_AT_ONCE: usize = 500;
const BODIES: u32 = 40;
const TOLERANCE: i64 = TOLERANCE_SECONDS_DEFAULT as i64;

/// Whether a refusal of paidup's is by this rule.
type Stricter = fn(&Case, Rejected) -> bool;
/// An item of a header without what paidup passes over; `None` if it passes over all of it.
type Laxer = fn(&str) -> Option<&str>;

/// Where paidup refuses what the package takes.
const STRICTER: [(&str, Stricter); 6] = [
    ("the header says two times", |case, why| {
        why == Rejected::Malformed && case.items("t=").len() > 1
    }),
    ("the time is no plain whole number", |case, why| {
        let times = case.items("t=");
        why == Rejected::Malformed && times.iter().any(|time| time.trim().parse::<i64>().is_err())
    }),
    ("the header is not UTF-8", |case, why| {
        why == Rejected::Malformed && std::str::from_utf8(&case.header).is_err()
    }),
    ("the header is too large", |case, why| {
        let is_large = case.header.len() > HEADER_BYTES_MAX;
        why == Rejected::TooLarge && (is_large || case.items("v1=").len() > V1_ITEMS_MAX)
    }),
    ("the signature is of later than 300 s from now", |_, why| why == Rejected::TooNew),
    ("behind the signature there is a = and more", |case, why| {
        why == Rejected::NoMatch && case.items("v1=").iter().any(|value| value.contains('='))
    }),
];

/// Where paidup takes what the package refuses: what stands around the good signature is passed over,
/// and without it the package must take the call too. So none of it takes part in the proof.
const LAXER: [(&str, Laxer); 3] = [
    ("there is white space around an item", |item| Some(item.trim())),
    ("there is a t or v1 without =", |item| (!matches!(item.trim(), "t" | "v1")).then_some(item)),
    ("there is a v1 with other letters than ASCII's", |item| {
        (!item.trim().starts_with("v1=") || item.trim().is_ascii()).then_some(item)
    }),
];
const BODY_NOT_UTF8: &str = "the body is not UTF-8 (refused as no event)";
const SEVERAL: &str = "several of these";

/// A call.
#[derive(Clone)]
struct Case {
    header: Vec<u8>,
    body: Bytes,
}

impl Case {
    /// The values of all items that begin like this, as paidup sees them.
    fn items(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.header);
        let values = text.split(',').filter_map(|item| item.trim().strip_prefix(name));
        values.map(str::to_owned).collect()
    }

    /// Without what these rules pass over.
    fn without(&self, rules: &[Laxer]) -> Self {
        let text = String::from_utf8_lossy(&self.header);
        let through = |item| rules.iter().try_fold(item, |item, rule| rule(item));
        let items: Vec<&str> = text.split(',').filter_map(through).collect();
        Self { header: items.join(",").into_bytes(), body: self.body.clone() }
    }
}

/// Counts the differences; any that no rule explains is told.
pub fn run(form: &Form, random: &mut Random, report: &mut Report) -> Result<()> {
    let mut sdk = Sdk::start()?;
    let maker = Maker::new()?;
    let mut counted = Counted::default();
    let rounds = form.pick(50_000, 1_000_000) / ASKED_AT_ONCE;
    for _ in 0..rounds {
        let cases: Vec<Case> = (0..ASKED_AT_ONCE).map(|_| maker.case(random)).collect();
        let theirs = sdk.ask(&cases)?;
        for (case, theirs) in cases.iter().zip(theirs) {
            let tolerance = TOLERANCE_SECONDS_DEFAULT;
            let ours = verify(&case.header, case.body.clone(), &maker.signers, NOW, tolerance);
            match (ours, theirs) {
                (Ok(_), true) => counted.both_take += 1,
                (Err(_), false) => counted.both_refuse += 1,
                (Err(why), true) => counted.stricter(case, why, report),
                (Ok(proof), false) => counted.laxer(case, &proof, &mut sdk, report)?,
            }
        }
    }
    counted.tell(report);
    Ok(())
}

/// How often what was found.
#[derive(Default)]
struct Counted {
    both_take: u64,
    both_refuse: u64,
    by_rule: std::collections::BTreeMap<&'static str, u64>,
}

impl Counted {
    fn stricter(&mut self, case: &Case, why: Rejected, report: &mut Report) {
        match STRICTER.iter().find(|(_, holds)| holds(case, why)) {
            Some((name, _)) => *self.by_rule.entry(name).or_default() += 1,
            None => tell(report, &format!("refused ({}) without a rule", why.reason()), case),
        }
    }

    fn laxer(
        &mut self,
        case: &Case,
        proof: &Verified,
        sdk: &mut Sdk,
        report: &mut Report,
    ) -> Result<()> {
        if std::str::from_utf8(&case.body).is_err() {
            if Event::read(proof, &OrderIdRules::default())
                .is_err_and(|why| why == NotAnEvent::NotJson)
            {
                *self.by_rule.entry(BODY_NOT_UTF8).or_default() += 1;
            } else {
                tell(report, "taken though its body is not UTF-8", case);
            }
            return Ok(());
        }
        let mut plainer: Vec<Case> = LAXER.iter().map(|(_, rule)| case.without(&[*rule])).collect();
        plainer.push(case.without(&LAXER.map(|(_, rule)| rule)));
        let names = LAXER.iter().map(|(name, _)| *name).chain([SEVERAL]);
        match names.zip(sdk.ask(&plainer)?).find(|(_, is_taken)| *is_taken) {
            Some((name, _)) => *self.by_rule.entry(name).or_default() += 1,
            None => tell(report, "taken, and Stripe's package refuses it", case),
        }
        Ok(())
    }

    fn tell(&self, report: &mut Report) {
        report.figure("taken by both", self.both_take);
        report.figure("refused by both", self.both_refuse);
        let stricter = STRICTER.iter().map(|(name, _)| ("only paidup refuses", *name));
        let laxer = LAXER.iter().map(|(name, _)| *name).chain([BODY_NOT_UTF8]);
        let all = stricter.chain(laxer.map(|name| ("only Stripe's refuses", name)));
        for (who, name) in all {
            let count = self.by_rule.get(name).copied().unwrap_or_default();
            report.figure(&format!("{who}: {name}"), count);
            report.must(&format!("a call was made for the rule: {name}"), count > 0);
        }
        let several = self.by_rule.get(SEVERAL).copied().unwrap_or_default();
        report.figure(&format!("only Stripe's refuses: {SEVERAL}"), several);
        report.must("both took many", self.both_take > 1000);
    }
}

fn tell(report: &mut Report, what: &str, case: &Case) {
    let (header, body) = (case.header.escape_ascii(), case.body.escape_ascii());
    report.broken(format!("{what}: {header} over {body}"));
}

/// Makes calls: half of them good ones that are bent, half put together from pieces that are right, nearly
/// right or wrong, over a body that may be neither text nor JSON.
struct Maker {
    signers: Vec<SigningSecret>,
    other: SigningSecret,
    bodies: Vec<Bytes>,
}

impl Maker {
    fn new() -> Result<Self> {
        let signers =
            SECRETS.map(SigningSecret::new).into_iter().collect::<std::result::Result<_, _>>()?;
        let events = Events::at("differential", NOW);
        let bodies = (0..BODIES).map(|number| events.body(number)).collect();
        Ok(Self { signers, other: SigningSecret::new(STRANGERS)?, bodies })
    }

    fn case(&self, random: &mut Random) -> Case {
        let signer = &self.signers[random.below(2) as usize];
        let mut body = self.bodies[random.below(self.bodies.len() as u64) as usize].clone();
        if random.below(50) == 0 {
            let more = if random.below(2) == 0 { 0xff } else { one(random, LETTERS) };
            body = Bytes::from([&body[..], &[more]].concat());
        }
        if random.below(2) == 0 {
            let (header, body) = bend(random, &signer.header(NOW, &body), &body, &self.other);
            return Case { header, body };
        }
        let at = NOW
            + one(
                random,
                &[0, 0, 0, 0, 1, -1, -TOLERANCE, TOLERANCE, -TOLERANCE - 1, TOLERANCE + 1, 1 << 40],
            );
        let good = v1(signer, at, &body);
        let mut items = vec![time(random, at), format!("v1={good}").into_bytes()];
        if random.below(8) == 0 {
            let at = random.below(2) as usize;
            items.remove(at);
        }
        for _ in 0..random.below(4) {
            let at = random.below(items.len() as u64 + 1) as usize;
            items.insert(at, self.item(random, at as i64 + NOW, &good, &body));
        }
        if random.below(100) == 0 {
            let wrong = format!("v1={}", "0".repeat(64)).into_bytes();
            items.extend(vec![wrong; 10 + random.below(10) as usize]);
        }
        if random.below(100) == 0 {
            items.push(vec![b'x'; HEADER_BYTES_MAX - 200 + random.below(400) as usize]);
        }
        let between: &[u8] =
            one(random, &[b",", b",", b",", b",", b", ", b" ,", b",\t", b",,", b";", b",\xc2\xa0"]);
        Case { header: items.join(between), body }
    }

    /// Something beside the signature and its time.
    fn item(&self, random: &mut Random, at: i64, good: &str, body: &[u8]) -> Vec<u8> {
        let short = &good[..good.len() - 1];
        match random.below(24) {
            0 => time(random, at),
            1 => format!("v1={}", v1(&self.other, NOW, body)).into(),
            2 => format!("v1={}", good.to_uppercase()).into(),
            3 => format!("v1={short}").into(),
            4 => format!("v1={good}0").into(),
            5 => format!("v1={good}={}", random.below(3)).into(),
            6 => format!("v1=={good}").into(),
            7 => format!("v1= {good}").into(),
            8 => format!("v1={good} ").into(),
            9 => format!(" v1={good}").into(),
            10 => format!("V1={good}").into(),
            11 => format!("v0={good}").into(),
            12 => format!("\"v1={good}\"").into(),
            13 => format!("v1 ={good}").into(),
            14 => "v1=é".into(),
            15 => b"v1=\xff".into(),
            16 => "v1=".into(),
            17 => one(random, &["t", "v1", " t ", "v1\t", "v0", "", " ", "=", "t ", "tv1"]).into(),
            18 => b"x=\xfe\xff".into(),
            19 => "v1=zz".into(),
            20 => "scheme=unheard of".into(),
            21 => one(random, &["T=1", "t =1", "time=1", "tt=1"]).into(),
            _ => format!("v1={good}").into(),
        }
    }
}

fn v1(signer: &SigningSecret, at: i64, body: &[u8]) -> String {
    signer.header(at, body).split("v1=").nth(1).unwrap_or_default().to_owned()
}

/// An item with the time, mostly as Stripe writes it.
fn time(random: &mut Random, at: i64) -> Vec<u8> {
    let (digits, thousands) = (at.to_string(), at / 1000);
    match random.below(32) {
        0 => format!("t= {at}"),
        1 => format!("t={at} "),
        2 => format!(" t={at}"),
        3 => format!("t=+{at}"),
        4 => format!("t=00{at}"),
        5 => format!("t={thousands}_{:03}", at % 1000),
        6 => format!("t={at}.0"),
        7 => format!("t={at}x"),
        8 => format!("t={at}=1"),
        9 => format!("t=-{at}"),
        10 => format!("t={digits}{digits}{digits}"),
        11 => "t=".to_owned(),
        12 => format!("t=\u{1f}{at}"),
        13 => format!("T={at}"),
        14 => format!("t={}", at + 1),
        _ => format!("t={at}"),
    }
    .into()
}

fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

/// Stripe's package, in a Python that runs until this is dropped.
struct Sdk {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sdk {
    fn start() -> Result<Self> {
        let python = std::env::var("PAIDUP_TEST_PYTHON").map_err(|_| {
            "PAIDUP_TEST_PYTHON is not set; ./test.sh trials makes a Python with Stripe's package and sets it, \
             or name one that has tests/it/peers/requirements.txt"
        })?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../it/peers/stripe_signature.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let input = process.stdin.take().ok_or("a pipe")?;
        let output = BufReader::new(process.stdout.take().ok_or("a pipe")?);
        Ok(Self { process, input, output })
    }

    /// Which of these it takes. They must be few enough for their answers to fit into a pipe.
    fn ask(&mut self, cases: &[Case]) -> Result<Vec<bool>> {
        let latin = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let mut lines = String::new();
        for (index, case) in cases.iter().enumerate() {
            let call = json!({
                "header": latin(&case.header), "body": latin(&case.body), "secrets": SECRETS,
                "now": NOW, "tolerance": TOLERANCE, "flush": index + 1 == cases.len(),
            });
            lines.push_str(&call.to_string());
            lines.push('\n');
        }
        self.input.write_all(lines.as_bytes())?;
        let mut answers = Vec::new();
        for _ in cases {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            answers.push(match line.trim_end() {
                "ok" => true,
                "refused" => false,
                other => return Err(format!("Stripe's package says {other:?}").into()),
            });
        }
        Ok(answers)
    }
}
