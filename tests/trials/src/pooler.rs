//! A pgbouncer of a trial's own, between paidup and Postgres.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::Result;
use crate::cluster::{Cluster, server_folder};
use crate::form::Form;
use crate::process::{free_address, until};

/// Names pgbouncer where it is not on the PATH.
const PROGRAM_NAME: &str = "PGBOUNCER";
/// Fewer than two paidups have connections, so that they must share them.
const POOL_CONNECTIONS: usize = 3;

/// When a server's connection goes to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When its client goes.
    Session,
    /// After each transaction.
    Transaction,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }
}

/// The program and its version, as in "PgBouncer 1.24.1".
pub fn installed() -> Option<(PathBuf, (u32, u32))> {
    let program = std::env::var_os(PROGRAM_NAME).map_or_else(|| "pgbouncer".into(), PathBuf::from);
    // Debian has it where only root looks.
    for program in [program, PathBuf::from("/usr/sbin/pgbouncer")] {
        let Ok(told) = Command::new(&program).arg("--version").output() else { continue };
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = told.lines().next().and_then(|line| line.strip_prefix("PgBouncer "));
        let mut numbers = version?.split('.').map(str::parse);
        if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) {
            return Some((program, (major, minor)));
        }
    }
    None
}

pub struct Pooler {
    program: PathBuf,
    settings: PathBuf,
    log: PathBuf,
    user: Option<(u32, u32)>,
    pub address: SocketAddr,
    running: Option<Child>,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Pooler {
    /// Starts it with what docs/internals/testing.md says.
    pub async fn start(
        form: &Form,
        program: PathBuf,
        mode: Mode,
        cluster: &Cluster,
    ) -> Result<Self> {
        let (home, user) = server_folder(&form.folder, &format!("pooler-{}", mode.name()))?;
        let address = free_address()?;
        let users = home.join("users");
        fs::write(&users, "\"paidup\" \"\"\n")?;
        let more = match mode {
            // As many as there may be sessions: each keeps one.
            Mode::Session => "default_pool_size = 50".to_owned(),
            Mode::Transaction => {
                format!("default_pool_size = {POOL_CONNECTIONS}\nmax_prepared_statements = 200")
            }
        };
        let settings = home.join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {}\n\
             ignore_startup_parameters = extra_float_digits\nserver_login_retry = 1\n{more}\n",
            cluster.address.port(),
            address.port(),
            users.display(),
            mode.name(),
        );
        fs::write(&settings, lines)?;
        let log = home.join("log");
        let mut pooler = Self { program, settings, log, user, address, running: None };
        pooler.restart().await?;
        Ok(pooler)
    }

    /// Starts it again, and waits until a query comes through.
    pub async fn restart(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command.arg(&self.settings).current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        self.running = Some(command.spawn()?);
        let url = Cluster::url_through(self.address, "postgres");
        until("the pooler lets through", async || PgConnection::connect(&url).await.is_ok())
            .await
            .map_err(|error| format!("{error}; see {}", self.log.display()))?;
        Ok(())
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            running.kill()?;
            running.wait()?;
        }
        Ok(())
    }
}
