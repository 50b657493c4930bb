//! How many streams of changes a listener serves, and what ends them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most streams at once: mirrors are few, and each holds a connection and perhaps an old view.
pub const STREAMS_MAX: usize = 64;

/// The streams of one listener.
#[derive(Debug, Clone)]
pub struct Streams {
    free: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A stream's place among them, free again when it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Streams {
    /// Streams that end at `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { free: Arc::new(Semaphore::new(STREAMS_MAX)), stop }
    }

    /// A place for one more, if there is one.
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Place)
    }

    /// What ends them.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}
