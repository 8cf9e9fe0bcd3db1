//! The rules, free of I/O, clocks and async: bytes → [`signature`] → [`event`] → [`payment`] →
//! [`summary`] → [`order`].
//!
//! [`working_set`] takes events one by one and knows what became of payments and orders. [`retry`] says
//! when to try again. Nothing here imports from outside this module.

pub mod delta;
pub mod event;
pub mod event_types;
mod explain;
pub mod lenient;
pub mod money;
pub mod order;
pub mod order_ids;
pub mod origin;
pub mod outcome;
pub mod payment;
pub mod policy;
mod reading;
pub mod retry;
pub mod rows;
pub mod signature;
pub mod summary;
pub mod text;
pub mod working_set;
