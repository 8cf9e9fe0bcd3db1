//! Makes the events: bodies after Stripe's public object shapes, 2 to 4 KB, each with ids of its
//! own, from a seed. Signing and sending them is left to `send`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

const EVENT: &str = include_str!("templates/event.template");
const PAYMENT_INTENT: &str = include_str!("templates/payment_intent.template");
const PAYMENT_INTENT_SHORT: &str = include_str!("templates/payment_intent_short.template");
const CHARGE: &str = include_str!("templates/charge.template");
const CHECKOUT_SESSION: &str = include_str!("templates/checkout_session.template");

/// In the mix, the events of this many orders arrive among each other.
const MIX_ORDERS_MINGLED: usize = 64;
const MIX_DUPLICATE_PERCENT: u64 = 10;
const MIX_REFUNDED_PERCENT: u64 = 5;
/// Stripe's ids begin with the second in which they were made. So many orders are made in one, and they
/// come up to so many seconds late: nearly in order.
const ORDERS_PER_SECOND: u64 = 10_000;
const LATE_SECONDS_MAX: u64 = 3;
/// In Stripe's count, which began in July 2012: about the autumn of 2026.
const FIRST_SECOND: u64 = 450_000_000;
/// Each seed begins in an hour of its own.
const SEED_SECONDS: u64 = 3_600;
const SEED_HOURS: u64 = 100_000;
/// Smaller than this a whole PaymentIntent cannot be; one with what paidup reads can.
const WHOLE_BYTES_MIN: usize = 2_048;
/// docs.stripe.com/api/metadata.
const METADATA_VALUE_CHARACTERS_MAX: usize = 500;

#[derive(clap::Args)]
pub struct PrintArguments {
    /// Which event: a different seed, different ids.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Takes the bodies one by one, for all of them at once would be twice the memory: the text, and
/// the number of its order.
pub trait Bodies: FnMut(&str, u32) {}
impl<F: FnMut(&str, u32)> Bodies for F {}

pub fn print(arguments: &PrintArguments) -> Result<(), Error> {
    let mut random = Random::new(arguments.seed);
    let order = Order::new(0, Ids::ByTime, arguments.seed, &mut random);
    println!("{}", Templates::parse().payment_intent_succeeded(&order, &mut random));
    Ok(())
}

/// What ids of events, PaymentIntents and charges look like.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ids {
    /// As Stripe makes them: the second, what belongs to the account, and seven random characters.
    ByTime,
    /// Random from the first characters on, which is harder on an index.
    Random,
}

/// `count` distinct `payment_intent.succeeded`, each of an order of its own. Where they are smaller
/// than `body_bytes`, more metadata makes them that large; 0 leaves them as they are. Returns which
/// body each sending is: here, each once.
pub fn distinct(
    count: usize,
    seed: u64,
    ids: Ids,
    body_bytes: usize,
    mut bodies: impl Bodies,
) -> Vec<u32> {
    let mut templates = Templates::parse();
    if (1..WHOLE_BYTES_MIN).contains(&body_bytes) {
        templates.payment_intent = Template::parse(PAYMENT_INTENT_SHORT);
    }
    let mut random = Random::new(seed);
    for order_index in 0..count as u32 {
        let mut order = Order::new(order_index, ids, seed, &mut random);
        if body_bytes > 0 {
            order.more_metadata.clear();
            let least = templates.payment_intent_succeeded(&order, &mut random).len();
            order.more_metadata = metadata_of(body_bytes.saturating_sub(least), &mut random);
        }
        bodies(&templates.payment_intent_succeeded(&order, &mut random), order_index);
    }
    (0..count as u32).collect()
}

