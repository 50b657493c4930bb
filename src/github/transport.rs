//! One host's HTTP: where the end points are, time-outs, sizes, redirects.
//!
//! Every answer is read whole, within [`Timeouts::answer`] and a byte limit, before anybody looks
//! at it. A redirect is followed for GET only, a few times, and only to the same scheme and
//! authority: the token goes nowhere else. octocrab carries the requests over a client of ours;
//! its own would follow redirects anywhere and has no limits.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{Method, Request};
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::Url;

use super::budget::Budgets;
use super::limits::refusal;
use super::wire::{Data, Envelope};
use super::{GitHubError, HostSettings, SetupError, Timeouts};
use crate::clock::SharedClock;
use crate::ids::Host;
use crate::telemetry::Metrics;

/// Largest answer that is read. Fifty repositories with a catalog file of GraphQL's largest text
/// (512,000 bytes) each are 25 MB; larger answers are read in halves.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most redirects of one call: a renamed repository of a renamed owner needs two.
const REDIRECTS_MAX: usize = 3;

/// The version of the REST API that we were written against.
const API_VERSION: &str = "2022-11-28";

/// What every request says of itself; GitHub refuses requests that say nothing.
const OUR_USER_AGENT: &str = concat!("cuelight/", env!("CARGO_PKG_VERSION"));

/// The media type of GitHub's JSON.
pub(super) const JSON: &str = "application/vnd.github+json";

/// The media type of a file's bytes.
pub(super) const RAW: &str = "application/vnd.github.raw";

/// Installs aws-lc-rs as the process's one cryptography provider; later calls do nothing.
pub fn install_crypto_provider() {
    // An error only says that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is longer than the limit.
    TooLong,
    /// Everything else.
    Error(GitHubError),
}

impl Broken {
    pub(super) fn into_error(self, host: &Host) -> GitHubError {
        match self {
            Self::TooLong => {
                GitHubError::TooMuch(format!("{host} answered more than {ANSWER_BYTES_MAX} bytes"))
            }
            Self::Error(error) => error,
        }
    }
}

/// The connection to one host.
pub(super) struct Transport {
    pub(super) host: Host,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) budgets: Budgets,
    base: Url,
    graphql: Url,
    client: Octocrab,
    answer_timeout: Duration,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Transport {
    /// Checks the settings and builds the client.
    pub(super) fn new(
        settings: &HostSettings,
        clock: SharedClock,
        metrics: Metrics,
        timeouts: Timeouts,
    ) -> Result<Self, SetupError> {
        let host = settings.host.clone();
        let base = base_url(&host, &settings.api_base_url)?;
        let graphql = graphql_url(&base);
        let client = client(&host, &base, timeouts.connect)?;
        let answer_timeout = timeouts.answer;
        let budgets = Budgets::default();
        Ok(Self { host, clock, metrics, budgets, base, graphql, client, answer_timeout })
    }

    /// Posts a GraphQL body; every status is the caller's to judge.
    pub(super) async fn graphql(
        &self,
        authorization: &HeaderValue,
        body: String,
    ) -> Result<Answer, Broken> {
        let url = &self.graphql;
        self.whole(Method::POST, authorization, url, JSON, body, ANSWER_BYTES_MAX).await
    }

    /// What it means that GraphQL is not where it should be.
    pub(super) fn no_graphql(&self) -> GitHubError {
        GitHubError::Unauthorized(format!(
            "{} has no GraphQL at {}: check `apiBaseUrl`",
            self.host, self.graphql
        ))
    }

    /// Posts nothing to segments below the base; every status is the caller's to judge.
    pub(super) async fn post(
        &self,
        authorization: &HeaderValue,
        segments: &[&str],
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let url = self.below_base(segments);
        self.whole(Method::POST, authorization, &url, JSON, String::new(), bytes_max).await
    }

    /// Gets segments below the base; statuses that are no success are the caller's to judge,
    /// [`refusal`](Self::refusal) helps.
    pub(super) async fn get(
        &self,
        authorization: &HeaderValue,
        segments: &[&str],
        query: Option<&str>,
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let mut url = self.below_base(segments);
        url.set_query(query);
        for _ in 0..=REDIRECTS_MAX {
            let empty = String::new();
            let asked = self.whole(Method::GET, authorization, &url, accept, empty, bytes_max);
            let answer = asked.await?;
            if !matches!(answer.status, 301 | 302 | 307 | 308) {
                return Ok(answer);
            }
            url = self.redirected(&url, &answer).map_err(Broken::Error)?;
        }
        Err(self.broken(&format!("redirected more than {REDIRECTS_MAX} times")))
    }

    /// What a status that is no success means.
    pub(super) fn refusal(&self, answer: &Answer) -> GitHubError {
        let now = self.clock.now();
        refusal(&self.host, answer.status, &answer.headers, &answer.body, now)
    }

    /// Decodes a GraphQL answer and counts its points.
    pub(super) fn decoded<'a>(&self, body: &'a [u8]) -> Result<Envelope<Data<'a>>, GitHubError> {
        let cost = |data: &Data<'a>| data.rate_limit.as_ref().map_or(0, |limit| limit.cost);
        self.decoded_as(body, cost)
    }

    /// The same for data of another shape, which says itself what it `cost`.
    pub(super) fn decoded_as<'a, T: Deserialize<'a>>(
        &self,
        body: &'a [u8],
        cost: impl FnOnce(&T) -> u64,
    ) -> Result<Envelope<T>, GitHubError> {
        let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|error| {
            tracing::debug!(host = %self.host, error = %error, "undecodable answer from GitHub");
            let what = "answered something that is not its API's";
            GitHubError::Transient(format!("{} {what}", self.host))
        })?;
        self.metrics.github_points.inc_by(envelope.data.as_ref().map_or(0, cost));
        Ok(envelope)
    }

    /// Counts the outcome of a call, once its answer was judged, and hands it on.
    pub(super) fn counted<T>(&self, outcome: Result<T, GitHubError>) -> Result<T, GitHubError> {
        let name = match &outcome {
            Ok(_) | Err(GitHubError::NoSuchOwner(_)) => "ok",
            Err(GitHubError::Limited { .. }) => "limited",
            Err(GitHubError::Transient(_) | GitHubError::TooMuch(_) | GitHubError::Away(_)) => {
                "transient"
            }
            Err(GitHubError::Unauthorized(_) | GitHubError::Refused(_)) => "unauthorized",
        };
        Metrics::count(&self.metrics.github_calls, name);
        outcome
    }

    fn below_base(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn redirected(&self, from: &Url, answer: &Answer) -> Result<Url, GitHubError> {
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        let to = to.filter(|to| to.origin() == self.base.origin());
        to.ok_or_else(|| {
            GitHubError::Transient(format!(
                "{} redirected away from {}, where the token must not go",
                self.host,
                self.base.origin().ascii_serialization()
            ))
        })
    }

    async fn whole(
        &self,
        method: Method,
        authorization: &HeaderValue,
        url: &Url,
        accept: &'static str,
        body: String,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let answer = self.exchange(method, authorization, url, accept, body, bytes_max);
        match tokio::time::timeout(self.answer_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let after = self.answer_timeout;
                let what = format!("{} gave no whole answer within {after:?}", self.host);
                Err(Broken::Error(GitHubError::TooMuch(what)))
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        authorization: &HeaderValue,
        url: &Url,
        accept: &'static str,
        body: String,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(AUTHORIZATION, authorization.clone())
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, OUR_USER_AGENT)
            .header("x-github-api-version", API_VERSION)
            .body(OctoBody::from(body))
            .map_err(|_| self.broken("cannot be asked: the address is not valid"))?;
        let response = self.client.send(request).await.map_err(|error| {
            tracing::debug!(host = %self.host, error = ?error, "no answer from GitHub");
            let cause = root_cause(&error);
            self.broken(&format!("could not be reached, or did not answer ({cause})"))
        })?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Broken::TooLong),
            Err(_) => return Err(self.broken("broke off in the middle of its answer")),
        };
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn broken(&self, what: &str) -> Broken {
        Broken::Error(GitHubError::Transient(format!("{} {what}", self.host)))
    }
}

