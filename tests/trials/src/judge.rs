//! The judge: what was acknowledged, and what was told, against what the database holds.
//!
//! It reads the tables itself, and folds the stored bodies anew with paidup's pure rules, all of an order in
//! one piece, in the order of their ids, in which they hardly came. So it sees whatever got lost, was
//! counted twice, or was folded wrongly on the way through batches, retries, crashes and processes. It takes
//! some orders at a time, so that what it needs of memory does not grow with the load.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use paidup::domain::event::Event;
use paidup::domain::order_ids::OrderIdRules;
use paidup::domain::origin::Stored as StoredBody;
use paidup::domain::policy::{Mode, Policy};
use paidup::domain::rows::Order;
use paidup::domain::working_set::WorkingSet;

use crate::Result;
use crate::database::Database;
use crate::driver::Log;
use crate::process::until;
use crate::receiver::{Receiver, Tellings};
use crate::report::Report;

/// About so many events are judged at a time, and ids looked at.
const EVENTS_AT_ONCE: u32 = 20_000;
/// So many findings are shown; the number of all is told.
const FINDINGS_SHOWN_MAX: usize = 20;

/// The columns of an order that follow from its events. `version`, `announced` and `updated_at` depend on
/// the way, and `weighed…` on what the shop wrote.
const COLUMNS: [&str; 17] = [
    "status",
    "currency",
    "amount_received",
    "amount_refunded",
    "amount_disputed",
    "renewals",
    "refunds_failed",
    "failure_code",
    "failure_message",
    "dispute",
    "disputes",
    "problem",
    "customer_email",
    "paid_at",
    "failed_at",
    "refunded_at",
    "created_at",
];
/// Of these, times.
const TIMES: [&str; 4] = ["paid_at", "failed_at", "refunded_at", "created_at"];

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Answered 200, and not there.
    Lost { event: String },
    /// There more than once.
    Double { event: String },
    /// There, and nobody sent it.
    Stray { event: String },
    /// Stored with other bytes than were sent, or with none.
    Altered { event: String },
    /// An order that its events ask for is not there.
    NoOrder { order: String },
    /// An order that no event asks for.
    StrayOrder { order: String },
    /// A column of an order is not what its events say.
    WrongOrder { order: String, column: &'static str, is: String, should_be: String },
    /// The versions of an order's changes are not 1, 2, 3, … up to the order's own.
    Hole { order: String, version: i64, changes: usize },
    /// Changes of an order that has no row.
    StrayChanges { order: String },
    /// The last change leads to another state than the order has.
    UntrueChange { order: String },
    /// A change that nobody was told of.
    Untold { order: String, version: i64 },
    /// A change that was told as two messages, or one message that told two things.
    ToldTwice { order: String, version: i64 },
    /// Something was told that is no change, or not so.
    ToldFalsely { order: String, version: i64 },
}

impl Finding {
    /// The kind of it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "Lost",
            Self::Double { .. } => "Double",
            Self::Stray { .. } => "Stray",
            Self::Altered { .. } => "Altered",
            Self::NoOrder { .. } => "NoOrder",
            Self::StrayOrder { .. } => "StrayOrder",
            Self::WrongOrder { .. } => "WrongOrder",
            Self::Hole { .. } => "Hole",
            Self::StrayChanges { .. } => "StrayChanges",
            Self::UntrueChange { .. } => "UntrueChange",
            Self::Untold { .. } => "Untold",
            Self::ToldTwice { .. } => "ToldTwice",
            Self::ToldFalsely { .. } => "ToldFalsely",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { event } => write!(f, "{event} was answered 200 and is lost"),
            Self::Double { event } => write!(f, "{event} is there twice"),
            Self::Stray { event } => write!(f, "{event} is there, and nobody sent it"),
            Self::Altered { event } => write!(f, "{event} is not stored as it was sent"),
            Self::NoOrder { order } => write!(f, "order {order} is missing"),
            Self::StrayOrder { order } => {
                write!(f, "order {order} is there, and no event asks for it")
            }
            Self::WrongOrder { order, column, is, should_be } => {
                write!(f, "order {order} has {column} {is}, and should have {should_be}")
            }
            Self::Hole { order, version, changes } => {
                write!(
                    f,
                    "order {order} has version {version}, and {changes} changes that do not count up to it"
                )
            }
            Self::StrayChanges { order } => {
                write!(f, "there are changes of order {order}, and no such order")
            }
            Self::UntrueChange { order } => {
                write!(f, "the last change of order {order} leads to another state than it has")
            }
            Self::Untold { order, version } => {
                write!(f, "version {version} of order {order} was told to nobody")
            }
            Self::ToldTwice { order, version } => {
                write!(f, "version {version} of order {order} was told as two different messages")
            }
            Self::ToldFalsely { order, version } => {
                write!(f, "version {version} of order {order} was told, and is not so")
            }
        }
    }
}