/// `count` sendings as a shop with Stripe Checkout gets them: four events for each order, mingled
/// with those of others and not in their own order, some twice, some refunds. Returns which body
/// each sending is.
pub fn mix(count: usize, seed: u64, ids: Ids, mut bodies: impl Bodies) -> Vec<u32> {
    let templates = Templates::parse();
    let mut random = Random::new(seed);
    let mut sendings = Vec::with_capacity(count);
    let mut mingled = Vec::new();
    let (mut order_index, mut body_index) = (0, 0);
    while sendings.len() < count {
        for _ in 0..MIX_ORDERS_MINGLED {
            let order = Order::new(order_index, ids, seed, &mut random);
            for text in templates.story(&order, &mut random) {
                bodies(&text, order_index);
                mingled.push(body_index);
                if random.percent(MIX_DUPLICATE_PERCENT) {
                    mingled.push(body_index);
                }
                body_index += 1;
            }
            order_index += 1;
        }
        random.shuffle(&mut mingled);
        sendings.append(&mut mingled);
    }
    sendings.truncate(count);
    sendings
}

/// The ids and facts that the events of one order share.
struct Order {
    id: String,
    /// How the ids of its PaymentIntent, charge and events go on after `pi_3`, `ch_3` and `evt_3`; seven
    /// characters of their own follow.
    stem: String,
    payment_intent: String,
    charge: String,
    session: String,
    customer: String,
    payment_method: String,
    amount: u64,
    email: String,
    more_metadata: String,
    created: u64,
}

impl Order {
    fn new(index: u32, ids: Ids, seed: u64, random: &mut Random) -> Self {
        let stem = match ids {
            Ids::ByTime => {
                let first = FIRST_SECOND + seed % SEED_HOURS * SEED_SECONDS;
                let late = random.below(LATE_SECONDS_MAX + 1);
                let second = first + u64::from(index) / ORDERS_PER_SECOND - late;
                format!("{}LoadTest0t0", base62(second))
            }
            Ids::Random => random.text(16),
        };
        Self {
            id: format!("ORDER-{}", random.text(12)),
            payment_intent: format!("pi_3{stem}{}", random.text(7)),
            charge: format!("ch_3{stem}{}", random.text(7)),
            stem,
            session: format!("cs_live_a1{}", random.text(56)),
            customer: format!("cus_{}", random.text(14)),
            payment_method: format!("pm_1{}", random.text(23)),
            amount: 500 + random.below(90_000),
            email: format!("customer.{}@example.com", random.text(6)),
            more_metadata: more_metadata(random),
            created: now() - 2,
        }
    }
}

/// Five digits, which are of one length for 29 years.
fn base62(mut number: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 5];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text.map(char::from).iter().collect()
}

/// None to eleven further keys, as shops put them there: this is what makes the sizes differ.
fn more_metadata(random: &mut Random) -> String {
    let mut text = String::new();
    for number in 1..=random.below(12) {
        let length = 8 + random.below(120) as usize;
        let value = random.text(length);
        let _ = write!(text, ",\n        \"shop_field_{number}\": \"{value}\"");
    }
    text
}

/// About so many bytes of further keys, each value as long as Stripe allows.
fn metadata_of(bytes: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(bytes + 1);
    for number in 1.. {
        let key = format!(",\n        \"shop_field_{number}\": \"");
        let room = bytes.saturating_sub(text.len());
        let Some(length) = room.checked_sub(key.len() + 1).filter(|length| *length > 0) else {
            break;
        };
        text = text + &key + &random.text(length.min(METADATA_VALUE_CHARACTERS_MAX)) + "\"";
    }
    text
}

struct Templates {
    event: Template,
    payment_intent: Template,
    charge: Template,
    checkout_session: Template,
}

impl Templates {
    fn parse() -> Self {
        Self {
            event: Template::parse(EVENT),
            payment_intent: Template::parse(PAYMENT_INTENT),
            charge: Template::parse(CHARGE),
            checkout_session: Template::parse(CHECKOUT_SESSION),
        }
    }

    fn story(&self, order: &Order, random: &mut Random) -> Vec<String> {
        let mut events = vec![
            self.payment_intent_created(order, random),
            self.charge("charge.succeeded", order, false, random),
            self.payment_intent_succeeded(order, random),
            self.checkout_session_completed(order, random),
        ];
        if random.percent(MIX_REFUNDED_PERCENT) {
            events.push(self.charge("charge.refunded", order, true, random));
        }
        events
    }

