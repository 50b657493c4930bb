//! What cuelight answers over HTTP.

pub mod answer;
pub mod auth;
pub mod catalog_api;
pub mod cuelight_api;
pub mod health;
pub mod internal;
pub mod metrics;
pub mod params;
pub mod state;
