//! Durable state behind two ports: [`Queue`] (what may have changed) and [`Store`] (what the
//! catalog holds). One engine implements both, so that [`Store::apply`] writes a record and
//! settles its key in one transaction.

pub mod dependency;
pub mod nothing;
pub mod queue;
pub mod record;
pub mod redis;
pub mod sqlite;
pub mod store;
pub mod summary;

use async_trait::async_trait;

pub use queue::{Inspect, Queue};
pub use store::Store;

/// Both ports of one storage.
#[async_trait]
pub trait Engine: Queue + Inspect + Store {
    /// Finishes what was handed over and ends. Calls after it are answered
    /// [`EngineError::Unavailable`].
    async fn close(&self);
}

/// Why an engine could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The storage cannot be reached or written now; nothing was changed. Try again later.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// The storage holds something this version cannot read. Trying again will not help.
    #[error("storage is not readable: {0}")]
    Corrupt(String),
    /// What was handed over is beyond a limit of the port; nothing was changed. Trying again will
    /// not help.
    #[error("storage does not take it: {0}")]
    TooLarge(String),
}
