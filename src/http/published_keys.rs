//! The keys that a Backstage publishes: fetched when they are needed, kept while they are good.
//!
//! Keys are fetched when a token names one that is not known, so that a rotation needs nothing, and
//! again after `KEYS_TTL`, so that a withdrawn key ends. While Backstage does not answer, the keys
//! that it published last stay good until `OLD_KEYS_MAX`: an outage of Backstage does not take the
//! catalog along, and a key that was withdrawn just before it ends with that.
//!
//! Whoever has no valid token decides what is fetched: hence the limits on sources, on how often
//! one is asked, on how many are asked at a time and on what they answer. A source is asked by one
//! task, for all who wait for it and whether or not they go on waiting; nobody waits for another
//! source, and nobody at all whose key is good.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::clock::{SharedClock, Timestamp};

/// Plugins whose keys are kept: more call no catalog.
const SOURCES_MAX: usize = 64;

/// A source is not asked again sooner: unknown keys in forged tokens must not become load.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Keys are good for so long; Backstage's live for some hours.
const KEYS_TTL: Duration = Duration::from_secs(15 * 60);

/// And for so long while Backstage does not answer: longer than it takes to bring it back, shorter
/// than its keys live.
const OLD_KEYS_MAX: Duration = Duration::from_secs(60 * 60);

/// A source that gave no answer counts as away for so long. While tokens come, it is asked more
/// often than that.
const AWAY_FOR: Duration = Duration::from_secs(60);

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Plugins that never published a key and are asked at the same time: anybody can name them.
const STRANGERS_AT_ONCE: usize = 4;

/// How long such a plugin waits for its turn: where all answer, a start has long served them.
const TURN_TIME: Duration = Duration::from_secs(1);

/// Largest answer: a key is 200 bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Who signs a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The plugin of this id, which is fit to be a part of an address.
    Plugin(String),
    /// The auth plugin, for all users.
    Users,
}

impl Source {
    fn path(&self) -> String {
        match self {
            Self::Plugin(plugin) => format!("/api/{plugin}/.backstage/auth/v1/jwks.json"),
            Self::Users => "/api/auth/.well-known/jwks.json".to_owned(),
        }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// The source publishes others.
    Other,
    /// The source publishes none; a plugin that does not exist has none.
    NoneAtAll,
    /// What the source publishes cannot be had.
    NotKnown,
}

/// What is known of one source.
#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    /// When the keys came; none may have come yet.
    got_at: Option<Timestamp>,
    /// When the source was asked last.
    asked_at: Option<Timestamp>,
    /// Whether it is being asked.
    is_asked: bool,
    /// Whether there was no answer the last time.
    is_away: bool,
}

impl Known {
    /// A key that is good now.
    fn good(&self, key_id: &str, now: Timestamp) -> Option<DecodingKey> {
        let is_away = self.is_away && self.asked_at.is_some_and(|at| now.since(at) < AWAY_FOR);
        let age_max = if is_away { OLD_KEYS_MAX } else { KEYS_TTL };
        let is_good = self.got_at.is_some_and(|at| now.since(at) < age_max);
        self.keys.get(key_id).filter(|_| is_good).cloned()
    }

    /// Whether the keys should be asked for again though the one that is wanted is good.
    fn are_old(&self, now: Timestamp) -> bool {
        self.got_at.is_none_or(|at| now.since(at) >= KEYS_TTL)
    }

    fn may_be_asked(&self, now: Timestamp) -> bool {
        !self.is_asked && self.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN)
    }

    fn missing(&self) -> NoKey {
        match self.got_at {
            _ if self.is_away => NoKey::NotKnown,
            None => NoKey::NotKnown,
            Some(_) if self.keys.is_empty() => NoKey::NoneAtAll,
            Some(_) => NoKey::Other,
        }
    }
}

/// One source; whoever waits for its answer watches it.
type Slot = Arc<watch::Sender<Known>>;

/// The keys of one Backstage.
pub struct PublishedKeys {
    asker: Asker,
    clock: SharedClock,
    /// Held to look up and to add a source, never while one is asked.
    slots: Mutex<BTreeMap<Source, Slot>>,
    strangers: Arc<Semaphore>,
    /// What asks; ends with this.
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishedKeys")
            .field("backend", &self.asker.backend)
            .finish_non_exhaustive()
    }
}

