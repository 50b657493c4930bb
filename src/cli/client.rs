//! Asks the running server, over the internal listener of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config::{InternalAuth, Server};

/// How long one question may take: the server answers from memory, or from a local file.
pub const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Largest answer: a thousand keys with their errors are below it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no server answers at {address} ({reason})")]
    Away {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// Somebody listens, and does not answer as our server does.
    #[error("the server at {address} did not answer {method} {path}: {reason}")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// What was asked.
        method: Method,
        /// What was asked for.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// The configuration does not say where it listens.
    #[error("server.internal.listen has port 0, so the running server cannot be found")]
    NoPort,
}

/// An answer; the body is null when it is no JSON.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Value,
}

impl Answer {
    /// What an error's body says, or the status alone.
    pub fn reason(&self) -> String {
        let message = self.body.pointer("/error/message").and_then(Value::as_str);
        message.map_or_else(|| self.status.to_string(), str::to_owned)
    }
}

/// A connection a question to one server.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<SecretString>,
    answer_time: Duration,
}

impl Client {
    /// A client of the server that this configuration describes.
    pub fn new(server: &Server) -> Result<Self, AskError> {
        let mut address = server.internal_listen;
        if address.port() == 0 {
            return Err(AskError::NoPort);
        }
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let token = match &server.internal_auth {
            InternalAuth::Tokens(tokens) | InternalAuth::Backstage { tokens, .. } => {
                tokens.first().cloned()
            }
            InternalAuth::Loopback | InternalAuth::None => None,
        };
        Ok(Self { address, token, answer_time: ANSWER_TIME })
    }

    /// The same for questions that the server itself has to ask GitHub about.
    #[must_use]
    pub fn patient(self, answer_time: Duration) -> Self {
        Self { answer_time, ..self }
    }

    /// Where it asks.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> Result<Answer, AskError> {
        self.ask(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, AskError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, AskError> {
        let address = self.address;
        let away = |reason: String| AskError::Away { address, reason };
        let connected = tokio::time::timeout(ANSWER_TIME, TcpStream::connect(address)).await;
        let stream = match connected {
            Ok(connected) => connected.map_err(|error| away(error.to_string()))?,
            Err(_) => return Err(away(format!("no connection within {ANSWER_TIME:?}"))),
        };
        let exchanged =
            tokio::time::timeout(self.answer_time, self.exchange(stream, &method, path, body));
        let reason = match exchanged.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {:?}", self.answer_time),
        };
        Err(AskError::Broken { address, method, path: path.to_owned(), reason })
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let said = |error: hyper::Error| error.to_string();
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        // A token may hold what no header can; the error does not repeat it.
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        let answer = async move {
            let (head, body) = sender.send_request(request).await.map_err(said)?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok(Answer { status: head.status, body })
        };
        // The connection moves only while it is polled, and ends when the sender is gone. Why it
        // failed is what the sender says too.
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }
}
