//! Shows an order to a person: `paidup order` and `paidup explain`.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use crate::domain::money;
pub(crate) use crate::http::visible::printable;
use crate::store::archive::{events_of_order, without_row};
use crate::store::{ChangeRecord, EventRecord, OrderRecord, Session, Store, StoreError};

/// Why an order cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The embedded database was never made here.
    #[error(
        "there is no {0} in this folder. Start `paidup dev` here first, or set DATABASE_URL to the \
         database that paidup uses"
    )]
    NoFile(String),
    /// The order is not there.
    #[error("there is no order {0:?}. It comes with its first event, or with a row of the shop's")]
    NoOrder(String),
    /// The database does not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Opens the database to look into it. One that is not there is not made.
///
/// # Errors
/// [`TellError::NoFile`], or that the database does not let us in.
pub async fn open(store: &Store) -> Result<Session, TellError> {
    match store.file() {
        Some(file) if !file.exists() => Err(TellError::NoFile(file.display().to_string())),
        _ => Ok(store.connect().await?),
    }
}

/// One order, as `paidup order` shows it.
///
/// # Errors
/// [`TellError::NoOrder`], or that the database does not answer.
pub async fn order(session: &mut Session, id: &str) -> Result<String, TellError> {
    let record = session.order(id).await?.ok_or_else(|| TellError::NoOrder(id.to_owned()))?;
    Ok(order_text(&record))
}

/// One order with its whole story, as `paidup explain` shows it.
///
/// # Errors
/// [`TellError::NoOrder`] if neither a row nor an event of it is there, or that the database does not
/// answer.
pub async fn explain(session: &mut Session, id: &str) -> Result<String, TellError> {
    let record = session.order(id).await?;
    let changes = session.order_changes(id).await?;
    let (payments, events) = events_of_order(session, id, &changes).await?;
    if record.is_none() && events.is_empty() {
        return Err(TellError::NoOrder(id.to_owned()));
    }

    let mut text = match &record {
        Some(record) => order_text(record),
        None => format!("Order {}: {}\n", printable(id), without_row(&events)),
    };
    let _ = write!(text, "\nPayments ({})\n", payments.len());
    for payment in &payments {
        let ids: Vec<&str> = payment.facts.ids.iter().map(|id| id.id.as_str()).collect();
        let _ = writeln!(text, "  {}", printable(&ids.join(" = ")));
    }
    let _ = write!(text, "\nEvents, as they came ({})\n{}", events.len(), events_text(&events));
    let _ = write!(text, "\nChanges ({})\n{}", changes.len(), changes_text(&changes));
    Ok(text)
}

fn order_text(record: &OrderRecord) -> String {
    let (order, snapshot) = (&record.order, &record.order.snapshot);
    let money = |amount: i64| money::show(amount, snapshot.currency.as_deref());
    let mut rows = vec![("status", snapshot.status.name().to_owned())];
    rows.extend(snapshot.problem.map(|problem| ("problem", problem.name().to_owned())));
    rows.extend(
        order.due.as_ref().map(|due| ("due", money::show(due.amount, Some(&due.currency)))),
    );
    rows.push(("received", money(snapshot.amount_received)));
    rows.push(("refunded", money(snapshot.amount_refunded)));
    if snapshot.amount_disputed != 0 {
        rows.push(("disputed", money(snapshot.amount_disputed)));
        rows.push(("kept", money(snapshot.kept())));
    }
    rows.extend(snapshot.dispute.map(|dispute| ("dispute", dispute.name().to_owned())));
    if snapshot.renewals > 0 {
        rows.push(("renewals", snapshot.renewals.to_string()));
    }
    if snapshot.refunds_failed > 0 {
        rows.push(("failed refunds", snapshot.refunds_failed.to_string()));
    }
    rows.extend(order.failure_code.clone().map(|code| ("failure", code)));
    rows.extend(order.failure_message.clone().map(|message| ("", message)));
    rows.extend(order.customer_email.clone().map(|address| ("customer", address)));
    for (name, at) in [
        ("paid at", order.paid_at),
        ("failed at", order.failed_at),
        ("refunded at", order.refunded_at),
    ] {
        rows.extend(at.map(|at| (name, seconds(at))));
    }
    rows.push(("version", order.version.to_string()));
    rows.push(("updated at", milliseconds(record.updated_at)));

    let mut table = table();
    for (name, value) in rows {
        add_row(&mut table, [name, &value]);
    }
    format!("Order {}\n{}\n", printable(&record.id), trimmed(&table))
}

fn events_text(events: &[EventRecord]) -> String {
    let mut table = table();
    for event in events {
        let mut reason = event.reason.clone().unwrap_or_default();
        if event.conflicts > 0 {
            reason.push_str("; another content came under its id since, which does not count");
        }
        let mode = if event.livemode { "" } else { "test" };
        let at = milliseconds(event.received_at);
        add_row(&mut table, [&at, &event.kind, &event.id, mode, &event.outcome, &reason]);
    }
    format!("{}\n", trimmed(&table))
}

fn changes_text(changes: &[ChangeRecord]) -> String {
    let mut table = table();
    for change in changes {
        let money = |amount: i64| money::show(amount, change.currency.as_deref());
        let mut state = match &change.from_status {
            None => format!("new → {}", change.to_status),
            Some(from) if *from == change.to_status => from.clone(),
            Some(from) => format!("{from} → {}", change.to_status),
        };
        for beside in [&change.dispute, &change.problem].into_iter().flatten() {
            let _ = write!(state, ", {beside}");
        }
        let cells = [
            format!("{}.", change.version),
            milliseconds(change.at),
            state,
            format!("received {}", money(change.amount_received)),
            format!("refunded {}", money(change.amount_refunded)),
            format!("by {}", change.event_id.as_deref().unwrap_or("the shop's own row")),
        ];
        add_row(&mut table, cells.each_ref().map(String::as_str));
    }
    format!("{}\n", trimmed(&table))
}

pub(crate) fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Adds cells whose texts may come from outside: they must not speak to the terminal.
fn add_row<const CELLS: usize>(table: &mut Table, cells: [&str; CELLS]) {
    table.add_row(cells.map(printable));
}

pub(crate) fn trimmed(table: &Table) -> String {
    table.trim_fmt()
}

fn seconds(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}

pub(crate) fn milliseconds(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}
