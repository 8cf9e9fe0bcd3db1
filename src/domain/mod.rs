//! The rules, free of I/O, clocks and async: bytes → [`signature`] → [`event`] → [`payment`] → [`order`].
//!
//! [`retry`] says when to tell again. [`ledger`] is the table on which the fold happens: it takes events one by one, and knows what
//! became of payments and orders. Nothing here imports from outside this module.

pub mod event;
pub mod ledger;
pub mod lenient;
pub mod money;
pub mod order;
pub mod origin;
pub mod payment;
pub mod retry;
pub mod signature;
pub mod types;
