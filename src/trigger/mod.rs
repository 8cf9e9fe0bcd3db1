//! `paidup trigger`: signs sample events as Stripe signs its, and sends them to a paidup on this
//! machine. The first minute needs no Stripe account, and shuffled or repeated deliveries can be tried.
//!
//! What the events look like is [`samples`]; which of them make a story is [`scenarios`].

pub mod samples;
pub mod scenarios;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::domain::order_ids;
use crate::domain::signature::SigningSecret;
use crate::domain::text::{ORDER_ID_BYTES_MAX, STRIPE_ID_BYTES_MAX, is_order_id};
use crate::http::client::{self, Answer};
use crate::http::visible::printable;
use samples::{KINDS, Sale, Step, Twist};
use scenarios::{SCENARIOS, Scenario};

const ANSWER_SECONDS_MAX: u64 = 15;
/// How much of an answer is printed if it is not the JSON that paidup sends.
const ANSWER_CHARS_MAX: usize = 200;
/// The most times that one event is sent.
const DUPLICATE_MAX: i64 = 100;
const AMOUNT_DEFAULT: i64 = 29_900;
/// Stripe's limits (docs.stripe.com/api/metadata).
const KEY_CHARS_MAX: usize = 40;
const VALUE_CHARS_MAX: usize = 500;

const AFTER_HELP: &str = "\
Examples:
  paidup trigger payment_intent.succeeded --order ORDER12345
  paidup trigger charge.refunded --order ORDER12345 --refunded 9900
  paidup trigger --scenario refunded --order ORDER7 --shuffle --duplicate 3
  paidup trigger --scenario paid --order ORDER7 --account acct_1ABC --metadata shop=berlin
  paidup trigger --list

The ids of a payment follow from the order's id, so that events sent one by one belong together.
The events are in test mode, and signed with STRIPE_WEBHOOK_SECRET or, without it, with the secret
that `paidup dev` made in this folder.";

/// What `paidup trigger` is asked to do.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TriggerArgs {
    /// The type of the event to send; --list shows them.
    #[arg(
        value_name = "EVENT TYPE",
        value_parser = PossibleValuesParser::new(KINDS.map(|(kind, _)| kind)),
        hide_possible_values = true,
        required_unless_present_any = ["list", "scenario"],
        conflicts_with_all = ["list", "scenario"]
    )]
    kind: Option<String>,
    /// The order that the payment is for, as metadata.order_id. Without it the event names none.
    #[arg(long, value_parser = order_id, required_unless_present_any = ["list", "kind"])]
    order: Option<String>,
    /// Adds this to the metadata of the object that names the order. May be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = metadata)]
    metadata: Vec<(String, String)>,
    /// Makes them events of this connected account. STRIPE_ACCOUNTS must allow it.
    #[arg(long, value_name = "acct_…", value_parser = account)]
    account: Option<String>,
    /// The amount, in the currency's minor unit: 29900 are 299.00 usd.
    #[arg(long, default_value_t = AMOUNT_DEFAULT, value_parser = clap::value_parser!(i64).range(1..))]
    amount: i64,
    /// The currency, three letters.
    #[arg(long, default_value = "usd", value_parser = currency)]
    currency: String,
    /// How much of the amount is refunded so far, where something is. All, unless the scenario is
    /// about less.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    refunded: Option<i64>,
    /// The events of a whole story instead of one; --list shows them.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|one| PossibleValue::new(one.name))),
        hide_possible_values = true,
        conflicts_with = "list"
    )]
    scenario: Option<String>,
    /// Deliver in random order, as Stripe may.
    #[arg(long)]
    shuffle: bool,
    /// Makes the random order of --shuffle again.
    #[arg(long, requires = "shuffle")]
    seed: Option<u64>,
    /// Deliver every event so often, as Stripe may.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=DUPLICATE_MAX))]
    duplicate: i64,
    /// Where paidup takes webhooks [default: the LISTEN address of this machine].
    #[arg(long)]
    url: Option<String>,
    /// Show the event types and the scenarios.
    #[arg(long)]
    list: bool,
}

fn order_id(text: &str) -> Result<String, String> {
    if is_order_id(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("an order id is 1 to {ORDER_ID_BYTES_MAX} bytes without control characters"))
    }
}