/// What the judge counted, and what it found.
#[derive(Default)]
pub struct Outcome {
    pub acknowledged: usize,
    pub events: usize,
    pub orders: usize,
    pub changes: usize,
    pub notified: usize,
    pub notified_again: usize,
    pub findings: Vec<Finding>,
}

impl Outcome {
    /// The figures, and all findings as broken rules.
    pub fn report(&self, report: &mut Report) {
        report.figure("acknowledged events", self.acknowledged);
        report.figure("stored events", self.events);
        report.figure("orders, each equal to the fold", self.orders);
        report.figure("changes", self.changes);
        if self.notified > 0 {
            report.figure("changes notified", self.notified);
            report.figure("… of them more than once, under the same id", self.notified_again);
        }
        let count = |is: fn(&Finding) -> bool| self.findings.iter().filter(|one| is(one)).count();
        report.figure("lost", count(|one| matches!(one, Finding::Lost { .. })));
        report.figure("double", count(|one| matches!(one, Finding::Double { .. })));
        for finding in self.findings.iter().take(FINDINGS_SHOWN_MAX) {
            report.broken(finding.to_string());
        }
        if self.findings.len() > FINDINGS_SHOWN_MAX {
            report.broken(format!("… {} findings in all", self.findings.len()));
        }
    }
}

/// Judges what a load has left, when all of it is settled.
pub async fn judge(url: &str, log: &Log, receiver: Option<&Receiver>) -> Result<Outcome> {
    let mut database = Database::open(url).await?;
    if receiver.is_some() {
        settled(&mut database).await?;
    }
    let acknowledged = log.acknowledged();
    let mut verdict = Outcome { acknowledged: acknowledged.len(), ..Outcome::default() };
    let mut all_changes = HashMap::new();
    for numbers in log.events().stories(log.sent, EVENTS_AT_ONCE) {
        let should_be =
            events(&mut database, log, numbers.clone(), &acknowledged, &mut verdict).await?;
        let mut ids: BTreeSet<String> = numbers.map(|one| log.events().order(one)).collect();
        ids.extend(should_be.keys().cloned());
        let changes = orders(&mut database, ids, should_be, &mut verdict).await?;
        // What was told is compared with all of them at once; a load of millions tells nobody.
        if receiver.is_some() {
            all_changes.extend(changes);
        }
    }
    let is_sent = |number: Option<u32>| number.is_some_and(|number| number < log.sent);
    let is_ours = |id: &str| is_sent(log.events().number(id));
    let stray = strays(&mut database, "events", is_ours).await?;
    verdict.events += stray.len();
    verdict.findings.extend(stray.into_iter().map(|event| Finding::Stray { event }));
    let is_ours = |id: &str| is_sent(log.events().first_of(id));
    let stray = strays(&mut database, "orders", is_ours).await?;
    orders(&mut database, stray, BTreeMap::new(), &mut verdict).await?;
    let stray = stray_changes(&mut database).await?;
    verdict.findings.extend(stray.map(|order| Finding::StrayChanges { order }));
    if let Some(receiver) = receiver {
        told(&all_changes, &receiver.tellings(), &mut verdict);
    }
    Ok(verdict)
}

/// Waits until nothing of the outbox waits any more. What a paidup held that was killed is due again
/// after its lease of 25 s.
async fn settled(database: &mut Database) -> Result<()> {
    until("all notifications are settled", async || {
        let waiting = "select count(*) from deliveries where status = 'waiting'";
        database.number(waiting).await.is_ok_and(|count| count == 0)
    })
    .await?;
    Ok(())
}

