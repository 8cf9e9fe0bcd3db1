//! All tests that need more than one module, as one binary: it links once.

mod support {
    //! What the tests share.
    pub mod fixtures;
    pub mod histories;
    pub mod memory;
    pub mod stories;
}

mod bad_input;
mod orders;
mod permutations;
mod real_events;
mod rules;
mod signature;