    fn payment_intent_created(&self, order: &Order, random: &mut Random) -> String {
        let kind = "payment_intent.created";
        self.payment_intent(kind, order, "requires_payment_method", false, random)
    }

    fn payment_intent_succeeded(&self, order: &Order, random: &mut Random) -> String {
        self.payment_intent("payment_intent.succeeded", order, "succeeded", true, random)
    }

    fn payment_intent(
        &self,
        kind: &str,
        order: &Order,
        status: &str,
        paid: bool,
        random: &mut Random,
    ) -> String {
        let latest_charge = if paid { format!("\"{}\"", order.charge) } else { "null".into() };
        let object = self.payment_intent.fill(|slot| match slot {
            "received" => if paid { order.amount } else { 0 }.to_string(),
            "latest_charge" => latest_charge.clone(),
            "client_secret" => random.text(25),
            "configuration" => format!("1{}", random.text(23)),
            "house" => random.below(200).to_string(),
            "status" => status.to_owned(),
            slot => shared(slot, order),
        });
        self.event(kind, order, &object, random)
    }

    fn charge(&self, kind: &str, order: &Order, refunded: bool, random: &mut Random) -> String {
        let object = self.charge.fill(|slot| match slot {
            "refunded" => if refunded { order.amount } else { 0 }.to_string(),
            "fully_refunded" => refunded.to_string(),
            "transaction" => format!("3{}", random.text(23)),
            "fingerprint" => random.text(16),
            "request" => random.text(80),
            slot => shared(slot, order),
        });
        self.event(kind, order, &object, random)
    }

    fn checkout_session_completed(&self, order: &Order, random: &mut Random) -> String {
        let object = self.checkout_session.fill(|slot| match slot {
            "expires" => (order.created + 86_400).to_string(),
            slot => shared(slot, order),
        });
        self.event("checkout.session.completed", order, &object, random)
    }

    fn event(&self, kind: &str, order: &Order, object: &str, random: &mut Random) -> String {
        self.event.fill(|slot| match slot {
            "event" => format!("evt_3{}{}", order.stem, random.text(7)),
            "now" => now().to_string(),
            "object" => object.to_owned(),
            "request" => random.text(14),
            "idempotency" => random.uuid(),
            "type" => kind.to_owned(),
            slot => unknown(slot),
        })
    }
}

fn shared(slot: &str, order: &Order) -> String {
    match slot {
        "order" => order.id.clone(),
        "payment_intent" => order.payment_intent.clone(),
        "charge" => order.charge.clone(),
        "session" => order.session.clone(),
        "customer" => order.customer.clone(),
        "payment_method" => order.payment_method.clone(),
        "amount" => order.amount.to_string(),
        "email" => order.email.clone(),
        "more_metadata" => order.more_metadata.clone(),
        "created" => order.created.to_string(),
        slot => unknown(slot),
    }
}

fn unknown(slot: &str) -> String {
    unreachable!("a template has a slot that nothing fills: {slot}")
}

/// Text with slots: `@name@`.
struct Template {
    parts: Vec<Part>,
}

enum Part {
    Text(&'static str),
    Slot(&'static str),
}

impl Template {
    fn parse(text: &'static str) -> Self {
        let parts =
            text.trim_end().split('@').enumerate().map(|(index, part)| {
                if index % 2 == 0 { Part::Text(part) } else { Part::Slot(part) }
            });
        Self { parts: parts.collect() }
    }

    fn fill(&self, mut value: impl FnMut(&str) -> String) -> String {
        let mut text = String::with_capacity(4096);
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Slot(slot) => text.push_str(&value(slot)),
            }
        }
        text
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// SplitMix64: enough for ids that look random, and the same ones for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn text(&mut self, length: usize) -> String {
        const DIGITS: &[u8; 64] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz5e";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut bits = self.next();
            for _ in 0..10.min(length - text.len()) {
                text.push(DIGITS[(bits & 63) as usize] as char);
                bits >>= 6;
            }
        }
        text
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn collect<T>(make: impl FnOnce(&mut dyn FnMut(&str, u32)) -> T) -> (Vec<String>, T) {
        let mut texts = Vec::new();
        let made = make(&mut |text: &str, _| texts.push(text.to_owned()));
        (texts, made)
    }

