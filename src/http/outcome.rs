//! How a delivery ends: accepted or refused, and what the sender is told.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::engine::queue::{Marked, Pushed};
use crate::ids::DeliveryId;

/// What a sender who is refused for a passing reason is told to wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A delivery that is durable.
pub(super) struct Accepted {
    pub(super) delivery: DeliveryId,
    pub(super) outcome: Outcome,
    /// Why it leads to no work, when it does not.
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Some key waits because of it.
    Queued,
    /// Every key waited already, or is being worked on and will be once more.
    Merged,
    /// It was received before.
    Duplicate,
    /// It leads to no work.
    Ignored,
    /// It was a `ping`.
    Pong,
}

impl Outcome {
    pub(super) fn of(pushed: &Pushed) -> Self {
        match pushed {
            Pushed::Duplicate => Self::Duplicate,
            Pushed::Accepted(marks) if marks.is_empty() => Self::Ignored,
            Pushed::Accepted(marks) if marks.contains(&Marked::Queued) => Self::Queued,
            Pushed::Accepted(_) => Self::Merged,
        }
    }

    /// The word in answers and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Merged => "merged",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Pong => "pong",
        }
    }
}

impl Accepted {
    pub(super) fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Shown<'a> {
            delivery: &'a str,
            outcome: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let status = match self.outcome {
            Outcome::Pong => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        json(
            status,
            &Shown {
                delivery: self.delivery.as_str(),
                outcome: self.outcome.as_str(),
                reason: self.reason.as_deref(),
            },
        )
    }
}

/// A delivery that is not taken; nothing was written.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No secret is configured.
    Off,
    /// The body has more bytes than this.
    TooLarge(usize),
    /// Too much is being received at once.
    Overloaded,
    /// The body did not arrive in full, in time.
    Incomplete,
    /// The signature is missing, malformed or wrong; which one, nobody is told.
    Unauthorized,
    /// Signed, but not what GitHub documents; says where.
    Malformed(String),
    /// It cannot be made durable now; the detail is for the log.
    Unavailable(String),
}

impl Refusal {
    pub(super) fn malformed(what: &str) -> Self {
        Self::Malformed(what.to_owned())
    }

    /// The word in metrics.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::TooLarge(_) => "too-large",
            Self::Overloaded => "overloaded",
            Self::Incomplete => "incomplete",
            Self::Unauthorized => "unauthorized",
            Self::Malformed(_) => "malformed",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// A fault of ours is a warning; what strangers send is not.
    pub(super) fn log(&self) {
        match self {
            Self::Unavailable(detail) => {
                tracing::warn!(detail, "a webhook delivery could not be kept");
            }
            _ => tracing::debug!(outcome = self.as_str(), "a webhook delivery was refused"),
        }
    }

    pub(super) fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Shown<'a> {
            error: &'a str,
        }
        let (status, error) = match &self {
            Self::Off => (
                StatusCode::SERVICE_UNAVAILABLE,
                "webhooks are off: no secret is configured".to_owned(),
            ),
            Self::TooLarge(bytes) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {bytes} bytes"))
            }
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too many large bodies are being received".to_owned(),
            ),
            Self::Incomplete => {
                (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())
            }
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "not signed with a known secret".to_owned())
            }
            Self::Malformed(problem) => (StatusCode::BAD_REQUEST, problem.clone()),
            Self::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the queue cannot be written now".to_owned())
            }
        };
        let mut response = json(status, &Shown { error: &error });
        if matches!(self, Self::Overloaded | Self::Unavailable(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

fn json(status: StatusCode, shown: &impl Serialize) -> Response {
    let body = serde_json::to_vec(shown).expect("texts are always JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
