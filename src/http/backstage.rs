//! Tokens of a Backstage: what its plugins and users present, checked with the keys it publishes.
//!
//! A token says who signed it: a plugin (`<backend>/api/<plugin>/.backstage/auth/v1/jwks.json`) or
//! the auth plugin for a user (`<backend>/api/auth/.well-known/jwks.json`). Keys are fetched when a
//! token names one that is not known, so that a rotation needs nothing, and again after
//! `KEYS_TTL`, so that a withdrawn key ends. Whoever has no valid token decides what is fetched:
//! hence the limits on sources, on how often one is asked and on what it answers.
//!
//! Who a valid token stands for is not looked at further: it may do what any token may.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use crate::clock::{SharedClock, Timestamp};

/// What the catalog is called among Backstage's plugins: the audience of tokens for it.
const OUR_PLUGIN: &str = "catalog";

/// The audience of every user's token.
const USER_AUDIENCE: &str = "backstage";

/// Longest token that is looked at: Backstage's are under 2 kB, with many groups.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Longest name of a plugin, which becomes a part of an address.
const PLUGIN_BYTES_MAX: usize = 64;

/// Plugins whose keys are kept: more call no catalog.
const SOURCES_MAX: usize = 64;

/// A source is not asked again sooner: unknown keys in forged tokens must not become load.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Keys are good for so long; Backstage's live for some hours.
const KEYS_TTL: Duration = Duration::from_secs(15 * 60);

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Largest answer: a key is 200 bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How far two clocks may be apart.
const LEEWAY_SECS: i64 = 10;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no token of this Backstage, or has ended.
    Illegal,
    /// The keys that would tell cannot be had.
    NoKeys,
}

/// Who signs a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Plugin(String),
    Users,
}

impl Source {
    fn audience(&self) -> &'static str {
        match self {
            Self::Plugin(_) => OUR_PLUGIN,
            Self::Users => USER_AUDIENCE,
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Plugin(plugin) => format!("/api/{plugin}/.backstage/auth/v1/jwks.json"),
            Self::Users => "/api/auth/.well-known/jwks.json".to_owned(),
        }
    }
}

/// The keys of one source, as they were when it was asked last.
struct Kept {
    keys: HashMap<String, DecodingKey>,
    asked_at: Timestamp,
    /// When the keys came; none may have come yet.
    got_at: Option<Timestamp>,
}

impl fmt::Debug for Backstage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backstage").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// The keys of one Backstage.
pub struct Backstage {
    backend: String,
    /// Or why TLS cannot be set up.
    client: Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String>,
    clock: SharedClock,
    /// Held while a source is asked, so that many requests ask once.
    kept: Mutex<BTreeMap<Source, Kept>>,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

impl Backstage {
    /// The Backstage whose backend is at `backend`. Where TLS cannot be set up, no token is good.
    pub fn new(backend: &Url, clock: SharedClock) -> Self {
        Self {
            backend: backend.as_str().trim_end_matches('/').to_owned(),
            client: Self::client(backend),
            clock,
            kept: Mutex::new(BTreeMap::new()),
        }
    }

    fn client(backend: &Url) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let tls = if backend.scheme() == "http" {
            tls.with_root_certificates(RootCertStore::empty())
        } else {
            tls.with_native_roots().map_err(|error| error.to_string())?
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Whether a bearer token is one of this Backstage.
    pub async fn verify(&self, token: &str) -> Result<(), Refusal> {
        let (source, key_id) = read_unverified(token).ok_or(Refusal::Illegal)?;
        let key = self.key(&source, &key_id).await?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[source.audience()]);
        // Our clock decides below.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &key, &validation).map_err(|_| Refusal::Illegal)?;
        let now = self.clock.now().0 / 1000;
        if claims.claims.exp + LEEWAY_SECS < now { Err(Refusal::Illegal) } else { Ok(()) }
    }

    async fn key(&self, source: &Source, key_id: &str) -> Result<DecodingKey, Refusal> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(known) = kept.get(source) {
            let is_fresh = known.got_at.is_some_and(|at| now.since(at) < KEYS_TTL);
            let key = known.keys.get(key_id);
            if let Some(key) = key.filter(|_| is_fresh) {
                return Ok(key.clone());
            }
            if now.since(known.asked_at) < ASK_AGAIN {
                return match known.got_at {
                    Some(_) => Err(Refusal::Illegal),
                    None => Err(Refusal::NoKeys),
                };
            }
        } else if kept.len() >= SOURCES_MAX {
            // Forged tokens name plugins that do not exist; those make room.
            let useless =
                |known: &Kept| known.keys.is_empty() && now.since(known.asked_at) >= ASK_AGAIN;
            kept.retain(|_, known| !useless(known));
            if kept.len() >= SOURCES_MAX {
                return Err(Refusal::Illegal);
            }
        }
        let fetched = timeout(ANSWER_TIME, self.fetch(source))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIME.as_secs())));
        let known = kept.entry(source.clone()).or_insert_with(|| Kept {
            keys: HashMap::new(),
            asked_at: now,
            got_at: None,
        });
        known.asked_at = now;
        match fetched {
            Ok(keys) => {
                known.keys = keys;
                known.got_at = Some(now);
                known.keys.get(key_id).cloned().ok_or(Refusal::Illegal)
            }
            Err(reason) => {
                let url = format!("{}{}", self.backend, source.path());
                tracing::warn!(url, "the keys of Backstage cannot be fetched: {reason}");
                Err(Refusal::NoKeys)
            }
        }
    }

    async fn fetch(&self, source: &Source) -> Result<HashMap<String, DecodingKey>, String> {
        let request = Request::get(format!("{}{}", self.backend, source.path()))
            .header("accept", "application/json")
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let response = client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        if status == 404 {
            // There is no such plugin; an answer like any other.
            return Ok(HashMap::new());
        }
        if status != 200 {
            return Err(format!("status {status}"));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let set: JwkSet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let keys = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)));
        Ok(keys.collect())
    }
}

/// Who says to have signed a token, and with which key.
fn read_unverified(token: &str) -> Option<(Source, String)> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let header = decode_header(token).ok()?;
    if header.alg != Algorithm::ES256 {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let payload: Value = serde_json::from_slice(&payload).ok()?;
    let subject = payload["sub"].as_str()?;
    let source = match header.typ.as_deref() {
        Some("vnd.backstage.plugin") => Source::Plugin(plugin(subject)?.to_owned()),
        Some("vnd.backstage.user") => Source::Users,
        _ => return None,
    };
    Some((source, header.kid?))
}

/// The id of a plugin, when it can be a part of an address.
fn plugin(id: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!id.is_empty() && id.len() <= PLUGIN_BYTES_MAX && id.bytes().all(fits)).then_some(id)
}
