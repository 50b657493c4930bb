//! GitHub as a sender of webhooks: signs, sets the headers, posts once and never again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;

use crate::content::hex;
use crate::payload::Event;

/// GitHub calls a delivery failed after this long.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How a hook was set up to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`, the JSON in `payload`.
    Form,
}

/// A signed delivery, ready to be posted by any client, again and again.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `X-GitHub-Delivery`; a redelivery carries the same one.
    pub guid: String,
    /// All headers but the length.
    pub headers: Vec<(&'static str, String)>,
    /// The body that was signed.
    pub body: Vec<u8>,
}

/// Sends deliveries. Cloning shares connections and the count of deliveries.
#[derive(Debug)]
pub struct Webhooks {
    client: Client<HttpConnector, Full<Bytes>>,
    sent: AtomicU64,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self::new()
    }
}

impl Webhooks {
    /// A sender whose deliveries are numbered from one.
    pub fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, sent: AtomicU64::new(0) }
    }

    /// A delivery id like GitHub's, never used before by this sender.
    pub fn guid(&self) -> String {
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        format!("72d3162e-cc78-11e3-81ab-{number:012x}")
    }

    /// Signs a new delivery as JSON, posts it, and returns the status and the body.
    ///
    /// Panics when there is no HTTP answer within [`DELIVERY_TIMEOUT`].
    pub async fn deliver(&self, url: &str, secret: &str, event: &Event) -> (u16, String) {
        let delivery = signed(event, secret, &self.guid(), Format::Json);
        self.post(url, &delivery).await.expect("the receiver answers")
    }

    /// Posts a delivery, new or again; the error says why there was no HTTP answer.
    pub async fn post(&self, url: &str, delivery: &Delivery) -> Result<(u16, String), String> {
        let mut request = Request::post(url);
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(Bytes::from(delivery.body.clone()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let answer = async {
            let response = self.client.request(request).await.map_err(|e| e.to_string())?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|e| e.to_string())?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        let answer = tokio::time::timeout(DELIVERY_TIMEOUT, answer).await;
        answer.map_err(|_| "no answer within ten seconds".to_owned())?
    }
}

/// Signs an event as a delivery with this id.
pub fn signed(event: &Event, secret: &str, guid: &str, format: Format) -> Delivery {
    let json = event.body();
    let (content_type, body) = match format {
        Format::Json => ("application/json", json),
        Format::Form => {
            let json = String::from_utf8_lossy(&json).into_owned();
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("payload", &json);
            ("application/x-www-form-urlencoded", form.finish().into_bytes())
        }
    };
    let headers = vec![
        ("accept", "*/*".to_owned()),
        ("content-type", content_type.to_owned()),
        ("user-agent", "GitHub-Hookshot/fa4e000".to_owned()),
        ("x-github-delivery", guid.to_owned()),
        ("x-github-event", event.name.clone()),
        ("x-github-hook-id", "42".to_owned()),
        ("x-github-hook-installation-target-id", "77".to_owned()),
        ("x-github-hook-installation-target-type", "organization".to_owned()),
        ("x-hub-signature-256", signature(secret, &body)),
    ];
    Delivery { guid: guid.to_owned(), headers, body }
}

/// `sha256=` and the HMAC of the body in hexadecimal digits.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation.
    #[test]
    fn signs_as_github_documents_it() {
        assert_eq!(
            signature("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
