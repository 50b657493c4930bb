//! Query parameters and JSON bodies, checked as Backstage checks them.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::http::answer::ApiError;

/// Largest body of a request: Backstage's limit, and far more than any end point needs.
const BODY_BYTES_MAX: usize = 100 * 1024;

/// How long a body may take: it fits into a few packets.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The decoded query parameters of a request, all of them known and not empty.
#[derive(Debug, Clone)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes the query of `request`; refuses parameters that are not among `known`, and empty
    /// ones.
    pub fn parse(request: &Request, known: &[&str]) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or_default();
        let params: Vec<(String, String)> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (name, value) in &params {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::input(format!("Unknown query parameter '{name}'")));
            }
            if value.is_empty() {
                let message = format!("Empty value found for query parameter '{name}'");
                return Err(ApiError::input(message));
            }
        }
        Ok(Self(params))
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The parameters other than `left_out`, then `name=value`, encoded again.
    pub fn with(&self, left_out: &[&str], name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept);
        query.append_pair(name, value);
        query.finish()
    }

    /// The value of `name` as a whole number, not negative.
    pub fn number(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let wrong = |what| Err(ApiError::input(format!("request/query/{name} must be {what}")));
        match text.parse::<i64>() {
            Err(_) => wrong("integer"),
            Ok(number) => usize::try_from(number).map(Some).or_else(|_| wrong(">= 0")),
        }
    }
}

/// The body of a request: a JSON object, empty when there is no body. Anything else than
/// `application/json` is refused, so that no web page can make a browser send it unasked.
pub async fn json_body(request: Request) -> Result<Map<String, Value>, ApiError> {
    json_body_within(request, BODY_BYTES_MAX).await
}

/// The same with another limit in bytes.
pub async fn json_body_within(
    request: Request,
    bytes_max: usize,
) -> Result<Map<String, Value>, ApiError> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let bytes = read(body, bytes_max).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::input(format!("unsupported media type {media_type}")));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(ApiError::input("request/body must be object")),
        Err(error) => Err(ApiError::input(format!("the body is not JSON: {error}"))),
    }
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(ApiError::too_large(format!("the body is over {bytes_max} bytes"))),
        Err(_) => {
            let seconds = BODY_TIMEOUT.as_secs();
            Err(ApiError::too_slow(format!("the body did not arrive within {seconds} s")))
        }
    }
}

/// The text under `name`, the only member of `body` besides those `tolerated`.
pub fn only_text(
    body: &Map<String, Value>,
    name: &str,
    tolerated: &[&str],
) -> Result<String, ApiError> {
    let value = body.get(name).ok_or_else(|| {
        ApiError::input(format!("request/body must have required property '{name}'"))
    })?;
    let text = value
        .as_str()
        .ok_or_else(|| ApiError::input(format!("request/body/{name} must be string")))?;
    if body.keys().any(|key| key != name && !tolerated.contains(&key.as_str())) {
        return Err(ApiError::input("request/body must NOT have additional properties"));
    }
    Ok(text.to_owned())
}

/// The text under `name`; `None` when there is none.
pub fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::input(format!("request/body/{name} must be string"))),
    }
}

/// The whole number under `name`, not negative; `None` when there is none.
pub fn number(body: &Map<String, Value>, name: &str) -> Result<Option<usize>, ApiError> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let wrong = |what| Err(ApiError::input(format!("request/body/{name} must be {what}")));
    match value.as_i64() {
        // Beyond what is counted there is nothing either.
        None if value.is_u64() => Ok(Some(usize::MAX)),
        None => wrong("integer"),
        Some(number) => usize::try_from(number).map(Some).or_else(|_| wrong(">= 0")),
    }
}

/// The list of texts under `name`; `None` when there is none.
pub fn text_list(body: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, ApiError> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let Value::Array(items) = value else {
        return Err(ApiError::input(format!("request/body/{name} must be array")));
    };
    let text = |(index, item): (usize, &Value)| {
        let message = || ApiError::input(format!("request/body/{name}/{index} must be string"));
        item.as_str().map(str::to_owned).ok_or_else(message)
    };
    items.iter().enumerate().map(text).collect::<Result<_, _>>().map(Some)
}

/// The same, where there has to be one.
pub fn required_texts(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, ApiError> {
    text_list(body, name)?.ok_or_else(|| {
        ApiError::input(format!("request/body must have required property '{name}'"))
    })
}
