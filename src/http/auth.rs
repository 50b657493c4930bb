//! Who may use the internal listener.
//!
//! With tokens: whoever presents one, or one of the configured Backstage. Without, on a loopback
//! address: whoever can reach it and names it as a loopback address, so that a web page cannot read
//! the catalog by giving its own host name our address (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::clock::SharedClock;
use crate::config::InternalAuth;
use crate::http::answer::ApiError;
use crate::http::backstage::{Backstage, Refusal};

/// The check of one listener.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rule>);

#[derive(Debug)]
enum Rule {
    Anybody,
    LoopbackName,
    Token {
        /// SHA-256 of each token: of one length, so that comparing tells nothing about theirs.
        known: Vec<[u8; 32]>,
        /// Whose tokens are good too.
        backstage: Option<Box<Backstage>>,
    },
}

impl Guard {
    /// The guard for a configuration.
    pub fn new(auth: &InternalAuth, clock: &SharedClock) -> Self {
        let digests =
            |tokens: &[SecretString]| tokens.iter().map(|t| digest(t.expose_secret())).collect();
        Self(Arc::new(match auth {
            InternalAuth::None => Rule::Anybody,
            InternalAuth::Loopback => Rule::LoopbackName,
            InternalAuth::Tokens(tokens) => Rule::Token { known: digests(tokens), backstage: None },
            InternalAuth::Backstage { url, tokens } => Rule::Token {
                known: digests(tokens),
                backstage: Some(Box::new(Backstage::new(url, clock.clone()))),
            },
        }))
    }

    async fn admit(&self, request: Request) -> Result<Request, ApiError> {
        match &*self.0 {
            Rule::Anybody => {}
            Rule::LoopbackName => admit_loopback(&request)?,
            Rule::Token { known, backstage } => {
                let token = bearer(request.headers())
                    .ok_or_else(|| ApiError::authentication("Missing credentials"))?;
                let given = digest(token);
                let is_known = known.iter().fold(false, |any, known| any | same(known, &given));
                if !is_known {
                    admit_backstage(backstage.as_deref(), token).await?;
                }
            }
        }
        Ok(request)
    }
}

/// Lets a request pass, or answers why not.
pub async fn require(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn admit_backstage(backstage: Option<&Backstage>, token: &str) -> Result<(), ApiError> {
    let refused = match backstage {
        Some(backstage) => backstage.verify(token).await,
        None => Err(Refusal::ILLEGAL),
    };
    refused.map_err(|refusal| match refusal {
        Refusal::Illegal(message) => ApiError::authentication(message),
        Refusal::NoKeys => ApiError::unavailable(
            "the keys of Backstage, which tell whether the token is good, cannot be fetched",
        ),
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let is_one = |token: &&str| !token.is_empty() && !token.contains(char::is_whitespace);
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(is_one)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn admit_loopback(request: &Request) -> Result<(), ApiError> {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = header.or_else(|| request.uri().authority().map(Authority::as_str)) else {
        return Ok(());
    };
    if is_harmless(host) {
        return Ok(());
    }
    Err(ApiError::not_allowed(
        "this listener has no authentication and answers to localhost and IP addresses only; \
         set server.internal.auth to use it by another name",
    ))
}

/// Whether no web page can own this host name: an IP address or `localhost`.
fn is_harmless(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_web_page_can_own_are_harmless() {
        for host in ["localhost", "LOCALHOST:7007", "127.0.0.1:1", "[::1]:7007", "a.localhost"] {
            assert!(is_harmless(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:7007", "127.0.0.1.nip.io", ""] {
            assert!(!is_harmless(host), "{host}");
        }
    }

    #[test]
    fn a_digest_equals_only_itself() {
        assert!(same(&digest("a"), &digest("a")));
        assert!(!same(&digest("a"), &digest("b")));
    }
}
