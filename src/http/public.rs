//! The public listener's routes: `POST /webhooks/github` and `GET /livez`, nothing else.
//!
//! A delivery is believed only when its signature is right, answered 2xx only when its keys are
//! durable, and nothing on the way talks to GitHub. In order: are webhooks on, is the body small
//! enough (as declared, then as it comes), is the signature right, are the headers there, does the
//! body decode, what does it mean, is it durable. Every step has a bound; what is refused is
//! counted. Neither bodies nor secrets are logged or echoed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::watch;

use super::body::{Budget, ReadError, declared_bytes};
use super::outcome::{Accepted, Outcome, Refusal};
use crate::clock::{SharedClock, Timestamp};
use crate::engine::queue::{Delivery, Push};
use crate::engine::{EngineError, Queue};
use crate::ids::DeliveryId;
use crate::telemetry::Metrics;
use crate::webhook::route::Concern;
use crate::webhook::{Routing, Secrets, decode, payload, route};
use crate::work::PushKey;

/// GitHub's own cap on a payload (it sends no event that is larger): the default body limit.
pub const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

/// Bytes of large bodies held at once, by default: two of the largest and many ordinary ones.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// From a request's headers to the end of its body. GitHub gives up on a delivery after 10 s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long making a delivery durable may take: half of what GitHub waits for the answer.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Larger bodies are verified and decoded on a thread of their own: a millisecond or more of
/// work that would keep other deliveries waiting.
const INLINE_BYTES_MAX: usize = 512 * 1024;

/// Longest `X-GitHub-Event` that is accepted; GitHub's longest has 38 characters.
const EVENT_BYTES_MAX: usize = 100;

/// The bounds of receiving one delivery.
#[derive(Debug, Clone)]
pub struct ReceiveLimits {
    /// Larger bodies get 413.
    pub body_bytes_max: usize,
    /// What all bodies together may hold beyond the first
    /// [`SMALL_BODY_BYTES`](super::body::SMALL_BODY_BYTES) of each.
    pub in_flight_bytes_max: usize,
    /// Slower bodies get 408.
    pub body_timeout: Duration,
    /// Slower queues mean 503.
    pub push_timeout: Duration,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            body_timeout: BODY_TIMEOUT,
            push_timeout: PUSH_TIMEOUT,
        }
    }
}

/// What receiving needs.
pub struct PublicState {
    /// Where keys and deliveries go.
    pub queue: Arc<dyn Queue>,
    /// What deliveries are signed with; none means that webhooks are off.
    pub secrets: Secrets,
    /// What routing knows; whoever holds the sender swaps it while deliveries arrive.
    pub routing: watch::Receiver<Arc<Routing>>,
    /// The time of receipt.
    pub clock: SharedClock,
    /// `metrics.webhooks` counts every outcome.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: ReceiveLimits,
}

/// The public routes. Anything else is 404 or 405 with an empty body.
pub fn router(state: PublicState) -> Router {
    let budget = Budget::new(state.limits.in_flight_bytes_max.max(state.limits.body_bytes_max));
    let receiver = Arc::new(Receiver { state, budget });
    Router::new()
        .route("/webhooks/github", post(webhook))
        .route("/livez", get(|| async { "ok" }))
        .with_state(receiver)
}

struct Receiver {
    state: PublicState,
    budget: Budget,
}

/// A delivery that is believed and understood.
struct Understood {
    delivery: Delivery,
    keys: Vec<PushKey>,
    is_ping: bool,
    /// What it says to those who depend on a repository, and what it was routed by.
    concern: Option<(Concern, Arc<Routing>)>,
}

async fn webhook(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let result = receiver.receive(request).await;
    let outcome = match &result {
        Ok(accepted) => accepted.outcome.as_str(),
        Err(refusal) => refusal.as_str(),
    };
    Metrics::count(&receiver.state.metrics.webhooks, outcome);
    match result {
        Ok(accepted) => accepted.into_response(),
        Err(refusal) => {
            refusal.log();
            refusal.into_response()
        }
    }
}