/// The stored events of these numbers against those that were acknowledged; and what they fold to.
async fn events(
    database: &mut Database,
    log: &Log,
    numbers: Range<u32>,
    acknowledged: &HashSet<u32>,
    verdict: &mut Outcome,
) -> Result<BTreeMap<String, Order>> {
    let ids: Vec<String> = numbers.clone().map(|number| log.events().id(number)).collect();
    let mut found = HashSet::new();
    // Nothing is to be loaded first: the database that this set stands for is empty.
    let mut set = WorkingSet::new(Policy { mode: Mode::Test, ..Policy::default() });
    for (id, body, received_at) in database.events(&ids).await? {
        verdict.events += 1;
        let number = log.events().number(&id).ok_or("an event that was not asked for")?;
        if !found.insert(number) {
            verdict.findings.push(Finding::Double { event: id });
            continue;
        }
        let Some(body) = body.map(Bytes::from) else {
            verdict.findings.push(Finding::Altered { event: id });
            continue;
        };
        if log.events().body(number) != body {
            verdict.findings.push(Finding::Altered { event: id });
        }
        let body = StoredBody::in_our_table_of_events(body, received_at);
        set.apply(&Event::read_again(&body, &OrderIdRules::default())?);
    }
    let lost = numbers.filter(|one| acknowledged.contains(one) && !found.contains(one));
    verdict.findings.extend(lost.map(|one| Finding::Lost { event: log.events().id(one) }));
    Ok(set.finish().new_orders.into_iter().collect())
}

/// The ids in this table that are not ours.
async fn strays(
    database: &mut Database,
    table: &str,
    is_ours: impl Fn(&str) -> bool,
) -> Result<BTreeSet<String>> {
    let (mut after, mut strays) = (String::new(), BTreeSet::new());
    loop {
        let page = database.ids(table, &after, EVENTS_AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(strays) };
        after.clone_from(last);
        strays.extend(page.into_iter().filter(|id| !is_ours(id)));
    }
}

/// The orders that have changes, and no row. On Postgres no foreign key keeps them out.
async fn stray_changes(database: &mut Database) -> Result<impl Iterator<Item = String>> {
    let sql = "select distinct order_id from order_changes
               where not exists (select 1 from orders where orders.id = order_changes.order_id)";
    Ok(database.rows(sql).await?.into_iter().flatten().flatten())
}

/// What a change records of an order, to compare its last one with, and its version.
struct Stored {
    version: i64,
    state: Recorded,
}

/// What an order and its last change must both say.
#[derive(Default, PartialEq, Eq)]
struct Recorded {
    status: String,
    received: i64,
    refunded: i64,
    disputed: i64,
}

/// These orders against what their events say, and against their changes, which it gives back.
async fn orders(
    database: &mut Database,
    ids: BTreeSet<String>,
    should_be: BTreeMap<String, Order>,
    verdict: &mut Outcome,
) -> Result<HashMap<(String, i64), Change>> {
    let ids: Vec<String> = ids.into_iter().collect();
    let stored = compare(database, &ids, should_be, verdict).await?;
    changes(database, &ids, &stored, verdict).await
}

async fn compare(
    database: &mut Database,
    ids: &[String],
    mut should_be: BTreeMap<String, Order>,
    verdict: &mut Outcome,
) -> Result<HashMap<String, Stored>> {
    let column = |name: &&str| {
        if TIMES.contains(name) { database.seconds(name) } else { format!("cast({name} as text)") }
    };
    let columns: Vec<String> = COLUMNS.iter().map(column).collect();
    let (columns, among) = (columns.join(", "), database.among());
    let sql = format!("select id, cast(version as text), {columns} from orders where id {among}");
    let mut stored = HashMap::new();
    for row in database.rows_among(&sql, ids).await? {
        let mut row = row.into_iter();
        let id = row.next().flatten().unwrap_or_default();
        let version = number(row.next().flatten());
        let is: Vec<Option<String>> = row.collect();
        let text = |at: usize| is.get(at).cloned().flatten();
        let state = Recorded {
            status: text(0).unwrap_or_default(),
            received: number(text(2)),
            refunded: number(text(3)),
            disputed: number(text(4)),
        };
        verdict.orders += 1;
        match should_be.remove(&id) {
            None => verdict.findings.push(Finding::StrayOrder { order: id.clone() }),
            Some(order) => verdict.findings.extend(differences(&id, &is, &columns_of(&order))),
        }
        stored.insert(id, Stored { version, state });
    }
    verdict.findings.extend(should_be.into_keys().map(|order| Finding::NoOrder { order }));
    Ok(stored)
}

