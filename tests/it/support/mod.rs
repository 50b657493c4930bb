//! What the tests share.

pub mod apps;
pub mod breaking;
pub mod catalogs;
pub mod clock;
pub mod faulty_store;
pub mod http;
pub mod http_client;
pub mod internal_api;
pub mod on_redis;
pub mod process;
pub mod receiver;
pub mod recording_queue;
pub mod redis;
pub mod sse;
pub mod stage;
pub mod stub_engine;
pub mod tenants;