impl Receiver {
    async fn receive(self: &Arc<Self>, request: Request) -> Result<Accepted, Refusal> {
        let received_at = self.state.clock.now();
        if self.state.secrets.is_empty() {
            return Err(Refusal::Off);
        }
        let (parts, body) = request.into_parts();
        let (body, _reserved) = self.read(&parts.headers, body).await?;
        let understood = if body.len() <= INLINE_BYTES_MAX {
            self.understand(&parts.headers, &body, received_at)?
        } else {
            let receiver = Arc::clone(self);
            let judging = tokio::task::spawn_blocking(move || {
                receiver.understand(&parts.headers, &body, received_at)
            });
            judging.await.map_err(|error| Refusal::Unavailable(error.to_string()))??
        };
        self.keep(understood).await
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, super::body::Reserved), Refusal> {
        let limits = &self.state.limits;
        let declared = declared_bytes(headers);
        if declared.is_some_and(|bytes| bytes > limits.body_bytes_max) {
            return Err(Refusal::TooLarge(limits.body_bytes_max));
        }
        let reading = self.budget.read(body, declared, limits.body_bytes_max);
        match tokio::time::timeout(limits.body_timeout, reading).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(ReadError::TooLarge)) => Err(Refusal::TooLarge(limits.body_bytes_max)),
            Ok(Err(ReadError::Overloaded)) => Err(Refusal::Overloaded),
            Ok(Err(ReadError::Broken)) | Err(_) => Err(Refusal::Incomplete),
        }
    }

    /// Verifies, decodes and routes; the part of receiving that is pure.
    fn understand(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        received_at: Timestamp,
    ) -> Result<Understood, Refusal> {
        let signature = headers.get("x-hub-signature-256").map(|value| value.as_bytes());
        if !self.state.secrets.verify(signature, body) {
            return Err(Refusal::Unauthorized);
        }
        let event = text_header(headers, "x-github-event")
            .filter(|event| (1..=EVENT_BYTES_MAX).contains(&event.len()))
            .ok_or_else(|| Refusal::malformed("header X-GitHub-Event is missing or malformed"))?;
        let id = text_header(headers, "x-github-delivery")
            .and_then(|id| DeliveryId::parse(id).ok())
            .ok_or_else(|| {
                Refusal::malformed("header X-GitHub-Delivery is missing or malformed")
            })?;
        let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
        let routed = payload(content_type, body).and_then(|json| {
            let event = decode(event, &json)?;
            let routing = Arc::clone(&self.state.routing.borrow());
            Ok((route(event, &routing, received_at), routing))
        });
        let (routed, routing) = routed.map_err(|error| Refusal::Malformed(error.to_string()))?;
        if routed.left_out > 0 {
            let (left_out, delivery) = (routed.left_out, &id);
            tracing::warn!(
                delivery.id = %delivery,
                "delivery {delivery} concerns more repositories than one event has read: \
                 {left_out} are left to the next scan"
            );
        }
        let delivery = Delivery {
            id,
            event: event.to_owned(),
            action: routed.action,
            repository: routed.repository,
            received_at,
            ignored: routed.ignored,
        };
        let concern = routed.concern.map(|concern| (concern, routing));
        Ok(Understood { delivery, keys: routed.keys, is_ping: event == "ping", concern })
    }

    /// Makes the delivery and its keys durable; only then is it accepted.
    async fn keep(&self, understood: Understood) -> Result<Accepted, Refusal> {
        let Understood { delivery, keys, is_ping, concern } = understood;
        let (id, received_at) = (delivery.id.clone(), delivery.received_at);
        let reason = delivery.ignored.clone();
        let span = tracing::debug_span!(
            "delivery",
            delivery.id = %id,
            event = %delivery.event,
            repo.full_name = delivery.repository.as_ref().map(|name| name.as_str()),
        );
        let pushing = self.state.queue.push(Push { delivery: Some(delivery), keys });
        let pushed = match tokio::time::timeout(self.state.limits.push_timeout, pushing).await {
            Ok(Ok(pushed)) => pushed,
            Ok(Err(
                EngineError::Unavailable(detail)
                | EngineError::Corrupt(detail)
                | EngineError::TooLarge(detail),
            )) => {
                return Err(Refusal::Unavailable(detail));
            }
            Err(_) => return Err(Refusal::Unavailable("the queue did not answer".to_owned())),
        };
        if let Some((concern, routing)) = concern {
            self.keep_newcomers(&concern, &routing, received_at).await;
        }
        let outcome = if is_ping { Outcome::Pong } else { Outcome::of(&pushed) };
        tracing::debug!(parent: &span, outcome = outcome.as_str(), "delivery {id} received");
        let reason = reason.filter(|_| outcome == Outcome::Ignored);
        Ok(Accepted { delivery: id, outcome, reason })
    }

    /// Whoever came into the index since a delivery was routed, and looked through the ledger
    /// before it was there, does not know of it. If this fails, the next start finds it there.
    async fn keep_newcomers(&self, concern: &Concern, before: &Arc<Routing>, at: Timestamp) {
        let now = Arc::clone(&self.state.routing.borrow());
        if Arc::ptr_eq(before, &now) {
            return;
        }
        let keys = concern.newcomers(before, &now, at);
        if keys.is_empty() {
            return;
        }
        let pushing = self.state.queue.push(Push { delivery: None, keys });
        let pushed = tokio::time::timeout(self.state.limits.push_timeout, pushing).await;
        if !matches!(pushed, Ok(Ok(_))) {
            tracing::warn!("whoever has just come to include a pushed file is not read yet");
        }
    }
}

/// A header of printable ASCII without spaces.
fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then_some(text)
}
