//! All integration tests, as modules of one binary: it links once.

#![allow(clippy::unwrap_used, reason = "in a test, what cannot be unwrapped is a failure")]

mod architecture;
mod catalog;
mod cli;
mod config;
mod conformance;
mod model;
mod support;
