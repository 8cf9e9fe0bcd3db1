//! The load on a running paidup, and what belongs to measuring it: `send` sends signed events,
//! `start` times a service from exec to ready, `pgbench` reads what pgbench printed,
//! `report` makes the table of a whole run, and `scale` tables and plots of many. `run.sh` and `scale.sh`
//! beside this package call them in order.

mod count;
mod events;
mod pgbench;
mod process;
mod report;
mod result;
mod scale;
mod send;
mod start;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Sends signed Stripe events to a webhook endpoint, and measures.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send pre-signed events over keep-alive connections and print what came back.
    Send(send::Arguments),
    /// Print one event's body, as `send` would send it.
    Print(events::PrintArguments),
    /// Wait until a URL answers 200.
    Wait(start::WaitArguments),
    /// Start a service several times: how long from exec to ready, how much memory when idle.
    Start(start::Arguments),
    /// Print how far a Postgres cluster has come: write-ahead log and transactions.
    Place(count::PlaceArguments),
    /// Turn pgbench's output into a result line.
    Pgbench(pgbench::Arguments),
    /// Read result lines and print the table of medians.
    Report(report::Arguments),
    /// Read the result lines of runs between which one thing was varied; print tables, draw plots.
    Scale(scale::Arguments),
}

pub type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    match Arguments::parse().command {
        // One thread: the load shares its cores with the service, and must leave it the most.
        Command::Send(arguments) => local_runtime()?.block_on(send::run(arguments)),
        Command::Print(arguments) => events::print(&arguments),
        Command::Wait(arguments) => start::wait(&arguments),
        Command::Start(arguments) => start::run(&arguments),
        Command::Place(arguments) => local_runtime()?.block_on(count::print_place(arguments)),
        Command::Pgbench(arguments) => local_runtime()?.block_on(pgbench::run(arguments)),
        Command::Report(arguments) => report::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
    }
}

fn local_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
