//! Query parameters and JSON bodies, checked as Backstage checks them.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::catalog::javascript;
use crate::http::answer::ApiError;

/// Largest body of a request: Backstage's limit, and far more than any end point needs.
pub const BODY_BYTES_MAX: usize = 100 * 1024;

/// How long a body may take: it fits into a few packets.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters that may stand there several times: what is written like a member of one is an
/// object in the list.
const LISTS: [&str; 6] =
    ["facet", "fields", "filter", "fullTextFilterFields", "order", "orderField"];

/// The decoded query parameters of a request, all of them known and not empty.
#[derive(Debug, Clone)]
pub struct Params(Vec<Param>);

#[derive(Debug, Clone)]
struct Param {
    /// As it was written: `filter[]`.
    written: String,
    /// What is meant: `filter`.
    name: String,
    value: String,
}

impl Params {
    /// Decodes the query of `request`; refuses parameters that are not among `known`, and empty
    /// ones.
    pub fn parse(request: &Request, known: &[&str]) -> Result<Self, ApiError> {
        let query = request.uri().query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        // A value without a name is nobody's.
        let params: Vec<Param> = pairs
            .filter(|(written, _)| !written.is_empty())
            .map(|(written, value)| Param { name: list_name(&written).to_owned(), written, value })
            .collect();
        let params = Self(params);
        for Param { name, written, value } in &params.0 {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::input(format!("Unknown query parameter '{name}'")));
            }
            if LISTS.contains(&name.as_str()) && !is_item(written, name) {
                return Err(ApiError::input(format!("request/query/{name}/0 must be string")));
            }
            // In a list an empty value asks for nothing.
            if value.is_empty() && !params.is_list(name) {
                let message = format!("Empty value found for query parameter '{name}'");
                return Err(ApiError::input(message));
            }
        }
        Ok(params)
    }

    /// Whether it stands there several times or is written as a list.
    fn is_list(&self, name: &str) -> bool {
        let mut same = self.0.iter().filter(|param| param.name == name);
        same.next().is_some_and(|first| first.written != name) || same.next().is_some()
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |param| param.name == name).map(|param| param.value.as_str())
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.values(name).map(str::to_owned).collect()
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|param| param.name == name).map(|param| param.value.as_str())
    }

    /// The value of `name`, which stands there once at most.
    pub fn only(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.is_list(name) {
            false => Ok(self.first(name)),
            true => Err(ApiError::input(format!("request/query/{name} must be string"))),
        }
    }

    /// The parameters without `left_out`, encoded again. `value` stands in the place of the first
    /// value of `name` and of all others, or at the end.
    pub fn with(&self, name: &str, value: &str, left_out: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut is_set = false;
        for param in self.0.iter().filter(|param| param.name != left_out) {
            match param.name == name {
                false => query.append_pair(&param.written, &param.value),
                true if is_set => continue,
                true => query.append_pair(&param.written, value),
            };
            is_set |= param.name == name;
        }
        if !is_set {
            query.append_pair(name, value);
        }
        query.finish()
    }

    /// The value of `name` as a whole number, not negative.
    pub fn number(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let wrong = |what| Err(ApiError::input(format!("request/query/{name} must be {what}")));
        let number = javascript_number(text).filter(|_| !self.is_list(name));
        match number {
            Some(number) if number.fract() != 0.0 => wrong("integer"),
            None => wrong("integer"),
            Some(number) if number < 0.0 => wrong(">= 0"),
            // What is too large to be counted is as good as no limit.
            Some(number) => Ok(Some(number as usize)),
        }
    }
}

/// The name of a parameter that may be written as an item of a list, `filter[]` or `filter[0]`, or
/// as a member of an object, `filter[a]`.
fn list_name(written: &str) -> &str {
    let item = written.strip_suffix(']').and_then(|rest| rest.split_once('['));
    item.map_or(written, |(name, _)| name)
}

/// Whether a parameter is written as its name alone or as an item of a list of it.
fn is_item(written: &str, name: &str) -> bool {
    let item = &written[name.len()..];
    item.bytes().all(|byte| byte.is_ascii_digit() || byte == b'[' || byte == b']')
}

/// The number that a text is in JavaScript, which is what Backstage's front ends may write.
fn javascript_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok().map(|number| number as f64)
    };
    let prefixed = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    prefixed.or_else(|| text.parse().ok().filter(|number: &f64| is_decimal && number.is_finite()))
}

/// The body of a request that has to have one: a JSON object. Anything else than
/// `application/json` is refused, so that no web page can make a browser send it unasked.
pub async fn json_body(request: Request) -> Result<Map<String, Value>, ApiError> {
    Ok(json_body_and_text(request).await?.0)
}

