//! The trials, a module each.

pub mod judge;
pub mod kill;
