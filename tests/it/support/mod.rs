//! What several subjects share.

pub mod catalogs;
pub mod internal_api;
pub mod stub_engine;
