//! All tests that need more than one module, as one binary: it links once.
