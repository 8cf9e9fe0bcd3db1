//! The trials: paidup under faults, attacks and load, judged from outside.
//!
//! Each trial is a module of [`trials`] with one function, and one line in [`TRIALS`]. It works with
//! the real program and with Postgres clusters and SQLite files of its own, prints figures, and fails
//! if what must hold did not. docs/internals/testing.md says of each what is done and what must hold.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`events`] | numbered events, each to be made again from its number |
//! | [`driver`] | sends them, and logs each answer |
//! | [`receiver`] | takes paidup's notifications, and records them |
//! | [`judge`] | compares what was acknowledged and told with what the database holds |
//! | [`process`], [`cluster`], [`pooler`], [`database`] | paidup, Postgres, pgbouncer, and a look into either database |
//! | [`proxy`] | a network that fails on demand |
//! | [`report`] | the figures |

mod cluster;
mod database;
mod driver;
mod events;
mod form;
mod judge;
mod pooler;
mod process;
mod proxy;
mod receiver;
mod report;
mod trials;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use form::Form;
use report::Report;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// A trial: its name, what is done to paidup, and the function that does it.
struct Trial {
    name: &'static str,
    tells: &'static str,
    run: fn(&Form) -> Result<Report>,
}

const TRIALS: &[Trial] = &[
    Trial {
        name: "judge",
        tells: "the judge is given wrong databases, and must see what is wrong",
        run: trials::judge::run,
    },
    Trial {
        name: "kill",
        tells: "paidup is killed (-9) at random moments under load",
        run: trials::kill::run,
    },
    Trial {
        name: "postgres",
        tells: "Postgres is killed and restarted under load, and paidup goes on",
        run: trials::postgres::run,
    },
    Trial {
        name: "same",
        tells: "the same event 1,000 times at once, over two processes",
        run: trials::same::run,
    },
    Trial {
        name: "partition",
        tells: "the network to the database fails: silently, with resets, slowly, mid-message",
        run: trials::partition::run,
    },
    Trial {
        name: "hangup",
        tells: "clients hang up at random microseconds",
        run: trials::hangup::run,
    },
    Trial {
        name: "stop",
        tells: "SIGTERM under load, and a rolling upgrade across a migration",
        run: trials::stop::run,
    },
    Trial {
        name: "several",
        tells: "two and three processes on one Postgres, shuffled, duplicated, killed",
        run: trials::several::run,
    },
    Trial {
        name: "slow",
        tells: "the database takes a second for each word, and the queue fills",
        run: trials::slow::run,
    },
    Trial {
        name: "poison",
        tells: "the database refuses some of the events",
        run: trials::poison::run,
    },
    Trial {
        name: "forged",
        tells: "signatures are bent a million times, and the comparison is timed",
        run: trials::forged::run,
    },
    Trial {
        name: "clock",
        tells: "the machine's clock is wrong by 400 s, either way",
        run: trials::clock::run,
    },
    Trial {
        name: "clients",
        tells: "slow clients of six kinds, and an honest one beside them",
        run: trials::clients::run,
    },
    Trial {
        name: "full",
        tells: "the disk is full under Postgres and SQLite, and SQLite's fdatasync fails",
        run: trials::full::run,
    },
    Trial {
        name: "failover",
        tells: "the primary dies, and its synchronous standby takes its place",
        run: trials::failover::run,
    },
    Trial {
        name: "pooler",
        tells: "pgbouncer stands before the database, is killed, and loses its connections",
        run: trials::pooler::run,
    },
    Trial { name: "soak", tells: "half the peak rate for a long time", run: trials::soak::run },
];

#[derive(Parser)]
#[command(name = "trials", about = "Puts paidup under faults, attacks and load, and judges it.")]
struct Arguments {
    /// Which trials; all of them without a name.
    names: Vec<String>,
    /// The long form of each; without it the short one, which CI runs.
    #[arg(long)]
    long: bool,
    /// Only say which trials there are.
    #[arg(long)]
    list: bool,
    /// The paidup to try; without it the one beside this program.
    #[arg(long, env = "PAIDUP_BIN")]
    paidup: Option<PathBuf>,
    /// The folder of Postgres' programs (initdb, postgres); without it the newest that is installed.
    #[arg(long, env = "PG_BIN")]
    pg_bin: Option<PathBuf>,
    /// Where clusters and logs are kept while a trial runs, on a disk.
    #[arg(long, env = "TRIALS_FOLDER", default_value = "/var/tmp")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for trial in TRIALS {
            println!("{:12} {}", trial.name, trial.tells);
        }
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trials: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = unknown(&arguments.names) {
        return Err(format!("there is no trial {name}; --list names them").into());
    }
    let chosen = |trial: &&Trial| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == trial.name)
    };
    let mut failed = Vec::new();
    for trial in TRIALS.iter().filter(chosen) {
        eprintln!("== {}: {}", trial.name, trial.tells);
        let started = Instant::now();
        let form = Form::new(trial.name, arguments)?;
        match (trial.run)(&form) {
            Ok(report) => {
                report.print(trial.name, form.name(), started.elapsed());
                if report.has_held() {
                    form.clean_up();
                    continue;
                }
            }
            Err(error) => eprintln!("   could not be run to its end: {error}"),
        }
        eprintln!("   FAILED; logs and data are kept in {}", form.folder.display());
        failed.push(trial.name);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn unknown(names: &[String]) -> Option<&String> {
    names.iter().find(|name| TRIALS.iter().all(|trial| trial.name != **name))
}
