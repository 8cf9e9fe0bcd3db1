//! Takes the result lines of all rounds, and makes one table of medians: as text, as Markdown, as
//! JSON.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::Error;
use crate::result::RunResult;
use crate::start::Starts;

#[derive(clap::Args)]
pub struct Arguments {
    /// The result lines, as `send` and `pgbench` append them.
    #[arg(long)]
    results: PathBuf,
    /// What `start` printed; may be given several times.
    #[arg(long)]
    starts: Vec<PathBuf>,
    /// What the machine is: lines of text.
    #[arg(long)]
    facts: Option<PathBuf>,
    /// The contestant that the others are compared with.
    #[arg(long, default_value = "paidup-postgres")]
    subject: String,
    /// Write the table here too.
    #[arg(long)]
    markdown: Option<PathBuf>,
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    facts: Vec<String>,
    starts: Vec<Starts>,
    contestants: Vec<Row>,
    runs: Vec<RunResult>,
}

/// The medians of one contestant's rounds; of `lost` and of failures the sum.
#[derive(Serialize)]
struct Row {
    contestant: String,
    rounds: usize,
    events_per_second: f64,
    lowest: f64,
    highest: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    landed: f64,
    lost: Option<i64>,
    not_200: u64,
    memory_before_mib: Option<f64>,
    memory_peak_mib: Option<f64>,
    service_cpu_us: Option<f64>,
    machine_cpu_us: Option<f64>,
    events_per_commit: Option<f64>,
    wal_bytes_per_event: Option<f64>,
    subject_is_times: Option<f64>,
}

pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let runs = RunResult::read_all(&arguments.results)?;
    let facts = match &arguments.facts {
        Some(file) => fs::read_to_string(file)?.lines().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    let mut starts = Vec::new();
    for file in &arguments.starts {
        starts.push(serde_json::from_str(&fs::read_to_string(file)?)?);
    }
    let report = Report { facts, starts, contestants: rows(&runs, &arguments.subject), runs };
    println!("{}", text(&report));
    if let Some(file) = &arguments.markdown {
        fs::write(file, markdown(&report))?;
    }
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

fn rows(runs: &[RunResult], subject: &str) -> Vec<Row> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.contestant.as_str()) {
            names.push(&run.contestant);
        }
    }
    let mut rows: Vec<Row> = names
        .into_iter()
        .map(|name| {
            row(name, &runs.iter().filter(|run| run.contestant == name).collect::<Vec<_>>())
        })
        .collect();
    let of_subject = rows.iter().find(|row| row.contestant == subject);
    if let Some(of_subject) = of_subject.map(|row| row.events_per_second) {
        for row in rows.iter_mut().filter(|row| row.contestant != subject) {
            row.subject_is_times = Some(of_subject / row.events_per_second);
        }
    }
    rows
}

fn row(name: &str, runs: &[&RunResult]) -> Row {
    let of =
        |value: fn(&RunResult) -> Option<f64>| median(runs.iter().filter_map(|run| value(run)));
    let rates = || runs.iter().map(|run| run.events_per_second);
    Row {
        contestant: name.to_owned(),
        rounds: runs.len(),
        events_per_second: median(rates()).unwrap_or(0.0),
        lowest: rates().fold(f64::INFINITY, f64::min),
        highest: rates().fold(0.0, f64::max),
        p50_ms: of(|run| Some(run.latency.p50_ms)).unwrap_or(0.0),
        p99_ms: of(|run| Some(run.latency.p99_ms)).unwrap_or(0.0),
        p999_ms: of(|run| Some(run.latency.p999_ms)).unwrap_or(0.0),
        landed: of(|run| Some(run.landed?.events as f64)).unwrap_or(0.0),
        lost: runs.iter().filter_map(|run| run.lost()).reduce(|a, b| a + b),
        not_200: runs.iter().map(|run| run.not_200()).sum(),
        memory_before_mib: of(|run| Some(run.memory?.before_kib as f64 / 1_024.0)),
        memory_peak_mib: of(|run| Some(run.memory?.peak_kib as f64 / 1_024.0)),
        service_cpu_us: of(|run| Some(run.cpu?.service_us)),
        machine_cpu_us: of(|run| Some(run.cpu?.machine_us)),
        events_per_commit: of(|run| {
            let landed = run.landed?;
            Some(landed.events as f64 / landed.commits?.max(1) as f64)
        }),
        wal_bytes_per_event: of(|run| {
            let landed = run.landed?;
            Some(landed.wal_bytes? as f64 / landed.events.max(1) as f64)
        }),
        subject_is_times: None,
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

const HEAD: [&str; 14] = [
    "contestant",
    "events/s",
    "lowest–highest",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "landed",
    "lost",
    "not 200",
    "idle MiB",
    "peak MiB",
    "service µs",
    "events/commit",
    "paidup is",
];

fn cells(report: &Report) -> Vec<Vec<String>> {
    let some = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let head = HEAD.iter().map(|name| (*name).to_owned()).collect();
    let rows = report.contestants.iter().map(|row| {
        vec![
            row.contestant.clone(),
            format!("{:.0}", row.events_per_second),
            format!("{:.0}–{:.0}", row.lowest, row.highest),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.2}", row.p999_ms),
            format!("{:.0}", row.landed),
            row.lost.map_or_else(|| "–".to_owned(), |lost| lost.to_string()),
            row.not_200.to_string(),
            some(row.memory_before_mib, 1),
            some(row.memory_peak_mib, 1),
            some(row.service_cpu_us, 0),
            some(row.events_per_commit, 1),
            row.subject_is_times.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}×")),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}

fn starts_lines(report: &Report) -> impl Iterator<Item = String> {
    report.starts.iter().map(|starts| {
        format!(
            "{}: from exec to ready on a migrated database {:.1} ms (median of {}), idle memory {:.1} MiB",
            starts.label,
            starts.ready_ms_median,
            starts.ready_ms.len(),
            starts.idle_kib as f64 / 1_024.0
        )
    })
}

fn text(report: &Report) -> String {
    let cells = cells(report);
    let width =
        |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = report.facts.join("\n") + "\n\n";
    for row in &cells {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            text +=
                &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text.push('\n');
    }
    for line in starts_lines(report) {
        text += &format!("\n{line}\n");
    }
    text
}

fn markdown(report: &Report) -> String {
    let mut text = String::from("# Load\n\n");
    for fact in &report.facts {
        text += &format!("- {fact}\n");
    }
    text.push('\n');
    for (number, row) in cells(report).iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if number == 0 {
            text += &format!("| --- |{}\n", " ---: |".repeat(row.len() - 1));
        }
    }
    for line in starts_lines(report) {
        text += &format!("\n{line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
