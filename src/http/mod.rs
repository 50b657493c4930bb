//! The two HTTP listeners: the public one takes webhooks, the internal one serves the rest.

pub mod body;
mod connection;
pub mod listener;
mod outcome;
pub mod public;
