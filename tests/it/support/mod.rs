//! What the tests share.

pub mod http_client;
pub mod receiver;
pub mod recording_queue;
