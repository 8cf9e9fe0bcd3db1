//! What a trial found: figures for people as a table, for programs as one line of JSON, and whether
//! all held that must.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// The figures of one trial, in the order they were given, and what did not hold.
#[derive(Default)]
pub struct Report {
    section: String,
    figures: Vec<(String, Value)>,
    broken: Vec<String>,
    not_tried: Vec<String>,
}

impl Report {
    /// What follows is of this part of the trial.
    pub fn section(&mut self, name: &str) {
        self.section = format!("{name}: ");
    }

    /// A figure; its unit stands last in its name.
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.push((format!("{}{name}", self.section), value.into()));
    }

    /// A time, in milliseconds with one decimal.
    pub fn milliseconds(&mut self, name: &str, time: Duration) {
        self.figure(&format!("{name}, ms"), (time.as_secs_f64() * 10_000.0).round() / 10.0);
    }

    /// Something that must hold.
    pub fn must(&mut self, what: &str, holds: bool) {
        if !holds {
            self.broken(what.to_owned());
        }
    }

    /// Something that was found not to hold.
    pub fn broken(&mut self, what: String) {
        self.broken.push(format!("{}{what}", self.section));
    }

    /// Something that this machine does not let be tried. It is told, loudly, with the figures.
    pub fn not_tried(&mut self, what: String) {
        self.not_tried.push(format!("{}{what}", self.section));
    }

    pub fn has_held(&self) -> bool {
        self.broken.is_empty()
    }

    pub fn print(&self, trial: &str, form: &str, took: Duration) {
        for (name, value) in &self.figures {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            println!("   {name:<52} {value:>12}");
        }
        println!("   {:<52} {:>12.1}", "the whole trial, s", took.as_secs_f64());
        for broken in &self.broken {
            println!("   BROKEN: {broken}");
        }
        for not_tried in &self.not_tried {
            println!("   NOT TRIED: {not_tried}");
        }
        let figures: Map<String, Value> = self.figures.iter().cloned().collect();
        let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        let line = json!({
            "trial": trial, "form": form, "held": self.has_held(), "seconds": seconds,
            "figures": figures, "broken": self.broken, "not_tried": self.not_tried,
        });
        println!("{line}");
    }
}

/// The time that so many percent of these are below or at; none, if there are none.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
