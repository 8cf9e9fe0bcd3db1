//! The command line, nothing else.

use std::io::{IsTerminal, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use paidup::admin_token::Generated;
use paidup::check::{self, Grade};
use paidup::config::env_file::{self, ENV_FILE};
use paidup::config::{
    self, Config, ConfigError, DEV_SECRET_FILE, LISTEN_DEFAULT, LOG_FILTER_DEFAULT, LOG_FILTER_DEV,
    LogFormat, OPERATOR_LISTEN_DEFAULT, environment,
};
use paidup::domain::signature::SigningSecret;
use paidup::http::webhook::WEBHOOK_PATH;
use paidup::notifications::{self, NotifyCommand};
use paidup::recovery::backfill::BackfillArgs;
use paidup::recovery::export::Format;
use paidup::recovery::replay::ReplayArgs;
use paidup::recovery::stripe::StripeApi;
use paidup::recovery::{self, RecoveryError};
use paidup::trigger::{self, Surroundings, TriggerArgs};
use paidup::{Service, dev, files, tell, unix_milliseconds, unix_seconds};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// An event is some hundred small allocations on one thread that another frees, and a buffer of a megabyte
/// for each batch: a third of paidup's own processor time with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AFTER_HELP: &str = "\
The first minute:
  paidup dev                                                       in one terminal
  paidup trigger payment_intent.succeeded --order ORDER12345       in another
  paidup order ORDER12345

Settings are read from the environment and from a file .env in the working directory:
  DATABASE_URL                postgres://user:password@host/database, or sqlite://paidup.db (the default)
                              or DATABASE_URL_FILE, a file that holds it
  STRIPE_WEBHOOK_SECRET       the endpoint's signing secret (whsec_…), several separated by commas
  STRIPE_WEBHOOK_SECRET_FILE  a file with them, one per line or separated by commas, instead
  LISTEN, OPERATOR_LISTEN     0.0.0.0:8000 and 127.0.0.1:8001
  PORT                        the port of LISTEN's default address, if LISTEN is not set
  STRIPE_MODE                 live or test: which events count (serve: live, dev: test)
  STRIPE_ACCOUNTS             connected accounts whose events count (acct_…), or any; else only your own
  ORDER_ID_KEYS               metadata keys that name an order, in order of preference (order_id)
  ORDER_ID_PATTERN            a regular expression that order ids match; one group captures the order id
  UNKNOWN_ORDERS              create or hold: whether paidup makes the rows of orders it does not know
  EVENT_BODY_DAYS             how long bodies of events, and settled notifications, are kept (90)
  NOTIFY_CONFIG               a file that says whom to notify of what (see notify.example.toml)
  ADMIN_TOKEN                 what opens the console and the API; or ADMIN_TOKEN_FILE; else random at each start
  CONSOLE_URL                 where browsers reach the console through a proxy, e.g. https://ops.shop.example
  STRIPE_API_KEY              a restricted key, for backfill and doctor; or STRIPE_API_KEY_FILE
  BACKFILL_EVERY              15m: the service itself reads from Stripe what it missed
  STRIPE_API_BASE             where Stripe's API is (https://api.stripe.com)
  PUBLIC_URL                  where Stripe calls us, for doctor
  LOG_FORMAT, RUST_LOG        text or json; what is logged, e.g. info,paidup::event=warn";

/// Turns Stripe webhooks into order states.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Takes webhooks on this laptop alone: embedded database, a secret made on the spot.
    Dev,
    /// Takes webhooks in production. Demands STRIPE_WEBHOOK_SECRET.
    Serve {
        /// Without STRIPE_WEBHOOK_SECRET, use a random secret in .paidup/secret, as `dev` does.
        #[arg(long)]
        dev_secret: bool,
    },
    /// Sends an event, or a whole scenario, to a paidup on this machine, signed as Stripe would.
    Trigger(Box<TriggerArgs>),
    /// Shows an order.
    Order {
        /// The order's id.
        id: String,
    },
    /// Shows every event of an order: what it changed, and why it did not where it did not.
    Explain {
        /// The order's id.
        id: String,
    },
    /// Shows notifications, sends them again, and tries destinations.
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Looks at settings, secrets, database, clock and addresses: what is wrong and how to mend it.
    Check,
    /// All orders at once.
    Orders {
        #[command(subcommand)]
        command: OrdersCommand,
    },
    /// Reads the events that Stripe keeps, and records those that are missing. Needs STRIPE_API_KEY.
    Backfill(BackfillArgs),
    /// Asks Stripe whether its webhooks can reach us, and whether any are missing. Needs STRIPE_API_KEY.
    Doctor {
        /// Where Stripe should call, e.g. https://shop.example/webhook/stripe; else PUBLIC_URL.
        #[arg(long)]
        url: Option<String>,
    },
    /// Folds recorded events once more: what a newer paidup reads better, or another setting lets pass.
    Replay(Box<ReplayArgs>),
    /// Drops now what is older than EVENT_BODY_DAYS. `serve` does it every hour.
    Prune {
        /// Counts what would be dropped, and drops nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Brings the database's schema up to date. `serve` does it too.
    Migrate,
    /// Asks a paidup on this machine whether it is alive; for a container's health check.
    Health {
        /// Also whether its database answers and its queue has room.
        #[arg(long)]
        ready: bool,
    },
}

#[derive(Subcommand)]
enum OrdersCommand {
    /// Writes every order to the output: amounts in minor units, times in UTC.
    Export {
        #[command(flatten)]
        format: ExportFormat,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ExportFormat {
    /// A line for each order, below one of names.
    #[arg(long)]
    csv: bool,
    /// A JSON object on a line for each order.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // The environment takes precedence over the file.
    if let Err(error) = env_file::load(Path::new(ENV_FILE)) {
        return fail(&error.to_string());
    }
    files::keep_private();
    // One core less than there are: the writer has a thread of its own, and so has the database's session.
    // With as many threads as cores, they take the cores from those two, and every batch waits for it.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.saturating_sub(1).max(1);
    match Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => fail(&format!("the system gives it no threads: {error}")),
    }
}

async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Dev => run_dev().await,
        Command::Serve { dev_secret } => run_serve(dev_secret).await,
        Command::Trigger(args) => run_trigger(*args).await,
        Command::Order { id } => show(&id, false).await,
        Command::Explain { id } => show(&id, true).await,
        Command::Notify(command) => run_notify(command).await,
        Command::Orders { command: OrdersCommand::Export { format } } => run_export(&format).await,
        Command::Backfill(args) => run_backfill(args).await,
        Command::Doctor { url } => run_doctor(url).await,
        Command::Replay(args) => run_replay(*args).await,
        Command::Prune { dry_run } => run_prune(dry_run).await,
        Command::Check => run_check().await,
        Command::Migrate => run_migrate().await,
        Command::Health { ready } => run_health(ready).await,
    };
    match done {
        Ok(code) => code,
        Err(told) => fail(told.trim_end()),
    }
}

