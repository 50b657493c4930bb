//! The engine for production: queue and store in one Redis, for any number of equal processes.
//!
//! # Parts
//! `checks.rs` whether a server can be trusted, `connection.rs` how one keeps talking to whichever
//! is in charge, `discovery.rs` which one that is.

pub mod checks;
pub mod connection;
mod discovery;