fn metadata(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("write key=value".to_owned());
    };
    if key == "order_id" {
        return Err("the order id is what --order says".to_owned());
    }
    if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) || key.contains(['[', ']']) {
        return Err(format!(
            "a key is 1 to {KEY_CHARS_MAX} characters, without square brackets, as at Stripe"
        ));
    }
    if value.chars().count() > VALUE_CHARS_MAX {
        return Err(format!("a value is at most {VALUE_CHARS_MAX} characters long, as at Stripe"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn account(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("acct_").unwrap_or_default();
    let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id && text.len() <= STRIPE_ID_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err("an account's id is acct_ and letters and digits".to_owned())
    }
}

fn currency(text: &str) -> Result<String, String> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a currency is three letters, such as usd".to_owned())
    }
}

/// What `run` takes from its surroundings.
pub struct Surroundings<S> {
    /// Where to send, if the arguments do not say.
    pub url: String,
    /// Gives the secret to sign with; not asked for a list.
    pub secret: S,
    /// Unix seconds.
    pub now: i64,
    /// Random, so that each run makes events of its own.
    pub nonce: u64,
}

/// Sends what the arguments ask for, and prints a line for each delivery.
///
/// # Errors
/// What to tell the user: that there is no secret, that nothing answers, or that paidup refused.
pub async fn run<S>(
    args: TriggerArgs,
    around: Surroundings<S>,
    out: &mut impl Write,
) -> Result<(), String>
where
    S: FnOnce() -> Result<SigningSecret, String>,
{
    if args.list {
        return list(out).map_err(told);
    }
    let plan = Plan::of(&args, around.now, around.nonce)?;
    let url = args.url.clone().unwrap_or(around.url);
    let secret = (around.secret)()?;
    if let Some(seed) = plan.seed {
        writeln!(out, "shuffled; the same order again: --seed {seed}").map_err(told)?;
    }
    // What became of the last event that was new: it may be parked until the next one brings the order.
    let mut ended = String::new();
    for delivery in &plan.deliveries {
        let answer = send(&url, &secret, around.now, &delivery.body).await?;
        let outcome = outcome(&answer);
        let Delivery { kind, id, .. } = delivery;
        writeln!(out, "{kind:<40} {id}  {} {outcome}", answer.status).map_err(told)?;
        if answer.status != 200 {
            return Err(refusal(answer.status));
        }
        if outcome != "duplicate" {
            ended = outcome;
        }
    }
    conclude(&args, plan.scenario, &ended, out).map_err(told)
}

fn told(error: std::io::Error) -> String {
    format!("cannot print: {}", error.kind())
}

/// One call to make.
struct Delivery {
    kind: &'static str,
    id: String,
    body: Bytes,
}

struct Plan {
    scenario: Option<&'static Scenario>,
    deliveries: Vec<Delivery>,
    seed: Option<u64>,
}

impl Plan {
    fn of(args: &TriggerArgs, now: i64, nonce: u64) -> Result<Self, String> {
        if args.refunded.is_some_and(|refunded| refunded > args.amount) {
            return Err(format!("--refunded is more than the amount, {}", args.amount));
        }
        let scenario = SCENARIOS.iter().find(|one| Some(one.name) == args.scenario.as_deref());
        let steps: Vec<Step> = match (scenario, &args.kind) {
            (Some(scenario), _) => scenario.steps.to_vec(),
            (None, Some(kind)) => {
                let known = KINDS.iter().find(|(known, _)| known == kind);
                known.map(|(kind, _)| Step { kind, twist: Twist::Plain }).into_iter().collect()
            }
            (None, None) => Vec::new(),
        };
        // The story ends now; each event before it is a second older.
        let since = now.saturating_sub(i64::try_from(steps.len()).unwrap_or(0) - 1);
        let sale = Sale {
            order: args.order.as_deref(),
            metadata: &args.metadata,
            account: args.account.as_deref(),
            amount: args.amount,
            currency: &args.currency,
            refunded: args.refunded,
            nonce,
            since,
        };
        let mut deliveries = Vec::new();
        for (step, at) in steps.iter().zip(since..) {
            let event = sale.event(*step, at);
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            let body = Bytes::from(event.to_string());
            for _ in 0..args.duplicate {
                deliveries.push(Delivery { kind: step.kind, id: id.clone(), body: body.clone() });
            }
        }
        let seed = args.shuffle.then(|| args.seed.unwrap_or(nonce));
        if let Some(seed) = seed {
            shuffle(&mut deliveries, seed);
        }
        Ok(Self { scenario, deliveries, seed })
    }
}