    #[test]
    fn distinct_events_are_json_of_their_own_ids_between_2_and_4_kb() {
        for kind in [Ids::ByTime, Ids::Random] {
            distinct_events_are_as_they_should(kind);
        }
    }

    fn distinct_events_are_as_they_should(kind: Ids) {
        let (texts, sendings) = collect(|bodies| distinct(2_000, 7, kind, 0, bodies));
        assert_eq!(sendings, (0..2_000).collect::<Vec<u32>>());
        let mut ids = HashSet::new();
        for text in &texts {
            let event: serde_json::Value = serde_json::from_str(text).unwrap();
            let object = &event["data"]["object"];
            assert_eq!(event["type"], "payment_intent.succeeded");
            assert_eq!(object["amount"], object["amount_received"]);
            for id in [&event["id"], &object["id"], &object["latest_charge"]] {
                assert!(ids.insert(id.as_str().unwrap().to_owned()), "{id} came twice");
            }
            assert!(ids.insert(object["metadata"]["order_id"].as_str().unwrap().to_owned()));
            assert!((2_048..=4_096).contains(&text.len()), "{} bytes", text.len());
        }
    }

    #[test]
    fn the_mix_tells_each_order_and_repeats_some() {
        let (texts, sendings) = collect(|bodies| mix(10_000, 7, Ids::ByTime, bodies));
        assert_eq!(sendings.len(), 10_000);
        let mut kinds = HashSet::new();
        for text in &texts {
            let event: serde_json::Value = serde_json::from_str(text).unwrap();
            kinds.insert(event["type"].as_str().unwrap().to_owned());
            assert!(text.len() <= 5_000, "{} bytes", text.len());
        }
        assert_eq!(kinds.len(), 5);
        let sent: HashSet<u32> = sendings.iter().copied().collect();
        let duplicates = sendings.len() - sent.len();
        assert!((700..1_300).contains(&duplicates), "{duplicates} duplicates");
    }

    #[test]
    fn bodies_are_as_large_as_is_asked() {
        for bytes in [1024, 4 * 1024, 64 * 1024] {
            let (texts, _) = collect(|bodies| distinct(3, 5, Ids::ByTime, bytes, bodies));
            // What ids and numbers take differs by a little.
            assert!(texts.iter().all(|text| text.len().abs_diff(bytes) < 128), "{bytes}");
            let is_json = |text: &String| serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert!(texts.iter().all(is_json));
        }
    }

    #[test]
    fn ids_begin_with_the_second_or_with_what_is_random() {
        let ids = |ids, index| {
            let order = Order::new(index, ids, 7, &mut Random::new(7));
            let texts = [&order.payment_intent, &order.charge];
            assert!(texts.iter().all(|text| text.len() == "pi_3".len() + 23));
            assert!(texts.iter().all(|text| text.contains(&order.stem)));
            order.payment_intent
        };
        let later = (ORDERS_PER_SECOND * (LATE_SECONDS_MAX + 1)) as u32;
        assert!(ids(Ids::ByTime, 0) < ids(Ids::ByTime, later));
        assert_eq!(ids(Ids::Random, 0), ids(Ids::Random, later));
        assert_eq!(base62(0), "00000");
        assert_eq!(base62(62 * 62 + 61), "0010z");
    }

    #[test]
    fn the_same_seed_makes_the_same_ids() {
        let id = |seed| {
            let (texts, _) = collect(|bodies| distinct(1, seed, Ids::ByTime, 0, bodies));
            texts[0].lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
