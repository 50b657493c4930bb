//! The two HTTP listeners: the public one takes webhooks, the internal one serves the rest.

mod age;
pub mod answer;
pub mod auth;
pub mod backstage;
pub mod body;
pub mod catalog_api;
pub mod changes_api;
mod connection;
mod cors;
pub mod cuelight_api;
mod explain_api;
pub mod health;
pub mod internal;
pub mod listener;
pub mod metrics;
mod operate_api;
mod outcome;
pub mod params;
mod paths;
mod preview_api;
mod problems_api;
pub mod public;
mod published_keys;
pub mod state;
pub mod streams;