/// Fisher and Yates' shuffle over the splitmix64 generator: the same seed, the same order.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let other = usize::try_from(mixed % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}

async fn send(url: &str, secret: &SigningSecret, now: i64, body: &Bytes) -> Result<Answer, String> {
    let signature = secret.header(now, body);
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("stripe-signature", signature.as_str()),
        ("user-agent", concat!("paidup-trigger/", env!("CARGO_PKG_VERSION"))),
    ];
    let within = Duration::from_secs(ANSWER_SECONDS_MAX);
    let answer = client::post(url, &headers, body.clone(), within).await;
    answer.map_err(|error| printable(&error.to_string()))
}

/// The outcome that the answer names, or the beginning of its text. Anything may listen at the URL, so neither
/// may speak to the terminal.
fn outcome(answer: &Answer) -> String {
    let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let word = value.get("outcome").or_else(|| value.get("error")).and_then(|word| word.as_str());
    let word: String = word.unwrap_or(answer.body.trim()).chars().take(ANSWER_CHARS_MAX).collect();
    printable(&word)
}

fn refusal(status: u16) -> String {
    match status {
        400 => "paidup refused the signature. It serves with another secret: run this in the folder \
                where `paidup dev` runs, or set STRIPE_WEBHOOK_SECRET to the secret of `paidup serve`"
            .to_owned(),
        404 | 405 => "nothing takes webhooks at that path; it is /webhook/stripe".to_owned(),
        503 => "paidup cannot record it now; its log says why. Stripe would send it again".to_owned(),
        _ => "that is not an answer to a webhook; is it paidup that listens there?".to_owned(),
    }
}

fn conclude(
    args: &TriggerArgs,
    scenario: Option<&Scenario>,
    ended: &str,
    out: &mut impl Write,
) -> std::io::Result<()> {
    if ended == "ignored" {
        let account = match &args.account {
            Some(account) => format!(
                ", and one whose STRIPE_ACCOUNTS does not allow {account} ignores that account's"
            ),
            None => String::new(),
        };
        return writeln!(
            out,
            "\nIgnored: kept, and applied to no order; its row in the table events says why. Events of \
             this command are in test mode, so a paidup with STRIPE_MODE=live ignores them all{account}."
        );
    }
    if ended == "parked" {
        let missing = match (&args.order, &args.kind) {
            (None, _) => "It names no order; add --order ORDER12345.",
            _ => {
                "An event like this names no order by itself. It waits for one that links its payment \
                  to one, such as payment_intent.succeeded with the same --order."
            }
        };
        return writeln!(out, "\nParked: kept, and applied to no order yet. {missing}");
    }
    let Some(order) = &args.order else { return Ok(()) };
    match scenario {
        Some(scenario) => writeln!(out, "\n{}", scenario.ends)?,
        None => writeln!(out)?,
    }
    let id = order_ids::of_account(args.account.as_deref(), order.clone());
    let order = printable(&shell_word(&id));
    writeln!(
        out,
        "Look at it:          paidup order {order}\nand at how it came:  paidup explain {order}"
    )
}

/// As a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@%+=,".contains(&byte);
    if !text.starts_with('-') && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let dashes = if text.starts_with('-') { "-- " } else { "" };
    format!("{dashes}'{}'", text.replace('\'', r"'\''"))
}

fn list(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "Event types: paidup trigger <event type> --order ORDER12345\n")?;
    for (kind, says) in KINDS {
        writeln!(out, "  {kind:<42} {says}")?;
    }
    writeln!(out, "\nScenarios: paidup trigger --scenario <name> --order ORDER12345\n")?;
    for scenario in SCENARIOS {
        writeln!(out, "  {:<24} {}", scenario.name, scenario.tells)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_loses_nothing() {
        let shuffled = |seed| {
            let mut items: Vec<u8> = (0..20).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<u8>>());
    }

    #[test]
    fn an_order_id_can_be_pasted_into_a_shell() {
        for (id, word) in [
            ("ORDER12345", "ORDER12345"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("--help", "-- '--help'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(shell_word(id), word);
        }
    }
}
