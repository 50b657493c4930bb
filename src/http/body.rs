//! Reading a body of unknown honesty into one buffer, within a budget that all bodies share.
//!
//! The first [`SMALL_BODY_BYTES`] of every body are free: the cap on connections bounds them, and
//! an ordinary delivery is no larger, so that nobody can keep it out by filling the budget. What
//! goes beyond is reserved *as it arrives*, not as it is declared: a peer that declares 25 MiB and
//! sends nothing holds nothing. So all bodies together hold at most
//! `connections × SMALL_BODY_BYTES + budget`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a large body may wait for others to be done with their memory.
pub const BUDGET_TIMEOUT: Duration = Duration::from_secs(1);

/// What every body may hold without asking: two or three times a common push payload.
pub const SMALL_BODY_BYTES: usize = 32 * 1024;

/// The budget is counted in units of this size, as a semaphore counts in 32 bits.
const UNIT_BYTES: usize = 1024;

/// Memory that large bodies share.
pub(super) struct Budget {
    units: Arc<Semaphore>,
}

/// What a body holds of the budget; given back on drop.
pub(super) type Reserved = Option<OwnedSemaphorePermit>;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It is longer than allowed.
    TooLarge,
    /// The budget stayed exhausted for [`BUDGET_TIMEOUT`].
    Overloaded,
    /// The peer went away, or did not speak HTTP.
    Broken,
}

/// The length the headers declare; `None` for a chunked body.
pub(super) fn declared_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Budget {
    /// A budget of `bytes` beyond the free part of each body.
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)) }
    }

    /// Reads `body` to its end. A body that arrives in one piece is not copied.
    pub(super) async fn read(
        &self,
        mut body: Body,
        declared: Option<usize>,
        bytes_max: usize,
    ) -> Result<(Bytes, Reserved), ReadError> {
        let mut buffer = Vec::new();
        let mut reserved = None;
        while let Some(data) = next_data(&mut body).await? {
            if buffer.len() + data.len() > bytes_max {
                return Err(ReadError::TooLarge);
            }
            if buffer.is_empty() && body.is_end_stream() {
                return Ok((data, reserved));
            }
            let needed = buffer.len() + data.len();
            if needed > buffer.capacity() {
                let roomy = declared.unwrap_or(bytes_max).min(needed * 2).max(needed);
                let capacity = roomy.max(declared.unwrap_or(0).min(SMALL_BODY_BYTES));
                self.reserve(&mut reserved, capacity).await?;
                buffer.reserve_exact(capacity - buffer.len());
            }
            buffer.extend_from_slice(&data);
        }
        Ok((Bytes::from(buffer), reserved))
    }

    /// Makes `reserved` cover a buffer of `capacity` bytes.
    async fn reserve(&self, reserved: &mut Reserved, capacity: usize) -> Result<(), ReadError> {
        let units = capacity.saturating_sub(SMALL_BODY_BYTES).div_ceil(UNIT_BYTES);
        let held = reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = units.saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| ReadError::TooLarge)?;
        let acquiring = Arc::clone(&self.units).acquire_many_owned(more);
        let Ok(Ok(permit)) = tokio::time::timeout(BUDGET_TIMEOUT, acquiring).await else {
            return Err(ReadError::Overloaded);
        };
        match reserved {
            Some(held) => held.merge(permit),
            None => *reserved = Some(permit),
        }
        Ok(())
    }
}

/// The next piece of a body; trailers are skipped.
async fn next_data(body: &mut Body) -> Result<Option<Bytes>, ReadError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ReadError::Broken)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
