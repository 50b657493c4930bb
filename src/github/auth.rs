//! An App's key and its installations' tokens: signed, minted once for all who wait, renewed early.
//!
//! The key signs short-lived JWTs (RS256, aws-lc-rs); with such a JWT an installation's token is
//! asked for. Tokens live in memory only and are never logged. However many callers want the
//! token of one installation at the same time, it is asked for once, and all of them get that
//! answer, an error too. A token past 80 % of its life is renewed; one that GitHub refused is
//! thrown away by [`Tokens::refused`]. Which installation an account has is `apps.rs`' business.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper::header::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::transport::{ANSWER_BYTES_MAX, Answer, Transport};
use super::{AppSettings, GitHubError, SetupError};
use crate::clock::Timestamp;
use crate::ids::{AppId, Host};

/// How far a JWT's `iat` lies back: GitHub advises 60 s against clocks that run ahead.
pub const JWT_BACK: Duration = Duration::from_secs(60);

/// How long after now a JWT ends. GitHub refuses more than 10 minutes; the last two are for our
/// clock running ahead, and from `iat` on it is 9 minutes.
pub const JWT_AHEAD: Duration = Duration::from_secs(8 * 60);

/// The part of a token's life, in percent, after which it is renewed: a call that starts then
/// still ends in time.
pub const RENEW_PERCENT: u32 = 80;

/// An App's id and key.
pub(super) struct Signer {
    pub(super) app: AppId,
    key: EncodingKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("app", &self.app).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

impl Signer {
    /// Takes the key and tries it once.
    pub(super) fn new(host: &Host, settings: &AppSettings) -> Result<Self, SetupError> {
        let wrong = || SetupError::PrivateKey { host: host.clone(), app: settings.id };
        let pem = settings.private_key.expose_secret();
        // The cause might quote the key, so it is not kept.
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| wrong())?;
        let signer = Self { app: settings.id, key };
        signer.bearer(Timestamp::EPOCH).map_err(|_| wrong())?;
        Ok(signer)
    }

    /// The `Authorization` of a call that the App makes as itself.
    pub(super) fn bearer(&self, now: Timestamp) -> Result<HeaderValue, GitHubError> {
        let seconds = |time: Timestamp| time.0.div_euclid(1000);
        let claims = Claims {
            iat: seconds(now - JWT_BACK),
            exp: seconds(now + JWT_AHEAD),
            iss: self.app.to_string(),
        };
        let wrong =
            || GitHubError::Unauthorized(format!("the privateKey of App {} cannot sign", self.app));
        let jwt =
            encode(&Header::new(Algorithm::RS256), &claims, &self.key).map_err(|_| wrong())?;
        secret_header(&jwt).ok_or_else(wrong)
    }

    /// What GitHub's refusal of the App itself means.
    pub(super) fn refusal(&self, transport: &Transport, answer: &Answer) -> GitHubError {
        if answer.status == 401 {
            return GitHubError::Unauthorized(format!(
                "{} does not accept App {}: check that `appId` and `privateKey` belong together, \
                 that the key was not deleted, and that this machine's clock is right",
                transport.host, self.app
            ));
        }
        transport.refusal(answer)
    }
}

/// An installation's id on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct InstallationId(pub(super) u64);

/// A token, as a header.
pub(super) struct Token {
    pub(super) header: HeaderValue,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

type Minted = Result<Arc<Token>, GitHubError>;

#[derive(Default)]
struct Slot {
    current: Option<Arc<Token>>,
    flight: Option<Shared<BoxFuture<'static, Minted>>>,
}

/// The tokens of one App's installations.
pub(super) struct Tokens {
    transport: Arc<Transport>,
    signer: Arc<Signer>,
    slots: Mutex<HashMap<InstallationId, Slot>>,
}

impl Tokens {
    pub(super) fn new(transport: Arc<Transport>, signer: Arc<Signer>) -> Self {
        Self { transport, signer, slots: Mutex::default() }
    }

    /// A token that is good for now; waits for the one call that gets it, if it must be got.
    pub(super) async fn get(&self, installation: InstallationId, login: &str) -> Minted {
        let now = self.transport.clock.now();
        let flight = {
            let mut slots = self.lock();
            let slot = slots.entry(installation).or_default();
            if let Some(token) = slot.current.as_ref().filter(|token| now < token.renew_at) {
                return Ok(token.clone());
            }
            let begin = || self.mint(installation, login);
            slot.flight.get_or_insert_with(begin).clone()
        };
        let minted = flight.clone().await;
        let mut slots = self.lock();
        let slot = slots.entry(installation).or_default();
        if slot.flight.as_ref().is_some_and(|present| present.ptr_eq(&flight)) {
            slot.flight = None;
            if let Ok(token) = &minted {
                slot.current = Some(token.clone());
            }
        }
        let old = || slot.current.clone().filter(|token| now < token.expires_at);
        match minted {
            // Renewing early is a courtesy: the old token is as good as before.
            Err(error) if error.is_transient() => old().ok_or(error),
            minted => minted,
        }
    }

    /// Forgets a token that GitHub refused, unless another has taken its place.
    pub(super) fn refused(&self, installation: InstallationId, token: &Arc<Token>) {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(&installation) else { return };
        if slot.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            slot.current = None;
        }
    }

    /// Forgets the tokens of installations that are no more.
    pub(super) fn keep(&self, is_there: impl Fn(InstallationId) -> bool) {
        self.lock().retain(|installation, _| is_there(*installation));
    }

    fn mint(
        &self,
        installation: InstallationId,
        login: &str,
    ) -> Shared<BoxFuture<'static, Minted>> {
        let (transport, signer) = (self.transport.clone(), self.signer.clone());
        let login = login.to_owned();
        let minting = async move {
            let minted = mint(&transport, &signer, installation, &login).await;
            transport.counted(minted)
        };
        minting.boxed().shared()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<InstallationId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct WireToken {
    token: String,
    expires_at: String,
}

async fn mint(
    transport: &Transport,
    signer: &Signer,
    installation: InstallationId,
    login: &str,
) -> Minted {
    let asked_at = transport.clock.now();
    let bearer = signer.bearer(asked_at)?;
    let id = installation.0.to_string();
    let segments = ["app", "installations", &id, "access_tokens"];
    let answer = transport.post(&bearer, &segments, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|broken| broken.into_error(&transport.host))?;
    let app = signer.app;
    match answer.status {
        201 => {}
        404 => {
            return Err(GitHubError::Unauthorized(format!(
                "App {app} is no longer installed on {login}; nothing of it is removed before \
                 GitHub confirms that"
            )));
        }
        _ => return Err(signer.refusal(transport, &answer)),
    }
    let wrong = || {
        let host = &transport.host;
        GitHubError::Transient(format!("{host} sent no token for App {app} on {login}"))
    };
    let wire: WireToken = serde_json::from_slice(&answer.body).map_err(|_| wrong())?;
    let header = secret_header(&wire.token).ok_or_else(wrong)?;
    let expires_at = Timestamp::parse_rfc3339(&wire.expires_at).ok_or_else(wrong)?;
    let life = expires_at.since(asked_at);
    let renew_at = asked_at + life * RENEW_PERCENT / 100;
    Ok(Arc::new(Token { header, renew_at, expires_at }))
}

/// `Bearer …`, kept out of every debug text; `None` when no header may hold it.
pub(super) fn secret_header(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
