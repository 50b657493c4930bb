//! Tokens of a Backstage: what its plugins and users present, checked with the keys it publishes.
//!
//! A token says who signed it: a plugin (`<backend>/api/<plugin>/.backstage/auth/v1/jwks.json`) or
//! the auth plugin for a user (`<backend>/api/auth/.well-known/jwks.json`). How those keys are had
//! and how long they are good: `published_keys`.
//!
//! A plugin that asks for a user shows that user's token within its own, and both have to be good.
//! Who a valid token stands for is not looked at further: it may do what any token may. The words
//! of a refusal are Backstage's.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};
use url::Url;

use crate::clock::SharedClock;
use crate::http::published_keys::{NoKey, PublishedKeys, Source};

/// What the catalog is called among Backstage's plugins: the audience of tokens for it.
const OUR_PLUGIN: &str = "catalog";

/// The audience of every user's token.
const USER_AUDIENCE: &str = "backstage";

/// Longest token that is looked at: Backstage's are under 2 kB, with many groups.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Longest name of a plugin, which becomes a part of an address.
const PLUGIN_BYTES_MAX: usize = 64;

/// How far two clocks may be apart.
const LEEWAY_SECS: f64 = 10.0;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no token of this Backstage for us, or has ended; in Backstage's words.
    Illegal(Cow<'static, str>),
    /// The keys that would tell cannot be had.
    NoKeys,
}

impl Refusal {
    /// No token at all, as far as we know.
    pub(super) const ILLEGAL: Self = Self::Illegal(Cow::Borrowed("Illegal token"));

    fn because(message: &'static str) -> Self {
        Self::Illegal(Cow::Borrowed(message))
    }
}

/// What a token says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A plugin's.
    Plugin,
    /// A user's.
    User,
    /// What is left of a user's when a plugin passes it on; good within a plugin's only.
    LimitedUser,
    /// A user's as older Backstages made them, known by its audience.
    UntypedUser,
}

impl Kind {
    fn audience(self) -> Option<&'static str> {
        match self {
            Self::Plugin => Some(OUR_PLUGIN),
            Self::UntypedUser => Some(USER_AUDIENCE),
            Self::User | Self::LimitedUser => None,
        }
    }

    fn failed(self) -> Refusal {
        Refusal::because(match self {
            Self::Plugin => "Failed plugin token verification",
            _ => "Failed user token verification",
        })
    }
}

/// The tokens of one Backstage.
pub struct Backstage {
    keys: PublishedKeys,
    clock: SharedClock,
}

impl fmt::Debug for Backstage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backstage").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Backstage {
    /// The Backstage whose backend is at `backend`. Where TLS cannot be set up, no token is good.
    pub fn new(backend: &Url, clock: SharedClock) -> Self {
        Self { keys: PublishedKeys::new(backend, clock.clone()), clock }
    }

    /// Whether a bearer token is one of this Backstage.
    pub async fn verify(&self, token: &str) -> Result<(), Refusal> {
        let unverified = Unverified::read(token).ok_or(Refusal::ILLEGAL)?;
        let claims = self.claims(token, &unverified).await?;
        match unverified.kind {
            Kind::LimitedUser => Err(Refusal::because("Illegal limited user token")),
            Kind::User | Kind::UntypedUser => Ok(()),
            Kind::Plugin => match &claims["obo"] {
                Value::Null | Value::Bool(false) => Ok(()),
                Value::String(none) if none.is_empty() => Ok(()),
                user => self.verify_user(user.as_str().unwrap_or_default()).await,
            },
        }
    }

    /// The same of the token of a user for whom a plugin asks.
    async fn verify_user(&self, token: &str) -> Result<(), Refusal> {
        match Unverified::read(token).filter(|token| token.kind != Kind::Plugin) {
            Some(unverified) => self.claims(token, &unverified).await.map(|_| ()),
            None => Err(Refusal::because("Invalid user token in plugin token obo claim")),
        }
    }

    /// What a token claims, when its signature is good and it is for us and now.
    async fn claims(&self, token: &str, unverified: &Unverified) -> Result<Value, Refusal> {
        let kind = unverified.kind;
        let source = unverified.source()?;
        let key_id = unverified.key_id.as_deref().ok_or_else(|| kind.failed())?;
        let key = self.key(&source, key_id, kind).await?;
        let mut validation = Validation::new(Algorithm::ES256);
        // Our clock decides below, and only what is there is compared here.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = decode::<Value>(token, &key, &validation).map_err(|_| kind.failed())?.claims;
        let now = self.clock.now().0 as f64 / 1000.0;
        let has_begun = match &claims["nbf"] {
            Value::Null => true,
            from => from.as_f64().is_some_and(|from| from <= now + LEEWAY_SECS),
        };
        let is_over = claims["exp"].as_f64().is_none_or(|exp| exp + LEEWAY_SECS < now);
        let is_ours = kind.audience().is_none_or(|audience| match &claims["aud"] {
            Value::Array(all) => all.iter().any(|one| one == audience),
            one => one == audience,
        });
        match claims["sub"].as_str() {
            _ if is_over || !has_begun || !is_ours => Err(kind.failed()),
            None => Err(kind.failed()),
            Some("") => Err(Refusal::because("No user sub found in token")),
            Some(_) => Ok(claims),
        }
    }

    async fn key(&self, source: &Source, key_id: &str, kind: Kind) -> Result<DecodingKey, Refusal> {
        self.keys.key(source, key_id).await.map_err(|why| match (why, source) {
            (NoKey::NotKnown, _) => Refusal::NoKeys,
            (NoKey::NoneAtAll, Source::Plugin(plugin)) => Refusal::Illegal(Cow::Owned(format!(
                "Received a plugin token where the source '{plugin}' plugin unexpectedly does \
                 not have a JWKS endpoint. The target plugin needs to be migrated to be \
                 installed in an app using the new backend system."
            ))),
            (NoKey::Other | NoKey::NoneAtAll, _) => kind.failed(),
        })
    }
}

/// What a token says of itself.
struct Unverified {
    kind: Kind,
    key_id: Option<String>,
    subject: Option<String>,
}

impl Unverified {
    fn read(token: &str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let mut object = || serde_json::from_slice::<Map<String, Value>>(&parts.next()??).ok();
        let (header, payload) = (object()?, object()?);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let kind = match header.get("typ").and_then(Value::as_str) {
            Some("vnd.backstage.plugin") => Kind::Plugin,
            Some("vnd.backstage.user") => Kind::User,
            Some("vnd.backstage.limited-user") => Kind::LimitedUser,
            _ if payload.get("aud").is_some_and(|audience| audience == USER_AUDIENCE) => {
                Kind::UntypedUser
            }
            _ => return None,
        };
        Some(Self { kind, key_id: text(header.get("kid")), subject: text(payload.get("sub")) })
    }

    fn source(&self) -> Result<Source, Refusal> {
        if self.kind != Kind::Plugin {
            return Ok(Source::Users);
        }
        let id = self.subject.as_deref().unwrap_or_default();
        let forbidden = || Refusal::because("Invalid plugin token: forbidden subject format");
        Ok(Source::Plugin(plugin(id).ok_or_else(forbidden)?.to_owned()))
    }
}

/// The id of a plugin, when it can be a part of an address.
fn plugin(id: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!id.is_empty() && id.len() <= PLUGIN_BYTES_MAX && id.bytes().all(fits)).then_some(id)
}