impl PublishedKeys {
    /// The keys of the Backstage whose backend is at `backend`.
    pub fn new(backend: &Url, clock: SharedClock) -> Self {
        Self {
            asker: Asker {
                backend: backend.as_str().trim_end_matches('/').to_owned(),
                client: client(backend),
            },
            clock,
            slots: Mutex::default(),
            strangers: Arc::new(Semaphore::new(STRANGERS_AT_ONCE)),
            tasks: Mutex::default(),
        }
    }

    /// The key of this id. A good one is answered at once; else the source is asked, unless it was
    /// a moment ago. Takes at most `TURN_TIME` and `ANSWER_TIME`.
    pub async fn key(&self, source: &Source, key_id: &str) -> Result<DecodingKey, NoKey> {
        let slot = self.slot(source).ok_or(NoKey::NotKnown)?;
        let now = self.clock.now();
        let (good, are_old) = {
            let known = slot.borrow();
            (known.good(key_id, now), known.are_old(now))
        };
        if let Some(key) = good.clone().filter(|_| !are_old) {
            return Ok(key);
        }
        self.ask(source, &slot, now);
        if let Some(key) = good {
            // Backstage was away a moment ago: nobody waits to see whether it is back.
            return Ok(key);
        }
        let mut watching = slot.subscribe();
        // The slot, which sends, lives as long as this.
        let _answered = watching.wait_for(|known| !known.is_asked).await;
        let known = slot.borrow();
        known.good(key_id, self.clock.now()).ok_or_else(|| known.missing())
    }

    /// The place of a source, when there is room.
    fn slot(&self, source: &Source) -> Option<Slot> {
        let mut slots = held(&self.slots);
        if let Some(slot) = slots.get(source) {
            return Some(Arc::clone(slot));
        }
        if slots.len() >= SOURCES_MAX && *source != Source::Users {
            // Forged tokens name plugins that do not exist; those make room.
            let now = self.clock.now();
            slots.retain(|_, slot| {
                let known = slot.borrow();
                !known.keys.is_empty() || !known.may_be_asked(now)
            });
            if slots.len() >= SOURCES_MAX {
                return None;
            }
        }
        Some(Arc::clone(slots.entry(source.clone()).or_default()))
    }

    /// Lets a source be asked, unless it is or was a moment ago.
    fn ask(&self, source: &Source, slot: &Slot, now: Timestamp) {
        let mut is_stranger = false;
        let is_ours = slot.send_if_modified(|known| {
            let is_due = known.may_be_asked(now);
            known.is_asked |= is_due;
            is_stranger = known.keys.is_empty() && *source != Source::Users;
            is_due
        });
        if !is_ours {
            return;
        }
        let asking = Asking { slot: Arc::clone(slot), asked_at: now, answer: None };
        let (asker, source) = (self.asker.clone(), source.clone());
        let strangers = is_stranger.then(|| Arc::clone(&self.strangers));
        let mut tasks = held(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let mut asking = asking;
            let turn = match &strangers {
                None => None,
                Some(strangers) => match timeout(TURN_TIME, strangers.acquire()).await {
                    Ok(Ok(turn)) => Some(turn),
                    Ok(Err(_)) | Err(_) => return,
                },
            };
            asking.answer = Some(asker.ask(&source).await);
            drop(turn);
        });
    }
}

/// One time of asking. However it ends, whoever waits is told.
struct Asking {
    slot: Slot,
    asked_at: Timestamp,
    /// The keys, or nothing when they could not be had; not set when nobody was asked.
    answer: Option<Option<HashMap<String, DecodingKey>>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let answer = self.answer.take();
        self.slot.send_modify(|known| {
            known.is_asked = false;
            if answer.is_some() {
                known.asked_at = Some(self.asked_at);
            }
            let keys = answer.flatten();
            known.is_away = keys.is_none();
            if let Some(keys) = keys {
                known.keys = keys;
                known.got_at = Some(self.asked_at);
            }
        });
    }
}

/// What asks.
#[derive(Clone)]
struct Asker {
    backend: String,
    /// Or why TLS cannot be set up.
    client: Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String>,
}

impl Asker {
    /// The keys of a source; none, and a line in the log, when it gives no answer in time.
    async fn ask(&self, source: &Source) -> Option<HashMap<String, DecodingKey>> {
        let fetched = timeout(ANSWER_TIME, self.fetch(source))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIME.as_secs())));
        fetched
            .inspect_err(|reason| {
                let url = format!("{}{}", self.backend, source.path());
                tracing::warn!(url, "the keys of Backstage cannot be fetched: {reason}");
            })
            .ok()
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

fn client(backend: &Url) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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

/// What a lock guards; each is whole after every statement, also one that panicked.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
