//! All integration tests, as modules of one binary: it links once.

#![allow(clippy::unwrap_used, reason = "in a test, what cannot be unwrapped is a failure")]

mod api;
mod architecture;
mod catalog;
mod chaos;
mod cli;
mod cli_scan;
mod cli_validate;
mod config;
mod conformance;
mod contract;
mod fuzzed;
mod github;
mod listener;
mod model;
mod receive;
mod receive_bodies;
mod redis;
mod slow_sockets;
mod stories;
mod support;
mod view;
mod webhook_fixtures;
