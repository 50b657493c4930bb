//! `GET /api/cuelight/v1/changes`: the catalog as a stream of events, for whoever mirrors it.
//!
//! # The stream
//! Server-sent events, in batches. `changes` opens one, then come `upsert` (a whole entity) and
//! `delete` (a ref), and `sync` closes it: the mirror is now equal to the catalog as it was at that
//! moment. A mirror that holds nothing, or nothing we know, gets one that `snapshot` opens: it is
//! the whole catalog, and at its `sync` goes what it did not name.
//!
//! The first and the last event of a batch have an id. That of the last names the content that the
//! mirror now has; that of the first names none, because what is in the middle of a batch has no
//! name: who comes back with it gets a snapshot.
//!
//! # Promises
//! - An id names content ([`Digest`]), so that one from another life of the storage, from before a
//!   restored copy or from another replica is either of the same content or not known.
//! - A consumer that lags is sent the newest state of what changed, each entity once, however often
//!   it did. Per stream nothing is kept but one view and one list of refs; one that lags behind
//!   what a view remembers gets a snapshot.
//! - At most [`STREAMS_MAX`] streams; none outlives the stop of the listener or [`STREAM_LIFE`].

use std::collections::{BTreeSet, btree_set};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::View;
use crate::catalog::history::Digest;
use crate::catalog::view::ViewEntity;
use crate::clock::{SharedClock, Timestamp};
use crate::http::answer::ApiError;
use crate::http::params::Params;
use crate::http::state::{Shared, route};
use crate::http::streams::{Place, STREAMS_MAX};

/// How long a stream lasts. A consumer that comes back with its id goes on where it was, and
/// whoever is no longer let in does not.
pub const STREAM_LIFE: Duration = Duration::from_secs(3600);

/// Silence after which a comment is sent: proxies cut a connection that is silent for a minute.
pub const PING_EVERY: Duration = Duration::from_secs(15);

/// How long consumers wait before they connect again, in milliseconds: they are told so, because
/// what they have by themselves differs.
const RETRY_MILLIS: u64 = 2_000;

/// What a consumer that found all streams taken is told to wait, in seconds.
const BUSY_SECONDS: u16 = 30;

/// Bytes after which a batch passes on what it has: as in other long answers.
const CHUNK_BYTES: usize = 64 * 1024;

/// The end of an id inside a batch.
const OPEN: &str = "open";

/// Tells nginx and its like to pass on each event as it comes.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The route, to be mounted at `/api/cuelight/v1`.
pub(super) fn routes() -> Router<Shared> {
    route(Router::new(), "/changes", get(changes))
}

async fn changes(State(state): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let params = Params::parse(&request, &["after"])?;
    state.complete_view()?;
    let Some(place) = state.streams.place() else {
        return Ok(busy());
    };
    let now = state.clock.now();
    let stream = Stream {
        held: held(request.headers(), &params),
        batch: None,
        is_new: true,
        view: state.view.clone(),
        clock: state.clock.clone(),
        opened_at: now,
        sent_at: now,
        stop: state.streams.stop(),
        _place: place,
    };
    let events = unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn busy() -> Response {
    let message = format!("{STREAMS_MAX} consumers follow the changes, no more are served");
    let mut response = ApiError::unavailable(message).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(BUSY_SECONDS));
    response
}

/// What a consumer holds, by the id of the last `sync` that it saw: a browser repeats its first
/// address with the newer id in a header.
fn held(headers: &HeaderMap, params: &Params) -> Held {
    let header = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
    let id = match header {
        Some(id) => id.to_str().unwrap_or("?"),
        None => match params.first("after") {
            Some(id) => id,
            None => return Held::Nothing,
        },
    };
    // The number is for people; what counts is the content.
    let Some((_, content)) = id.split_once('-') else { return Held::Unknown };
    match Digest::parse(content) {
        Some(digest) => Held::State(digest),
        None if content == OPEN => Held::Part,
        None => Held::Unknown,
    }
}

/// What a consumer holds.
#[derive(Debug, Clone, Copy)]
enum Held {
    Nothing,
    /// Some events of a batch that was cut off.
    Part,
    /// Something that no id of ours names.
    Unknown,
    State(Digest),
}

/// One consumer.
struct Stream {
    held: Held,
    /// What is being sent.
    batch: Option<Batch>,
    /// Whether nothing was sent yet.
    is_new: bool,
    view: watch::Receiver<Arc<View>>,
    clock: SharedClock,
    opened_at: Timestamp,
    /// When something was sent last.
    sent_at: Timestamp,
    stop: CancellationToken,
    _place: Place,
}

