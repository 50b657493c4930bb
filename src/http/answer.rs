//! Answers of the internal listener: JSON, Backstage's error body, lists, streamed entities.
//!
//! A handler returns an [`ApiError`]; [`render_errors`] turns it into a body, because only it
//! knows the request that the body repeats.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;

use crate::catalog::View;
use crate::catalog::query::{Fields, QueryError};
use crate::catalog::view::ViewEntity;
use crate::engine::EngineError;

/// The content type of all our JSON.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Bytes after which a streamed answer passes on what it has: small beside a catalog, large beside
/// an entity.
const CHUNK_BYTES: usize = 64 * 1024;

/// A refusal in Backstage's form.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    name: &'static str,
    message: String,
}

impl ApiError {
    const fn new(status: StatusCode, name: &'static str, message: String) -> Self {
        Self { status, name, message }
    }

    /// 400: the request is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InputError", message.into())
    }

    /// 401: who asks is not known.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationError", message.into())
    }

    /// 403: it may not be done.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "NotAllowedError", message.into())
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", message.into())
    }

    /// 408: the body took too long.
    pub fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutError", message.into())
    }

    /// 409: it is no longer as whoever asks believes.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ConflictError", message.into())
    }

    /// 413: the body is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeError", message.into())
    }

    /// 500: we failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Error", message.into())
    }

    /// 501: cuelight cannot do this (yet).
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplementedError", message.into())
    }

    /// 503: something we need is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", message.into())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::input(error.to_string())
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        tracing::warn!(%error, "the storage did not answer a reader: {error}");
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorPart<'a>,
    request: RequestPart<'a>,
    response: ResponsePart,
}

#[derive(Serialize)]
struct ErrorPart<'a> {
    name: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    method: &'a str,
    url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponsePart {
    status_code: u16,
}

/// Gives every [`ApiError`] its body. The url in it is as the router below sees it, so relative
/// to where that router is mounted.
pub async fn render_errors(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let url = request.uri().clone();
    let response = next.run(request).await;
    let Some(error) = response.extensions().get::<ApiError>() else { return response };
    let url = url.path_and_query().map_or("/", |url| url.as_str());
    let body = ErrorBody {
        error: ErrorPart { name: error.name, message: &error.message },
        request: RequestPart { method: method.as_str(), url },
        response: ResponsePart { status_code: error.status.as_u16() },
    };
    let mut rendered = json(error.status, &body);
    if let Some(pause) = response.headers().get(RETRY_AFTER) {
        rendered.headers_mut().insert(RETRY_AFTER, pause.clone());
    }
    rendered
}

/// A JSON answer.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => (status, [(CONTENT_TYPE, JSON)], text).into_response(),
        Err(error) => ApiError::internal(format!("the answer is no JSON: {error}")).into_response(),
    }
}

/// A JSON answer that is text already.
pub fn json_text(text: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

/// A JSON answer with a tag that follows from its text, so that whoever has it already need not
/// get it again.
pub fn tagged(text: Vec<u8>) -> Response {
    // The hasher's keys are fixed: all replicas give the same text the same tag.
    let mut hasher = DefaultHasher::new();
    hasher.write(&text);
    let tag = format!("W/\"{:x}-{:016x}\"", text.len(), hasher.finish());
    tagged_text(text, &tag)
}

/// A JSON answer with this tag.
pub fn tagged_text(text: Vec<u8>, tag: &str) -> Response {
    with_tag(json_text(text), tag)
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Answers 304 in place of what the client has already, by its `If-None-Match`.
pub async fn answer_not_modified(request: Request, next: Next) -> Response {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let held: Vec<HeaderValue> =
        request.headers().get_all(IF_NONE_MATCH).iter().filter(|_| is_read).cloned().collect();
    let response = next.run(request).await;
    let tag = response.headers().get(ETAG).filter(|_| response.status() == StatusCode::OK);
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else { return response };
    let held = held.iter().filter_map(|held| held.to_str().ok());
    let mut held = held.flat_map(|list| list.split(',')).map(str::trim);
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    if !held.any(|held| held == "*" || opaque(held) == opaque(tag)) {
        return response;
    }
    with_tag(StatusCode::NOT_MODIFIED.into_response(), tag)
}

/// A page of a longer list, as all lists of our own API are answered.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The page.
    pub items: Vec<T>,
    /// How long the list is.
    pub total: u64,
    /// The offset of the next page; null on the last one.
    pub next: Option<u64>,
}

impl<T> Page<T> {
    /// The page of `items` that starts at `offset` of `total`.
    pub fn new(items: Vec<T>, offset: usize, total: u64) -> Self {
        let end = (offset + items.len()) as u64;
        Self { next: (!items.is_empty() && end < total).then_some(end), items, total }
    }
}

/// Entities on their way out, between two pieces of JSON.
pub struct EntityList {
    /// The view they belong to.
    pub view: Arc<View>,
    /// The entities.
    pub entities: vec::IntoIter<Arc<ViewEntity>>,
    /// The parts of each that are wanted.
    pub fields: Option<Fields>,
    /// What comes before the first.
    pub opening: &'static str,
    /// What comes after the last.
    pub closing: String,
}

impl EntityList {
    /// The answer: whole when it is small, else piece by piece, so that a large catalog is never
    /// in memory twice.
    pub fn into_response(mut self) -> Response {
        let mut first = self.opening.as_bytes().to_vec();
        if self.write_chunk(&mut first) {
            return tagged(first);
        }
        // Too large to be read before it is sent: it is the same while nothing at all changes.
        let tag = format!("W/\"view-{:016x}\"", self.view.stamp());
        let body = EntityBody { list: self, first: Some(first), is_done: false };
        with_tag(([(CONTENT_TYPE, JSON)], Body::new(body)).into_response(), &tag)
    }

    /// Appends entities until the chunk is full (false) or all is written (true).
    fn write_chunk(&mut self, chunk: &mut Vec<u8>) -> bool {
        while chunk.len() < CHUNK_BYTES {
            let Some(entity) = self.entities.next() else {
                chunk.extend_from_slice(self.closing.as_bytes());
                return true;
            };
            match &self.fields {
                None => self.view.write_json(&entity, chunk),
                Some(fields) => {
                    let projected = fields.project(&self.view.json(&entity));
                    chunk.extend_from_slice(projected.to_string().as_bytes());
                }
            }
            if !self.entities.as_slice().is_empty() {
                chunk.push(b',');
            }
        }
        false
    }
}

struct EntityBody {
    list: EntityList,
    first: Option<Vec<u8>>,
    is_done: bool,
}

impl HttpBody for EntityBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if body.is_done {
            return Poll::Ready(None);
        }
        let chunk = body.first.take().unwrap_or_else(|| {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
            body.is_done = body.list.write_chunk(&mut chunk);
            chunk
        });
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }
}
