//! Shared setup of the tests.
