//! All tests that need more than one module, as one binary: it links once.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod support {
    //! What the tests share.
    pub mod api;
    pub mod chromium;
    pub mod databases;
    pub mod dice;
    pub mod fixtures;
    pub mod folder;
    pub mod histories;
    pub mod memory;
    pub mod notifier;
    pub mod peers;
    pub mod receiver;
    pub mod service;
    pub mod stories;
    pub mod stripe;
    pub mod weighing;
}

mod api;
mod api_lists;
mod api_stream;
mod backfill;
mod bad_input;
mod browser;
mod cli;
mod console;
mod console_hostile;
mod crash;
mod credentials;
mod documents;
mod event_types;
mod health;
mod histories;
mod hostile_http;
mod http_server;
mod imports;
mod ingest;
mod large_bodies;
mod locks;
mod migrations;
mod money;
mod notify;
mod notify_cli;
mod notify_mail;
mod notify_people;
mod notify_processes;
mod notify_settings;
mod orders;
mod outbox;
mod permutations;
mod reads;
mod real_events;
mod recipe;
mod recovery;
mod refusals;
mod refusing;
mod roles;
mod rounds;
mod rules;
mod secrets;
mod signature;
mod slow;
mod store;
mod stories;
mod subscriptions;
mod trigger;
mod webhook;
mod weighing;
mod weighing_rare;
