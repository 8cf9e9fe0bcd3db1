//! The trials, a module each.

pub mod clients;
pub mod clock;
pub mod failover;
pub mod forged;
mod forged_sdk;
pub mod full;
pub mod hangup;
pub mod judge;
pub mod kill;
pub mod partition;
pub mod poison;
pub mod pooler;
pub mod postgres;
pub mod same;
pub mod several;
pub mod slow;
pub mod soak;
pub mod stop;
