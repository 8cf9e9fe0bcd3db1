//! `paidup orders export`: writes out every order, a page at a time, in constant memory.
//!
//! An order that changes meanwhile is written as it was when its page was read; none is left out, and
//! none comes twice.

use std::io::Write;

use super::{RecoveryError, progress, run};
use crate::http::views::OrderView;
use crate::store::connection::Connection;
use crate::store::{Session, Store};
use crate::tell;

/// The most orders that are read at once.
pub const EXPORT_ORDERS_MAX: i64 = 500;

/// How to write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for each order, below one of names.
    Csv,
    /// A line for each order, each a JSON object.
    Json,
}

/// Writes all orders; tells how many.
///
/// # Errors
/// [`RecoveryError`]; what was written before it is whole.
pub async fn export(
    store: &Store,
    format: Format,
    out: &mut impl Write,
) -> Result<u64, RecoveryError> {
    tell::open(store).await?.close().await;
    let mut connection = Connection::new(store.clone(), super::AWAY_TOLD);
    let bar = progress("orders");
    let mut lines = Lines::new(format, out)?;
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let page = run(&mut connection, async |session: &mut Session| {
            session.orders_after(&after, EXPORT_ORDERS_MAX).await
        })
        .await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for record in page {
            lines.write(&OrderView::from(record))?;
            count += 1;
        }
        bar.set_position(count);
    }
    bar.finish_and_clear();
    connection.close().await;
    lines.end()?;
    Ok(count)
}

enum Lines<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
}

impl<W: Write> Lines<W> {
    fn new(format: Format, out: W) -> Result<Self, RecoveryError> {
        Ok(match format {
            Format::Json => Self::Json(out),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
                // By hand, so that they are there if there is no order.
                writer.write_record(OrderView::NAMES).map_err(of_csv)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn write(&mut self, order: &OrderView) -> Result<(), RecoveryError> {
        match self {
            Self::Csv(writer) => writer.serialize(literal(order)).map_err(of_csv),
            Self::Json(out) => {
                let line = serde_json::to_string(order).map_err(std::io::Error::from)?;
                Ok(writeln!(out, "{line}")?)
            }
        }
    }

    fn end(self) -> Result<(), RecoveryError> {
        match self {
            Self::Csv(mut writer) => Ok(writer.flush()?),
            Self::Json(mut out) => Ok(out.flush()?),
        }
    }
}

/// The order with texts that a spreadsheet takes for texts: one that could begin a formula gets an apostrophe
/// in front. Amounts are numbers, and stay as they are.
fn literal(order: &OrderView) -> OrderView {
    let text = |text: &String| match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n') => format!("'{text}"),
        _ => text.clone(),
    };
    let some = |value: &Option<String>| value.as_ref().map(text);
    OrderView {
        id: text(&order.id),
        currency: some(&order.currency),
        failure_code: some(&order.failure_code),
        failure_message: some(&order.failure_message),
        customer_email: some(&order.customer_email),
        paid_at: some(&order.paid_at),
        failed_at: some(&order.failed_at),
        refunded_at: some(&order.refunded_at),
        created_at: text(&order.created_at),
        ..order.clone()
    }
}

fn of_csv(error: csv::Error) -> RecoveryError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        _ => RecoveryError::Write(std::io::ErrorKind::InvalidData),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str) -> OrderView {
        let record = crate::store::OrderRecord {
            id: id.to_owned(),
            order: crate::domain::rows::Order::default(),
            updated_at: 0,
        };
        OrderView {
            customer_email: Some("@sum(1)".to_owned()),
            failure_message: Some("-1+2".to_owned()),
            amount_received: -500,
            ..OrderView::from(record)
        }
    }

    fn exported(format: Format, order: &OrderView) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::new(format, &mut out).expect("begun");
        lines.write(order).expect("written");
        lines.end().expect("ended");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn no_cell_of_csv_is_a_formula_and_amounts_are_numbers() {
        for (id, cell) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@A1", "'@A1"),
            ("ORDER-1=2", "ORDER-1=2"),
            ("", ""),
        ] {
            let csv = exported(Format::Csv, &order(id));
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let names = reader.headers().expect("names").clone();
            let row = reader.records().next().expect("a row").expect("a row");
            let of = |name: &str| {
                let place = names.iter().position(|one| one == name).expect(name);
                row[place].to_owned()
            };
            assert_eq!(of("id"), cell);
            assert_eq!(
                (of("customer_email"), of("failure_message")),
                ("'@sum(1)".into(), "'-1+2".into())
            );
            assert_eq!(of("amount_received"), "-500");
            // JSON is for programs, which take no formula for one.
            assert!(exported(Format::Json, &order(id)).contains(r#""customer_email":"@sum(1)""#));
        }
        for begin in ['\t', '\r', '\n'] {
            assert_eq!(literal(&order(&format!("{begin}=1"))).id, format!("'{begin}=1"));
        }
    }
}
