//! The HTTP side: reads requests, checks tokens, lets faults happen, writes the journal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::World;
use crate::calls::{Call, CallKind};
use crate::faults::Fault;
use crate::graphql::{self, View};
use crate::reading::Reading;
use crate::state::{POINTS_PER_HOUR, State};
use crate::{apps, misfortune, rest};

/// Largest request body: GitHub's queries are smaller than this.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// An answer, apart from HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) cut: bool,
    /// What it shows is being read until it has been sent.
    pub(crate) reading: Option<Arc<Reading>>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json; charset=utf-8",
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
            cut: false,
            reading: None,
        }
    }
}

/// A request, read whole.
struct Asked {
    method: String,
    path: String,
    query: String,
    token: Option<String>,
    accept: String,
    user_agent: String,
    host: String,
    body: Vec<u8>,
}

/// Handles one request; an error ends the connection without an answer.
pub(crate) async fn handle(
    world: World,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, io::Error> {
    let asked = read(request).await?;
    let (reply, fault) = answer(&world, &asked);
    let latency = world.lock().latency;
    if !latency.is_zero() {
        wait(latency).await;
    }
    match fault {
        Some(Fault::Latency(span)) => wait(span).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        _ => {}
    }
    Ok(respond(reply))
}

#[expect(clippy::disallowed_methods, reason = "a fake server's latency is real time")]
async fn wait(span: Duration) {
    tokio::time::sleep(span).await;
}

async fn read(request: Request<Incoming>) -> Result<Asked, io::Error> {
    let (head, body) = request.into_parts();
    let header = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (authorization, accept) = (header(AUTHORIZATION), header(ACCEPT));
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    let token = authorization
        .split_once(' ')
        .filter(|(scheme, _)| ["bearer", "token"].contains(&scheme.to_lowercase().as_str()))
        .map(|(_, token)| token.to_owned());
    Ok(Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        token,
        accept,
        user_agent: header(USER_AGENT),
        host: header(HOST),
        body: body.to_bytes().to_vec(),
    })
}

/// The answer with the fault already in it, and the fault for what only time or the socket shows.
fn answer(world: &World, asked: &Asked) -> (Reply, Option<Fault>) {
    let mut state = world.lock();
    let state = &mut *state;
    let is_graphql = asked.method == "POST" && ["/graphql", "/api/graphql"].contains(&&*asked.path);
    let (reply, mut call, fault) =
        if is_graphql { graphql(state, asked) } else { by_rest(state, asked) };
    call.status = match fault {
        Some(Fault::Hang | Fault::Reset) => 0,
        _ => reply.status,
    };
    state.journal.calls.push(call);
    (reply, fault)
}

fn call(asked: &Asked, kind: CallKind, what: String) -> Call {
    let (token, user_agent) = (asked.token.clone(), asked.user_agent.clone());
    Call { kind, what, token, user_agent, points: 0, nodes: 0, status: 0 }
}

/// Why the request is refused before it is looked at.
fn refused(state: &State, asked: &Asked) -> Option<Reply> {
    if asked.user_agent.is_empty() {
        let message = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header";
        return Some(Reply::json(403, &json!({ "message": message })));
    }
    let message = match &asked.token {
        None => "Requires authentication",
        Some(token) => match state.tokens.get(token) {
            Some(token) => return apps::refusal(state, token),
            None => "Bad credentials",
        },
    };
    Some(Reply::json(401, &json!({"message": message, "status": "401"})))
}

fn view(fault: Option<&Fault>, now: i64) -> View {
    match fault {
        Some(Fault::Lagging { seconds }) => {
            View { pushes_behind: 1, behind_since: now - seconds, ..View::default() }
        }
        Some(Fault::Stale { pushes }) => View { pushes_behind: *pushes, ..View::default() },
        Some(Fault::NoPushedAt) => View { no_pushed_at: true, ..View::default() },
        _ => View::default(),
    }
}

