//! A Postgres server of a trial's own, durable as in production, to be killed at will.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::timeout;

use crate::Result;
use crate::form::Form;
use crate::process::{free_address, signal, until};

/// What every cluster is set to: durability is on by default, and is not turned off.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
fsync = on
synchronous_commit = on
full_page_writes = on
max_wal_size = 2GB
";
/// A process that was killed leaves its parts to end by themselves; until then its place is taken.
const START_ATTEMPTS_MAX: usize = 50;

pub struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    log: PathBuf,
    /// Postgres refuses to run as root: the user and the group that it runs as, if that is us.
    user: Option<(u32, u32)>,
    pub address: SocketAddr,
    postmaster: Option<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            let _ = signal(&postmaster, Signal::QUIT);
            let _ = postmaster.wait();
        }
    }
}

impl Cluster {
    /// Makes a cluster and starts it; `settings` are further lines of postgresql.conf.
    pub async fn start(form: &Form, name: &str, settings: &str) -> Result<Self> {
        Self::start_in(form, &form.folder, name, settings).await
    }

    /// As [`Self::start`], in a folder of the trial's choice.
    pub async fn start_in(form: &Form, parent: &Path, name: &str, settings: &str) -> Result<Self> {
        let mut cluster = Self::empty(form, parent, name)?;
        let mut initdb = cluster.program("initdb");
        initdb.args(["--username=paidup", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        // Only what initdb itself writes is not synced; the server syncs all that it writes.
        initdb.arg("--no-sync").arg("-D").arg(&cluster.data);
        let made = initdb.output()?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        cluster.set(&format!("{SETTINGS}{settings}"))?;
        cluster.restart().await?;
        Ok(cluster)
    }

    fn empty(form: &Form, parent: &Path, name: &str) -> Result<Self> {
        let (home, user) = server_folder(parent, name)?;
        Ok(Self {
            bin: form.pg_bin.clone(),
            data: home.join("data"),
            log: home.join("log"),
            user,
            address: free_address()?,
            postmaster: None,
        })
    }

    /// A copy of this one that follows it, as a standby of that name.
    pub async fn standby(&self, form: &Form, name: &str) -> Result<Self> {
        let mut standby = Self::empty(form, &form.folder, name)?;
        let mut backup = standby.program("pg_basebackup");
        let from = format!(
            "host=127.0.0.1 port={} user=paidup application_name={name}",
            self.address.port()
        );
        backup.arg("-D").arg(&standby.data).args(["-d", &from, "-R", "-X", "stream", "-c", "fast"]);
        let made = backup.output()?;
        if !made.status.success() {
            return Err(format!("pg_basebackup: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        standby.restart().await?;
        Ok(standby)
    }

    /// One of Postgres' programs, as the user that it runs as.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().env("LC_ALL", "C").env("PATH", &self.bin).current_dir("/");
        command.stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Adds lines to postgresql.conf. They count after a restart or [`Self::reload`].
    pub fn set(&self, lines: &str) -> Result<()> {
        let file = self.data.join("postgresql.conf");
        let old = fs::read_to_string(&file)?;
        // Written over, not anew: it stays the server's own.
        fs::write(&file, format!("{old}\n{lines}\n"))?;
        Ok(())
    }

    /// Makes the running server read its settings again.
    pub fn reload(&self) -> Result<()> {
        self.postmaster.as_ref().map_or(Ok(()), |postmaster| signal(postmaster, Signal::HUP))
    }

    /// Starts the server, again and again until it comes up; how long until it took connections.
    pub async fn restart(&mut self) -> Result<Duration> {
        let mut attempts = 0;
        self.spawn()?;
        until("Postgres takes connections", async || {
            let ended = self.postmaster.as_mut().map(Child::try_wait);
            if matches!(ended, Some(Ok(Some(_)))) && attempts < START_ATTEMPTS_MAX {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = self.spawn();
            }
            self.answers().await
        })
        .await
        .map_err(|error| format!("{error}; see {}", self.log.display()).into())
    }

    fn spawn(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let port = self.address.port().to_string();
        let mut server = self.program("postgres");
        server.arg("-D").arg(&self.data).args(["-p", &port]);
        self.postmaster = Some(server.stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    /// Whether it takes connections and answers on them.
    pub async fn answers(&self) -> bool {
        let url = self.url("postgres");
        let ask = async {
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute("select 1").await?;
            connection.close().await
        };
        matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(())))
    }

    /// `pg_ctl stop -m immediate`: as if the power went, but for what the system keeps of files.
    pub async fn stop_immediately(&mut self) -> Result<()> {
        self.end(Signal::QUIT).await
    }

    /// kill -9 of the postmaster. Its children find out and end; they are waited for.
    pub async fn kill_postmaster(&mut self) -> Result<()> {
        self.end(Signal::KILL).await
    }

    async fn end(&mut self, how: Signal) -> Result<()> {
        let Some(mut postmaster) = self.postmaster.take() else { return Ok(()) };
        let id = postmaster.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children: Vec<&str> = children.split_whitespace().collect();
        signal(&postmaster, how)?;
        until("the postmaster has ended", async || {
            postmaster.try_wait().is_ok_and(|s| s.is_some())
        })
        .await?;
        until("its children have ended", async || !children.iter().any(|id| is_postgres(id)))
            .await?;
        Ok(())
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        connection.execute("select pg_promote(wait => true)").await?;
        Ok(())
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://paidup@{}/{database}", self.address)
    }

    /// The address of a database, as it is through something in between.
    pub fn url_through(between: SocketAddr, database: &str) -> String {
        format!("postgres://paidup@{between}/{database}")
    }

    /// Makes an empty database, and answers with its URL.
    pub async fn create(&self, database: &str) -> Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let create = format!("create database {database}");
        connection.execute(AssertSqlSafe(create)).await?;
        Ok(self.url(database))
    }
}

/// Whether this process is alive, and a Postgres: its number may be another's by now.
fn is_postgres(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status.starts_with("Name:\tpostgres\n") && !status.contains("State:\tZ")
}

/// Makes a folder for a server that refuses to run as root, and says as whom it is to run, if that is us.
pub fn server_folder(parent: &Path, name: &str) -> Result<(PathBuf, Option<(u32, u32)>)> {
    let home = parent.join(name);
    fs::create_dir(&home)?;
    let user = server_user()?;
    if let Some((user, group)) = user {
        chown(&home, Some(user), Some(group))?;
    }
    Ok((home, user))
}

/// As root: the user that the server is to run as instead.
fn server_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    for name in ["postgres", "paidup-test"] {
        let line = users.lines().find(|line| line.split(':').next() == Some(name));
        let ids = line.map(|line| line.split(':').skip(2).take(2).map(str::parse).collect());
        if let Some(ids) = ids {
            let ids: std::result::Result<Vec<u32>, _> = ids;
            if let [user, group] = ids?[..] {
                return Ok(Some((user, group)));
            }
        }
    }
    Err("Postgres does not run as root, and there is no user postgres".into())
}
