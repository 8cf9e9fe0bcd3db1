//! Reads what pgbench printed and logged, and makes the same result of it as `send` makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::count::{Database, Place};
use crate::result::{Latency, RunResult};

const TRANSACTIONS: &str = "number of transactions actually processed: ";

#[derive(clap::Args)]
pub struct Arguments {
    /// What pgbench printed.
    #[arg(long)]
    output: PathBuf,
    /// What pgbench printed of a warm-up in the same database.
    #[arg(long)]
    warmup_output: Option<PathBuf>,
    /// What was given to pgbench as --log-prefix.
    #[arg(long)]
    log_prefix: PathBuf,
    /// What `place` printed before the run.
    #[arg(long)]
    from: Option<Place>,
    #[command(flatten)]
    database: Database,
    #[arg(long, default_value = "pgbench")]
    contestant: String,
    /// What was varied from run to run, for the plots.
    #[arg(long)]
    x: Option<u64>,
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let output = fs::read_to_string(&arguments.output)?;
    let events = number_after(&output, TRANSACTIONS)?;
    let warmup = match &arguments.warmup_output {
        Some(file) => number_after(&fs::read_to_string(file)?, TRANSACTIONS)?,
        None => 0.0,
    };
    let events_per_second = number_after(&output, "tps = ")?;
    let failed = number_after(&output, "number of failed transactions: ").unwrap_or(0.0);
    let result = RunResult {
        contestant: arguments.contestant,
        x: arguments.x,
        seconds: events / events_per_second,
        events: events as u64,
        events_per_second,
        latency: Latency::of(latencies(&arguments.log_prefix)?),
        accepted_distinct: (warmup + events) as u64,
        orders_distinct: (warmup + events) as u64,
        refused: Default::default(),
        failed: failed as u64,
        landed: arguments.database.landed(arguments.from).await?,
        memory: None,
        cpu: None,
    };
    if let Some(file) = &arguments.results {
        result.append_to(file)?;
    }
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

fn number_after(output: &str, label: &str) -> Result<f64, Error> {
    let line = output.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("pgbench did not say «{label}»"))?.parse()?)
}

/// The third column of every log file that begins with the prefix: microseconds.
fn latencies(prefix: &Path) -> Result<Vec<u32>, Error> {
    let directory = prefix.parent().ok_or("--log-prefix must name a file")?;
    let name = prefix.file_name().ok_or("--log-prefix must name a file")?.to_string_lossy();
    let mut micros = Vec::new();
    for file in fs::read_dir(directory)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(&format!("{name}.")) {
            let log = fs::read_to_string(file.path())?;
            let third = |line: &str| line.split(' ').nth(2)?.parse::<u32>().ok();
            micros.extend(log.lines().filter_map(third));
        }
    }
    Ok(micros)
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn pgbenchs_figures_are_found() {
        let output = "number of transactions actually processed: 57012\n\
            tps = 5700.123456 (without initial connection time)\n";
        assert_eq!(number_after(output, "tps = ").unwrap(), 5_700.123_456);
        assert!(number_after(output, "latency average = ").is_err());
    }
}