fn base_url(host: &Host, text: &str) -> Result<Url, SetupError> {
    let wrong =
        |reason: &str| SetupError::ApiBaseUrl { host: host.clone(), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must end with its path"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(wrong("plain http is for loopback addresses only, the token would be read")),
        _ => Err(wrong("it must start with https://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `…/api/v3` (GitHub Enterprise Server) → `…/api/graphql`, anything else → `…/graphql`.
fn graphql_url(base: &Url) -> Url {
    let path = base.path().trim_end_matches('/');
    let path = match path.strip_suffix("/api/v3") {
        Some(above) => format!("{above}/api/graphql"),
        None => format!("{path}/graphql"),
    };
    let mut url = base.clone();
    url.set_path(&path);
    url
}

fn client(host: &Host, base: &Url, connect_timeout: Duration) -> Result<Octocrab, SetupError> {
    let wrong = |reason: String| SetupError::Tls { host: host.clone(), reason };
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let plain = base.scheme() == "http";
    let tls = if plain {
        tls.with_root_certificates(RootCertStore::empty())
    } else {
        tls.with_native_roots().map_err(|error| wrong(error.to_string()))?
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(connect_timeout));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
    let https = if plain { https.https_or_http() } else { https.https_only() };
    let connector = https.enable_http1().wrap_connector(http);
    let service = Client::builder(TokioExecutor::new()).build::<_, OctoBody>(connector);
    let built =
        OctocrabBuilder::new_empty().with_service(service).with_auth(AuthState::None).build();
    Ok(built.unwrap_or_else(|never| match never {}))
}

/// The innermost reason: a name that is not found, a connection refused, a certificate.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graphql_address_follows_from_the_base() {
        let check = |base: &str, expected: &str| {
            let base = base_url(&Host::github_com(), base).expect("a good base");
            assert_eq!(graphql_url(&base).as_str(), expected);
        };
        check("https://api.github.com", "https://api.github.com/graphql");
        check("https://api.github.com/", "https://api.github.com/graphql");
        check("https://ghe.acme.com/api/v3", "https://ghe.acme.com/api/graphql");
        check("https://ghe.acme.com/api/v3/", "https://ghe.acme.com/api/graphql");
        check("https://proxy.acme.com/gh/api/v3", "https://proxy.acme.com/gh/api/graphql");
        check("https://proxy.acme.com/github", "https://proxy.acme.com/github/graphql");
        check("http://127.0.0.1:3000", "http://127.0.0.1:3000/graphql");
    }

    #[test]
    fn plain_http_and_odd_addresses_are_refused() {
        let check = |base: &str, good: bool| {
            assert_eq!(base_url(&Host::github_com(), base).is_ok(), good, "{base}");
        };
        check("http://localhost:3000", true);
        check("http://[::1]:3000", true);
        check("http://127.9.9.9", true);
        check("http://api.github.com", false);
        check("http://127.0.0.1.evil.com", false);
        check("http://10.0.0.1", false);
        check("https://user:password@api.github.com", false);
        check("https://api.github.com?x=1", false);
        check("ftp://api.github.com", false);
        check("api.github.com", false);
    }

    #[test]
    fn installing_the_crypto_provider_twice_is_fine() {
        install_crypto_provider();
        install_crypto_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
