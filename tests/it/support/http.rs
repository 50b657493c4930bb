//! A small HTTP client for tests.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// GET; panics when there is no answer.
pub async fn get(url: &str) -> (u16, String) {
    try_get(url).await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// GET; the error says why there was no answer.
pub async fn try_get(url: &str) -> Result<(u16, String), String> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(url).body(Full::default()).map_err(|e| e.to_string())?;
    let response = client.request(request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// A header of the answer to a GET.
pub async fn header(url: &str, name: &str) -> Option<String> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(url).body(Full::default()).expect("a request");
    let response = client.request(request).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    response.headers().get(name).map(|value| value.to_str().expect("a text").to_owned())
}

/// GET of JSON.
pub async fn get_json(url: &str) -> (u16, Value) {
    let (status, body) = get(url).await;
    let json = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{url}: {e}: {body}"));
    (status, json)
}

/// POST of JSON, answered with JSON, or with nothing, which is `null` here.
pub async fn post_json(url: &str, body: &Value) -> (u16, Value) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(url).header("content-type", "application/json");
    let request = request.body(Full::from(body.to_string())).expect("a request");
    let response = client.request(request).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    if body.is_empty() {
        return (status, Value::Null);
    }
    let json = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{url}: {e}: {body:?}"));
    (status, json)
}