/// What to tell before the process fails.
type Done = Result<ExitCode, String>;

fn fail(told: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "paidup: {told}");
    ExitCode::FAILURE
}

/// Prints to people; a reader who went away (`| head`) is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn all(errors: Vec<ConfigError>) -> String {
    errors.iter().map(|error| format!("{error}\n        ")).collect()
}

fn start_log(filter_default: &str) -> Result<(), String> {
    let format = config::log_format(&environment).map_err(|error| error.to_string())?;
    let filter = config::log_filter(&environment);
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(filter_default))
        .map_err(|_| "RUST_LOG: not a filter such as info or paidup=debug")?;
    // Whoever reads the log may go away (`| tee`, at Ctrl-C). The default is to tell of that on stderr
    // with a macro that panics, in the task that happened to log: the one that hears signals, say.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// Is cancelled at the first SIGTERM or SIGINT; at the second the process ends at once.
fn stop_on_signal() -> Result<CancellationToken, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
    let (mut terminate, mut interrupt) =
        (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stopping.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!("stopping: what was accepted is committed and answered first");
            stopping.cancel();
        }
    });
    Ok(stop)
}

fn no_random(error: std::io::Error) -> String {
    format!("the system gives no random bytes: {}", error.kind())
}

/// The secrets of the environment, else those of the file that `dev` makes; and whether it is the file.
fn secrets_or_dev() -> Result<(Vec<SigningSecret>, bool), String> {
    match config::secrets(&environment).map_err(|error| error.to_string())? {
        Some(secrets) => Ok((secrets, false)),
        None => match dev::secrets(Path::new(DEV_SECRET_FILE)) {
            Ok(secrets) => Ok((secrets, true)),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Opens a service, unless it is stopped while it waits for its database.
async fn open(config: Config, stop: &CancellationToken) -> Result<Option<Service>, String> {
    tokio::select! {
        service = Service::open(config) => service.map(Some).map_err(|error| error.to_string()),
        () = stop.cancelled() => Ok(None),
    }
}

async fn run_serve(dev_secret: bool) -> Done {
    let (config, is_dev) = if dev_secret {
        let (secrets, is_dev) = secrets_or_dev()?;
        (Config::read_with(&environment, secrets), is_dev)
    } else {
        (Config::read(&environment), false)
    };
    let mut config = config.map_err(all)?;
    let token = Generated::fill(&mut config).map_err(no_random)?;
    start_log(LOG_FILTER_DEFAULT)?;
    let stop = stop_on_signal()?;
    let Some(service) = open(config, &stop).await? else { return Ok(ExitCode::SUCCESS) };
    if is_dev {
        tracing::warn!(
            "STRIPE_WEBHOOK_SECRET is not set: only events signed with the random secret in \
             {DEV_SECRET_FILE} are accepted, and Stripe's are refused"
        );
    }
    token.iter().for_each(Generated::show);
    paidup::serve(service, stop).await.map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

async fn run_dev() -> Done {
    let (secrets, is_dev) = secrets_or_dev()?;
    let secret_told =
        if is_dev { format!("in {DEV_SECRET_FILE}") } else { "from the environment".to_owned() };
    let mut config = Config::read_dev(&environment, secrets).map_err(all)?;
    let token = Generated::fill(&mut config).map_err(no_random)?;
    start_log(LOG_FILTER_DEV)?;
    let stop = stop_on_signal()?;
    let database = config.store.describe();
    let Some(service) = open(config, &stop).await? else { return Ok(ExitCode::SUCCESS) };
    token.iter().for_each(Generated::show);
    // As it was called, so that the lines below can be pasted: target/release/paidup for `cargo run`.
    let program = std::env::args().next().unwrap_or_else(|| "paidup".to_owned());
    print(&format!(
        "paidup {} for development, on this machine alone\n\
         \n  webhooks        http://{}/webhook/stripe\
         \n  console         http://{}/console\
         \n  metrics         http://{}/metrics\
         \n  database        {database}\
         \n  signing secret  {secret_told}\n\
         \nNext, in another terminal in this folder:\n\
         \n  {program} trigger payment_intent.succeeded --order ORDER12345\
         \n  {program} order ORDER12345\n\
         \nStop with Ctrl-C.\n",
        env!("CARGO_PKG_VERSION"),
        service.webhook_address(),
        service.operator_address(),
        service.operator_address(),
    ));
    service.run(stop).await.map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

async fn run_trigger(args: TriggerArgs) -> Done {
    let from_environment = config::secrets(&environment).map_err(|error| error.to_string())?;
    let secret = || match from_environment.and_then(|secrets| secrets.into_iter().next()) {
        Some(secret) => Ok(secret),
        None => dev::existing_secret(Path::new(DEV_SECRET_FILE)).map_err(|error| error.to_string()),
    };
    let address = of_this_machine(config::listen(&environment, LISTEN_DEFAULT))?;
    let nonce = dev::random::<8>().map_err(no_random)?;
    let around = Surroundings {
        url: format!("http://{address}{WEBHOOK_PATH}"),
        secret,
        now: unix_seconds(),
        nonce: u64::from_le_bytes(nonce),
    };
    trigger::run(args, around, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The address to call what listens there from this machine.
fn of_this_machine(listen: Result<SocketAddr, ConfigError>) -> Result<SocketAddr, String> {
    let mut address = listen.map_err(|error| error.to_string())?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

async fn show(id: &str, with_story: bool) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let shown = async {
        let mut session = tell::open(&store).await?;
        let text = if with_story {
            tell::explain(&mut session, id).await?
        } else {
            tell::order(&mut session, id).await?
        };
        session.close().await;
        Ok::<_, tell::TellError>(text)
    };
    print(&shown.await.map_err(|error| error.to_string())?);
    Ok(ExitCode::SUCCESS)
}

async fn run_notify(command: NotifyCommand) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let settings = config::notify(&environment).map_err(all)?;
    let now = unix_milliseconds();
    let told = notifications::run(command, &store, &settings, now).await;
    print(&told.map_err(|error| error.to_string())?);
    Ok(ExitCode::SUCCESS)
}

async fn run_export(format: &ExportFormat) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let format = if format.csv { Format::Csv } else { Format::Json };
    let mut out = std::io::BufWriter::new(std::io::stdout());
    match recovery::export::export(&store, format, &mut out).await {
        // A reader who went away (`| head`) is no error.
        Ok(_) | Err(RecoveryError::Write(std::io::ErrorKind::BrokenPipe)) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.to_string()),
    }
}

fn stripe_api() -> Result<StripeApi, String> {
    let stripe = config::stripe(&environment).map_err(|error| error.to_string())?;
    let (base, key) = stripe.ok_or(
        "STRIPE_API_KEY is not set. Make a restricted key in the Dashboard (Developers → API keys) with \
         read access to Events and Webhook Endpoints",
    )?;
    StripeApi::new(&base, &key).map_err(|error| error.to_string())
}

async fn run_backfill(args: BackfillArgs) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let rules = config::rules(&environment).map_err(all)?;
    let api = stripe_api()?;
    start_log("warn")?;
    store.migrate().await.map_err(|error| error.to_string())?;
    let filled = recovery::backfill::backfill(&store, &rules, &api, &args).await;
    let filled = filled.map_err(|error| error.to_string())?;
    let done = if args.dry_run { " (a dry run; nothing is recorded)" } else { "" };
    print(&format!(
        "{} events read: {} were missing, {} of them changed their order, {} were refused{done}",
        filled.read, filled.missing, filled.applied, filled.refused
    ));
    Ok(if filled.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_doctor(url: Option<String>) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let api = stripe_api()?;
    let url = url.or_else(|| config::public_url(&environment));
    let findings = recovery::doctor::doctor(&store, &api, url.as_deref()).await;
    let findings = findings.map_err(|error| error.to_string())?;
    findings.iter().for_each(|finding| print(&finding.to_string()));
    let is_bad = recovery::doctor::is_bad(&findings);
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn run_replay(args: ReplayArgs) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let rules = config::rules(&environment).map_err(all)?;
    let replayed = recovery::replay::replay(&store, &rules, &args, &mut std::io::stdout()).await;
    let tally = replayed.map_err(|error| error.to_string())?;
    let would = if args.dry_run { " (a dry run; nothing is changed)" } else { "" };
    print(&format!(
        "{} events folded again: {} changes of orders, {} events with another outcome, {} without a \
         body{would}",
        tally.events, tally.changes, tally.moved, tally.without_body
    ));
    Ok(ExitCode::SUCCESS)
}

async fn run_prune(dry_run: bool) -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let retention = config::retention(&environment).map_err(|error| error.to_string())?;
    let pruned = recovery::prune::prune(&store, retention, dry_run).await;
    let pruned = pruned.map_err(|error| error.to_string())?;
    let done = if dry_run { "would be" } else { "were" };
    print(&format!(
        "{} bodies {done} dropped, {} events and {} notifications {done} deleted",
        pruned.bodies, pruned.events, pruned.deliveries
    ));
    Ok(ExitCode::SUCCESS)
}

async fn run_check() -> Done {
    let findings = check::check(&environment).await;
    for finding in &findings {
        print(&finding.to_string());
    }
    let is_bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn run_migrate() -> Done {
    let store = config::store(&environment).map_err(|error| error.to_string())?;
    let database = store.describe();
    store.migrate().await.map_err(|error| format!("{database}: {error}"))?;
    print(&format!("{database} is up to date (migration {})", store.migration()));
    Ok(ExitCode::SUCCESS)
}

async fn run_health(ready: bool) -> Done {
    let path = if ready { "/readyz" } else { "/healthz" };
    let listen = config::address(&environment, "OPERATOR_LISTEN", OPERATOR_LISTEN_DEFAULT);
    let address = of_this_machine(listen)?;
    let url = format!("http://{address}{path}");
    let asked = paidup::http::client::get(&url, Duration::from_secs(3)).await;
    let answer = asked.map_err(|error| error.to_string())?;
    print(&answer.body);
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
