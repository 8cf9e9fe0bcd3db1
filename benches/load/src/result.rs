//! What one run of one contestant came to: one JSON line, written by `send` and `pgbench`, read
//! by `report` and `scale`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResult {
    pub contestant: String,
    /// What was varied from run to run, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<u64>,
    /// From the first measured event to the last answer.
    pub seconds: f64,
    /// Answered 200 within `seconds`.
    pub events: u64,
    pub events_per_second: f64,
    pub latency: Latency,
    /// Answered 200 in all, warm-up included, each event once however often it was sent.
    pub accepted_distinct: u64,
    pub orders_distinct: u64,
    /// Answers other than 200, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that broke, answers that could not be read, requests that got none.
    pub failed: u64,
    pub landed: Option<Landed>,
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
}

/// Milliseconds from the first byte sent to the last byte of the answer.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Exact: sorts them all.
    pub fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |part: f64| {
            let rank = (micros.len() as f64 * part).ceil() as usize;
            let index = rank.clamp(1, micros.len().max(1)) - 1;
            f64::from(micros.get(index).copied().unwrap_or(0)) / 1_000.0
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) }
    }
}

/// The rows in the database after the run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Landed {
    pub events: u64,
    pub payments: u64,
    pub payment_links: u64,
    pub orders: u64,
    pub orders_paid: u64,
    pub order_changes: u64,
    /// Postgres only: transactions that wrote, and write-ahead log written, warm-up included.
    pub commits: Option<u64>,
    pub wal_bytes: Option<u64>,
}

/// Of the service and its children, in KiB.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident before the first event.
    pub before_kib: u64,
    /// Resident after the last.
    pub after_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
}

/// Processor time for each event measured, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cpu {
    pub service_us: f64,
    pub load_us: f64,
    /// All that the machine was busy with, the database and the kernel included.
    pub machine_us: f64,
}

impl RunResult {
    /// Events that were answered 200 and are not in the database. Anything but 0 is a defect.
    pub fn lost(&self) -> Option<i64> {
        let landed = self.landed?;
        Some(self.accepted_distinct as i64 - landed.events as i64)
    }

    /// Answers other than 200, and requests that got none.
    pub fn not_200(&self) -> u64 {
        self.failed + self.refused.values().sum::<u64>()
    }

    /// All that were appended to this file.
    pub fn read_all(file: &Path) -> Result<Vec<Self>, Error> {
        let lines = std::fs::read_to_string(file)?;
        Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    pub fn append_to(&self, file: &Path) -> Result<(), Error> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn percentiles_are_exact() {
        let latency = Latency::of((1..=1_000).rev().map(|ms| ms * 1_000).collect());
        let all = (latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms);
        assert_eq!(all, (500.0, 990.0, 999.0, 1_000.0));
        assert_eq!(Latency::of(Vec::new()).max_ms, 0.0);
    }
}
