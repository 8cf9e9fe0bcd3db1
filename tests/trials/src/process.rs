//! paidup as a process of its own: started, asked, killed.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use paidup::files::ask_for;
use paidup::http::client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::events::{Random, SECRET};
use crate::form::Form;
use crate::receiver::{self, Receiver};
use crate::{Error, Result};

/// How often to look for what should soon be so.
const LOOK: Duration = Duration::from_millis(2);
/// What is waited for comes within this long, or the trial cannot go on.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so; how long that took.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<Duration> {
    let started = Instant::now();
    while !is_so().await {
        if started.elapsed() > PATIENCE {
            return Err(format!("in vain for {PATIENCE:?}: {what}").into());
        }
        sleep(LOOK).await;
    }
    Ok(started.elapsed())
}

/// An address of this machine at which nothing listens. Below the ports that the system gives to
/// outgoing connections, so that none of those takes it while what listens here is dead.
pub fn free_address() -> Result<SocketAddr> {
    let mut random = Random::new(Random::seed());
    for _ in 0..100 {
        let port = 20_000 + random.below(12_000) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port".into())
}

/// Lets this process, and what it starts from now on, have so many files open.
///
/// # Errors
/// If the system does not allow as many.
pub fn need_files(files: usize) -> Result<()> {
    if ask_for(files) < files {
        return Err(format!("this needs {files} open files: ulimit -Hn").into());
    }
    Ok(())
}

/// Sends a signal to a process that this one started and has not waited for.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let id = i32::try_from(child.id())?;
    Ok(kill_process(Pid::from_raw(id).ok_or("no process id")?, signal)?)
}

/// Where a paidup is to listen, and with which settings. It can be started any number of times.
#[derive(Clone)]
pub struct Recipe {
    program: PathBuf,
    /// Where webhooks are taken.
    pub address: SocketAddr,
    operators: SocketAddr,
    settings: Vec<(String, String)>,
    files_max: Option<u32>,
    log: PathBuf,
}

impl Recipe {
    /// `name` is for its log.
    pub fn new(form: &Form, name: &str, database_url: &str) -> Result<Self> {
        let recipe = Self {
            program: form.paidup.clone(),
            address: free_address()?,
            operators: free_address()?,
            settings: Vec::new(),
            files_max: None,
            log: form.folder.join(format!("{name}.log")),
        };
        Ok(recipe.with("DATABASE_URL", database_url).with("STRIPE_WEBHOOK_SECRET", SECRET))
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It may have no more files open than these.
    pub fn with_files(mut self, files_max: u32) -> Self {
        self.files_max = Some(files_max);
        self
    }

    /// Every change is told to this receiver.
    pub fn telling(self, form: &Form, receiver: &Receiver) -> Result<Self> {
        let file = form.folder.join("notify.toml");
        fs::write(&file, receiver.settings())?;
        let file = file.display().to_string();
        Ok(self.with("NOTIFY_CONFIG", &file).with(receiver::SECRET_NAME, receiver::SECRET))
    }

    fn command(&self) -> Result<Command> {
        let mut command = match self.files_max {
            None => Command::new(&self.program),
            Some(files) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]);
                shell.arg(&self.program);
                shell
            }
        };
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        command
            .arg("serve")
            .env_clear()
            .current_dir(std::env::temp_dir())
            .env("LISTEN", self.address.to_string())
            .env("OPERATOR_LISTEN", self.operators.to_string())
            // Without one, it writes a token of its own into that folder.
            .env("ADMIN_TOKEN", "the_token_of_trials_that_set_none")
            // As the events of `paidup trigger` are.
            .env("STRIPE_MODE", "test")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::from(File::options().append(true).open(&self.log)?))
            .stderr(log);
        Ok(command)
    }

    /// Starts it, and waits until it is ready; how long that took.
    pub async fn start(&self) -> Result<(Paidup, Duration)> {
        let started = Instant::now();
        let mut paidup = Paidup { recipe: self.clone(), child: self.command()?.spawn()? };
        paidup.ready().await?;
        Ok((paidup, started.elapsed()))
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A paidup that runs. It is killed when this is dropped.
pub struct Paidup {
    pub recipe: Recipe,
    child: Child,
}

impl Drop for Paidup {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Paidup {
    /// Waits until `/readyz` answers 200.
    pub async fn ready(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let url = format!("http://{}/readyz", self.recipe.address);
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("paidup ended with {status}:\n{}", self.recipe.log()).into());
            }
            let answer = client::get(&url, Duration::from_secs(5)).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(started.elapsed());
            }
            sleep(LOOK).await;
        }
        Err("paidup is not ready".into())
    }

    /// The sum of a metric over its labels; or the one with these, if the name ends with them.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.recipe.operators);
        let text = client::get(&url, PATIENCE).await?.body;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        status_kib(self.child.id(), "VmRSS:")
    }

    /// The most that was ever resident, in KiB.
    pub fn peak_kib(&self) -> u64 {
        status_kib(self.child.id(), "VmHWM:")
    }

    /// Kills it without a warning.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop.
    pub fn terminate(&self) -> Result<()> {
        signal(&self.child, Signal::TERM)
    }

    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, started.elapsed()));
            }
            if started.elapsed() > PATIENCE {
                return Err(Error::from("paidup does not end"));
            }
            sleep(LOOK).await;
        }
    }
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
