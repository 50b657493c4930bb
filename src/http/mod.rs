//! The two HTTP listeners: the public one takes webhooks, the internal one serves the rest.

mod connection;
pub mod listener;