impl Stream {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let now = self.clock.now();
            if self.stop.is_cancelled() || now.since(self.opened_at) >= STREAM_LIFE {
                return None;
            }
            let silence = now.since(self.sent_at);
            let ping = || (silence >= PING_EVERY).then(|| Bytes::from_static(b": ping\n\n"));
            if let Some(bytes) = self.write().or_else(ping) {
                self.sent_at = now;
                return Some(bytes);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                changed = self.view.changed() => changed.ok()?,
                () = self.clock.sleep(PING_EVERY.saturating_sub(silence)) => {}
            }
        }
    }

    /// A piece of the batch under way, or of a new one; `None` when there is nothing to tell.
    fn write(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        if self.batch.is_none() {
            let view = Arc::clone(&self.view.borrow_and_update());
            self.batch = Some(Batch::new(view, self.held, self.is_new, &mut chunk)?);
        }
        let batch = self.batch.as_mut()?;
        if batch.write(&mut chunk) {
            self.held = Held::State(batch.view.digest());
            self.batch = None;
        }
        self.is_new = false;
        Some(chunk.into())
    }
}

/// Events that lead to one state of the catalog, the `sync` at the end included.
struct Batch {
    view: Arc<View>,
    rest: Rest,
}

enum Rest {
    /// All entities after this ref.
    All(Arc<str>),
    /// These.
    Some(btree_set::IntoIter<Arc<str>>),
}

impl Batch {
    /// What leads from what a consumer holds to `view`; the opening of it is appended to `out`.
    /// `None` when it leads nowhere, unless the consumer is new and wants to know.
    fn new(view: Arc<View>, held: Held, is_new: bool, out: &mut Vec<u8>) -> Option<Self> {
        let changed = match held {
            Held::State(digest) => view.changed_since(digest),
            Held::Nothing | Held::Part | Held::Unknown => None,
        };
        let has_all = changed.as_ref().is_some_and(BTreeSet::is_empty);
        if is_new {
            out.extend_from_slice(format!("retry: {RETRY_MILLIS}\n\n").as_bytes());
        } else if has_all {
            return None;
        }
        let reason = match held {
            Held::Nothing => "new",
            Held::Part => "interrupted",
            Held::State(_) if !is_new => "lagged",
            Held::Unknown | Held::State(_) => "unknown",
        };
        let id = format!("{}-{OPEN}", view.seq());
        let mut data = counts(&view);
        let rest = match changed {
            Some(refs) => {
                if !has_all {
                    event("changes", Some(&id), &data, out);
                }
                Rest::Some(refs.into_iter())
            }
            None => {
                data["reason"] = reason.into();
                event("snapshot", Some(&id), &data, out);
                Rest::All(Arc::from(""))
            }
        };
        Some(Self { view, rest })
    }

    /// Appends events until the chunk is full (false) or all are written (true).
    fn write(&mut self, chunk: &mut Vec<u8>) -> bool {
        let view = &*self.view;
        match &mut self.rest {
            Rest::All(last) => {
                let mut sent = None;
                for entity in view.entities_after(last) {
                    if chunk.len() >= CHUNK_BYTES {
                        *last = sent.map_or_else(|| Arc::clone(last), Arc::from);
                        return false;
                    }
                    upsert(view, entity, chunk);
                    sent = Some(entity.entity_ref());
                }
            }
            Rest::Some(refs) => {
                for entity_ref in refs.by_ref() {
                    match view.entity(&entity_ref) {
                        Some(entity) => upsert(view, entity, chunk),
                        None => delete(&entity_ref, chunk),
                    }
                    if chunk.len() >= CHUNK_BYTES {
                        return false;
                    }
                }
            }
        }
        let id = format!("{}-{}", view.seq(), view.digest());
        event("sync", Some(&id), &counts(view), chunk);
        true
    }
}

fn upsert(view: &View, entity: &ViewEntity, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: upsert\ndata: ");
    view.write_json(entity, out);
    out.extend_from_slice(b"\n\n");
}

fn delete(entity_ref: &str, out: &mut Vec<u8>) {
    event("delete", None, &json!({ "entityRef": entity_ref }), out);
}

fn counts(view: &View) -> Value {
    json!({ "seq": view.seq(), "entities": view.counts().entities })
}

fn event(name: &str, id: Option<&str>, data: &Value, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}