fn graphql(state: &mut State, asked: &Asked) -> (Reply, Call, Option<Fault>) {
    let given: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let text = given["query"].as_str().unwrap_or_default();
    let request = graphql::Request::parse(text, &given["variables"]);
    let kind = request.as_ref().map_or(CallKind::OtherGraphql, graphql::Request::kind);
    let mut call = call(asked, kind, text.to_owned());
    let fault = state.faults.take(kind);
    if let Some(refused) = refused(state, asked) {
        return (refused, call, fault);
    }
    let token = asked.token.as_deref().unwrap_or_default();
    let size = request.as_ref().map_or(0, graphql::Request::size);
    let mut reading = None;
    let mut body = match &request {
        Err(refusal) => refusal.clone(),
        Ok(request) => {
            reading = Some(Arc::new(state.readings.begin(request.node_ids(), token)));
            let answer = request.answer(state, token, view(fault.as_ref(), state.now));
            call.points = answer.cost;
            call.nodes = answer.nodes;
            answer.touched.into_iter().for_each(|owner| state.touch(token, owner));
            answer.body
        }
    };
    let now = state.now;
    let spent = state.token_mut(token);
    let over = spent.limit.is_some_and(|limit| spent.used + call.points > limit);
    if over {
        call.points = 0;
        body = misfortune::rate_limited();
    }
    spent.used += call.points;
    let limit = spent.limit.unwrap_or(POINTS_PER_HOUR);
    let left = limit.saturating_sub(spent.used);
    if let Some(fault) = &fault {
        misfortune::spoil(state, fault, &mut body);
    }
    let mut reply = Reply::json(200, &body);
    reply.reading = reading;
    reply.headers = vec![
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", if over { 0 } else { left }.to_string()),
        ("x-ratelimit-reset", (now + 3_600).to_string()),
        ("x-ratelimit-resource", "graphql".to_owned()),
    ];
    if let Some(fault) = &fault {
        misfortune::instead(fault, size, &mut reply);
    }
    (reply, call, fault)
}

fn by_rest(state: &mut State, asked: &Asked) -> (Reply, Call, Option<Fault>) {
    let (base, below) = match asked.path.strip_prefix("/api/v3") {
        Some(below) => ("/api/v3", below),
        None => ("", asked.path.as_str()),
    };
    let segments: Vec<String> =
        below.split('/').filter(|part| !part.is_empty()).map(percent_decoded).collect();
    let of_app = apps::kind(&segments);
    let kind = of_app.unwrap_or_else(|| rest::kind(&segments));
    let mut call = call(asked, kind, format!("{} {}", asked.method, asked.path));
    let fault = state.faults.take(kind);
    if of_app.is_some() {
        let jwt = asked.token.as_deref();
        let mut reply = apps::answer(state, &asked.method, &segments, &asked.query, jwt);
        if let Some(fault) = &fault {
            misfortune::instead(fault, 0, &mut reply);
        }
        return (reply, call, fault);
    }
    if let Some(refused) = refused(state, asked) {
        return (refused, call, fault);
    }
    let token = asked.token.as_deref().unwrap_or_default();
    let revision = url::form_urlencoded::parse(asked.query.as_bytes())
        .find(|(name, _)| name == "ref")
        .map(|(_, value)| value.into_owned());
    let (mut reply, touched) = match asked.method.as_str() {
        "GET" => rest::answer(
            state,
            &rest::Asked {
                segments,
                query: &asked.query,
                revision,
                accept: &asked.accept,
                base: &format!("http://{}{base}", asked.host),
                token,
                view: view(fault.as_ref(), state.now),
            },
        ),
        _ => (Reply::json(404, &json!({"message": "Not Found"})), None),
    };
    if let Some(owner) = touched {
        state.touch(token, owner);
    }
    if let Some(fault) = &fault {
        misfortune::instead(fault, 0, &mut reply);
    }
    call.points = 0;
    (reply, call, fault)
}

fn percent_decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).filter(|_| *first == b'%');
        let digits = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn respond(reply: Reply) -> Response<ReplyBody> {
    let length = reply.body.len();
    let mut response = Response::builder()
        .status(reply.status)
        .header("content-type", reply.content_type)
        .header("server", "fake-github")
        .header(CONTENT_LENGTH, length);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let mut bytes = Bytes::from(reply.body);
    if reply.cut {
        bytes.truncate(length / 2);
    }
    let body = ReplyBody { bytes: Some(bytes), cut: reply.cut, _reading: reply.reading };
    response.body(body).expect("the fake's own headers are valid")
}

/// A body that may end in the middle.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    bytes: Option<Bytes>,
    cut: bool,
    _reading: Option<Arc<Reading>>,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match this.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if this.cut => {
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))))
            }
            None => Poll::Ready(None),
        }
    }
}
