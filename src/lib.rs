//! cuelight keeps a Backstage-style software catalog true to GitHub.
//!
//! A webhook is a hint, a worker reads the truth: see `docs/architecture.md`.

pub mod accounts;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dependents;
pub mod engine;
pub mod freshness;
pub mod github;
pub mod health;
pub mod heartbeat;
pub mod http;
pub mod ids;
pub mod installations;
pub mod membership;
pub mod operate;
pub mod reconcile;
pub mod repository;
pub mod scan;
pub mod schedule;
pub mod telemetry;
pub mod view_feed;
pub mod webhook;
pub mod work;
pub mod worker;