fn number(text: Option<String>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The values of [`COLUMNS`].
fn columns_of(order: &Order) -> [Option<String>; 17] {
    let snapshot = &order.snapshot;
    // As paidup writes them; the texts of two equal maps are equal.
    let disputes = (!snapshot.disputes.is_empty())
        .then(|| serde_json::to_string(&snapshot.disputes).unwrap_or_default());
    let time = |seconds: i64| Some(seconds.to_string());
    [
        Some(snapshot.status.name().to_owned()),
        snapshot.currency.clone(),
        Some(snapshot.amount_received.to_string()),
        Some(snapshot.amount_refunded.to_string()),
        Some(snapshot.amount_disputed.to_string()),
        Some(snapshot.renewals.to_string()),
        Some(snapshot.refunds_failed.to_string()),
        order.failure_code.clone(),
        order.failure_message.clone(),
        snapshot.dispute.map(|dispute| dispute.name().to_owned()),
        disputes,
        snapshot.problem.map(|problem| problem.name().to_owned()),
        order.customer_email.clone(),
        order.paid_at.and_then(time),
        order.failed_at.and_then(time),
        order.refunded_at.and_then(time),
        time(order.created_at),
    ]
}

fn differences(order: &str, is: &[Option<String>], should_be: &[Option<String>]) -> Vec<Finding> {
    let show = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    COLUMNS
        .into_iter()
        .zip(is.iter().zip(should_be))
        .filter(|(_, (is, should_be))| is != should_be)
        .map(|(column, (is, should_be))| Finding::WrongOrder {
            order: order.to_owned(),
            column,
            is: show(is),
            should_be: show(should_be),
        })
        .collect()
}

/// A recorded change: the state that it led to, and whether there is anything to notify.
struct Change {
    to: Recorded,
    is_told: bool,
}

/// The changes of these orders by order and version, each order's compared with the order.
async fn changes(
    database: &mut Database,
    ids: &[String],
    stored: &HashMap<String, Stored>,
    verdict: &mut Outcome,
) -> Result<HashMap<(String, i64), Change>> {
    let sql = format!(
        "select order_id, cast(version as text), to_status, cast(amount_received as text),
                cast(amount_refunded as text), cast(amount_disputed as text), kinds
         from order_changes where order_id {}",
        database.among()
    );
    let mut changes = HashMap::new();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in database.rows_among(&sql, ids).await? {
        let text = |at: usize| row.get(at).cloned().flatten();
        let (order, version) = (text(0).unwrap_or_default(), number(text(1)));
        *counts.entry(order.clone()).or_default() += 1;
        let change = Change {
            to: Recorded {
                status: text(2).unwrap_or_default(),
                received: number(text(3)),
                refunded: number(text(4)),
                disputed: number(text(5)),
            },
            is_told: text(6).is_some_and(|kinds| !kinds.is_empty()),
        };
        changes.insert((order, version), change);
    }
    verdict.changes += changes.len();
    for (order, state) in stored {
        let count = counts.get(order).copied().unwrap_or_default();
        let has_all = (1..=state.version).all(|one| changes.contains_key(&(order.clone(), one)));
        if !has_all || i64::try_from(count) != Ok(state.version) {
            let (order, version) = (order.clone(), state.version);
            verdict.findings.push(Finding::Hole { order, version, changes: count });
        }
        let last = changes.get(&(order.clone(), state.version));
        let is_true = last.is_some_and(|last| last.to == state.state);
        if !is_true {
            verdict.findings.push(Finding::UntrueChange { order: order.clone() });
        }
    }
    Ok(changes)
}

/// The changes against what was told.
fn told(changes: &HashMap<(String, i64), Change>, tellings: &Tellings, verdict: &mut Outcome) {
    let mut told: HashSet<(String, i64)> = HashSet::new();
    for message in tellings.values() {
        let (order, version) = (message.telling.order.clone(), message.telling.version);
        verdict.notified += 1;
        verdict.notified_again += usize::from(message.times > 1);
        let is_so = changes.get(&(order.clone(), version)).is_some_and(|change| {
            change.is_told
                && change.to.status == message.telling.status
                && change.to.received == message.telling.received
                && change.to.refunded == message.telling.refunded
        });
        if !is_so {
            verdict.findings.push(Finding::ToldFalsely { order: order.clone(), version });
        }
        if message.differs || !told.insert((order.clone(), version)) {
            verdict.findings.push(Finding::ToldTwice { order, version });
        }
    }
    for (place, _) in changes.iter().filter(|(_, change)| change.is_told) {
        if !told.contains(place) {
            let (order, version) = place.clone();
            verdict.findings.push(Finding::Untold { order, version });
        }
    }
}