/// The same, and the text of it, which has the members in their order.
pub async fn json_body_and_text(request: Request) -> Result<(Map<String, Value>, Bytes), ApiError> {
    if content_type(request.headers()).is_none() {
        return Err(ApiError::input("unsupported media type undefined"));
    }
    backstage_body(request).await
}

/// The body of a request that need not have one: `None` also for a body that says no type, which
/// nobody reads.
pub async fn optional_body(request: Request) -> Result<Option<Map<String, Value>>, ApiError> {
    if content_type(request.headers()).is_none() {
        return Ok(None);
    }
    Ok(Some(backstage_body(request).await?.0))
}

async fn backstage_body(request: Request) -> Result<(Map<String, Value>, Bytes), ApiError> {
    let too_large = || ApiError::input("request entity too large");
    body_within(request, BODY_BYTES_MAX, too_large).await
}

/// A body in our own API, empty when there is none, with a limit in bytes.
pub async fn json_body_within(
    request: Request,
    bytes_max: usize,
) -> Result<Map<String, Value>, ApiError> {
    let too_large = || ApiError::too_large(format!("the body is over {bytes_max} bytes"));
    Ok(body_within(request, bytes_max, too_large).await?.0)
}

async fn body_within(
    request: Request,
    bytes_max: usize,
    too_large: impl Fn() -> ApiError,
) -> Result<(Map<String, Value>, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let content_type = content_type(&parts.headers).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let bytes = read(body, bytes_max).await?.ok_or_else(too_large)?;
    if bytes.is_empty() {
        return Ok((Map::new(), Bytes::new()));
    }
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::input(format!("unsupported media type {media_type}")));
    }
    check_encoding(&parts.headers)?;
    // Some editors and shells put a byte order mark there.
    let bytes = bytes
        .strip_prefix("\u{feff}".as_bytes())
        .map_or(bytes.clone(), |rest| bytes.slice_ref(rest));
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok((members, bytes)),
        Ok(Value::Array(_)) => Err(ApiError::input("request/body must be object")),
        _ => Err(ApiError::input(javascript::body_error(&String::from_utf8_lossy(&bytes)))),
    }
}

/// The type that a body says it is of; one that is empty says nothing.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let said = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    said.filter(|said| !said.is_empty())
}

/// Refuses bodies that would have to be unpacked or translated first.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::input(format!("unsupported content encoding \"{encoding}\"")));
    }
    let parameters = content_type(headers).unwrap_or_default().split(';').skip(1);
    let charset = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    let mut charset = charset.filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    match charset.next().map(|(_, charset)| charset.trim_matches('"').to_uppercase()) {
        Some(charset) if charset != "UTF-8" => {
            Err(ApiError::input(format!("unsupported charset \"{charset}\"")))
        }
        _ => Ok(()),
    }
}

/// `None` when it is larger.
async fn read(body: Body, bytes_max: usize) -> Result<Option<Bytes>, ApiError> {
    match timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(Some(bytes)),
        Ok(Err(_)) => Ok(None),
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
    text_at(body, name, "")
}

/// The same in a part of the body: `/location`.
pub fn text_at(
    part: &Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<Option<String>, ApiError> {
    match part.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::input(format!("request/body{at}/{name} must be string"))),
    }
}

/// The whole number under `name`, not negative; `None` when there is none.
pub fn number(body: &Map<String, Value>, name: &str) -> Result<Option<usize>, ApiError> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let wrong = |what| Err(ApiError::input(format!("request/body/{name} must be {what}")));
    match value.as_i64() {
        // Beyond what is counted there is nothing either.
        None if value.is_u64() => Ok(Some(usize::MAX)),
        None if value.is_number() => wrong("integer"),
        None => wrong("number"),
        Some(number) => usize::try_from(number).map(Some).or_else(|_| wrong(">= 0")),
    }
}

/// The list of texts under `name`; `None` when there is none.
pub fn text_list(body: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, ApiError> {
    text_list_at(body, name, "")
}

/// The same in a part of the body.
pub fn text_list_at(
    part: &Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<Option<Vec<String>>, ApiError> {
    let Some(value) = part.get(name) else { return Ok(None) };
    let Value::Array(items) = value else {
        return Err(ApiError::input(format!("request/body{at}/{name} must be array")));
    };
    let text = |(index, item): (usize, &Value)| {
        let message = || ApiError::input(format!("request/body{at}/{name}/{index} must be string"));
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
