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
            Self::Csv(writer) => writer.serialize(order).map_err(of_csv),
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

fn of_csv(error: csv::Error) -> RecoveryError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        _ => RecoveryError::Write(std::io::ErrorKind::InvalidData),
    }
}
