//! The engine for production: queue and store in one Redis, for any number of equal processes.
//!
//! # Parts
//! `checks.rs` whether it can be trusted, `connection.rs` how one keeps talking to whichever server is in charge, `discovery.rs` which
//! server that is.

pub mod checks;
pub mod connection;
mod discovery;
