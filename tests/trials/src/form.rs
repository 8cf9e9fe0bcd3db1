//! In which form a trial runs, with what, and where.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::{Arguments, Result};

/// What a trial needs to know of its surroundings.
pub struct Form {
    /// The long form, with the numbers that docs/internals/testing.md promises; else the short one, for CI.
    pub long: bool,
    /// The program under trial.
    pub paidup: PathBuf,
    /// Where initdb and postgres are.
    pub pg_bin: PathBuf,
    /// The trial's own folder. It is removed if all held, and kept if not.
    pub folder: PathBuf,
}

/// An interrupted run fails, and so do all after it.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

impl Form {
    pub fn new(trial: &str, arguments: &Arguments) -> Result<Self> {
        if IS_INTERRUPTED.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        let folder = arguments.folder.join(format!("paidup-trial-{trial}-{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let paidup = match &arguments.paidup {
            Some(paidup) => std::path::absolute(paidup)?,
            None => std::env::current_exe()?.with_file_name("paidup"),
        };
        if !paidup.is_file() {
            return Err(format!("{} is not there: cargo build", paidup.display()).into());
        }
        let pg_bin = match &arguments.pg_bin {
            Some(pg_bin) => pg_bin.clone(),
            None => newest_postgres()
                .ok_or("no Postgres server is installed; PG_BIN names its folder")?,
        };
        Ok(Self { long: arguments.long, paidup, pg_bin, folder })
    }

    pub fn name(&self) -> &'static str {
        self.pick("CI", "long")
    }

    /// What the form asks for.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// A deadline: as promised in the long form, on a machine that does nothing else; for CI, whose
    /// machines are shared and run a debug build, ten times that.
    pub fn seconds(&self, promised: f64) -> f64 {
        self.pick(promised * 10.0, promised)
    }

    /// Runs a trial's work. Ctrl-C and SIGTERM end it, and with it all that it has started.
    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                result = work => return result,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            IS_INTERRUPTED.store(true, Ordering::Relaxed);
            Err("interrupted".into())
        })
    }

    pub fn clean_up(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn newest_postgres() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt"] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut installed: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin")).collect();
        installed.sort();
        folders.extend(installed.into_iter().rev());
    }
    folders.into_iter().find(|folder| is_postgres(folder))
}

fn is_postgres(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_basebackup"].iter().all(|name| folder.join(name).is_file())
}
