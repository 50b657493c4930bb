//! The programs that `scripts/bench receiver` starts: two servers and a paced load generator.
//!
//! `bare` is the measure: an axum handler that reads the body and verifies its signature, served
//! by `axum::serve`. `durable` is cuelight's public listener over one of the engines. Both run on
//! the kind of runtime the real program uses, and both get the same deliveries.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot be unwrapped is a failure")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cuelight::clock::SystemClock;
use cuelight::config::RedisSettings;
use cuelight::engine::Queue;
use cuelight::engine::redis::{self, RedisEngine};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::http::listener::{Limits, serve};
use cuelight::http::public::{PublicState, ReceiveLimits, router};
use cuelight::ids::Host;
use cuelight::telemetry::Metrics;
use cuelight::webhook::{Routing, Secrets};
use hmac::{Hmac, KeyInit, Mac};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret of ordinary length, as people make them";

/// The size of a common push payload.
const BODY_BYTES: usize = 8 * 1024;

/// As many as wrk uses beside it.
const CONNECTIONS: usize = 64;

const USAGE: &str =
    "usage: receiver payload DIRECTORY | bare | durable STORAGE | paced ADDRESS RATE SECONDS
(scripts/bench receiver runs all of them)";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match args[..] {
        ["payload", directory] => write_payload(Path::new(directory)),
        ["bare"] => runtime.block_on(bare()),
        ["durable", storage] => runtime.block_on(durable(storage)),
        ["paced", address, rate, seconds] => {
            let address = address.parse().unwrap();
            runtime.block_on(paced(address, rate.parse().unwrap(), seconds.parse().unwrap()));
        }
        _ => say(USAGE),
    }
}

#[expect(clippy::print_stdout, reason = "scripts/bench reads it")]
fn say(line: &str) {
    println!("{line}");
}

async fn bind() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say(&listener.local_addr().unwrap().to_string());
    listener
}

async fn bare() {
    let secrets = Arc::new(secrets());
    let app = axum::Router::new().route("/webhooks/github", post(verify)).with_state(secrets);
    axum::serve(bind().await, app).await.unwrap();
}

async fn verify(
    State(secrets): State<Arc<Secrets>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let signature = headers.get("x-hub-signature-256").map(|value| value.as_bytes());
    match secrets.verify(signature, &body) {
        true => StatusCode::ACCEPTED,
        false => StatusCode::UNAUTHORIZED,
    }
}

/// `storage` is a file, or the address of a Redis.
async fn durable(storage: &str) {
    let clock = Arc::new(SystemClock);
    let queue: Arc<dyn Queue> = match RedisSettings::parse(storage) {
        Ok(settings) => {
            let options = redis::Options::default();
            RedisEngine::open(&settings, clock.clone(), options).await.unwrap()
        }
        Err(_) => SqliteEngine::open(storage, clock.clone(), Options::default()).unwrap(),
    };
    let routing = Routing { hosts: vec![Host::github_com()], ..Routing::default() };
    let app = router(PublicState {
        queue,
        secrets: secrets(),
        routing: watch::Sender::new(Arc::new(routing)).subscribe(),
        clock,
        metrics: Metrics::new(&mut Registry::default()),
        limits: ReceiveLimits::default(),
    });
    serve(bind().await, app, Limits::default(), CancellationToken::new()).await;
}

fn secrets() -> Secrets {
    Secrets::new(&[SecretString::from(SECRET)])
}

/// Writes `body` and `signature` for wrk.
fn write_payload(directory: &Path) {
    let body = payload();
    std::fs::write(directory.join("body"), &body).unwrap();
    std::fs::write(directory.join("signature"), signature(&body)).unwrap();
}

/// A push to the default branch with as many commits as fit.
fn payload() -> Vec<u8> {
    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/webhooks/push.default-branch.json");
    let mut push: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let commit = push["commits"][0].clone();
    let mut body = push.to_string();
    loop {
        push["commits"].as_array_mut().unwrap().push(commit.clone());
        let longer = push.to_string();
        if longer.len() > BODY_BYTES {
            break;
        }
        body = longer;
    }
    let mut body = body.into_bytes();
    body.resize(BODY_BYTES, b' ');
    body
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let tag = mac.finalize().into_bytes();
    format!("sha256={}", tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Sends `rate` deliveries a second, evenly, however long the answers take, and prints how long
/// they took. A delivery that had to wait for its connection counts from when it was due.
async fn paced(address: SocketAddr, rate: u32, seconds: u32) {
    let request = Arc::new(Request::new());
    let period = Duration::from_secs(1) * CONNECTIONS as u32 / rate;
    let each = (rate * seconds) as usize / CONNECTIONS;
    let begin = Instant::now() + Duration::from_millis(200);
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let first = begin + period * number as u32 / CONNECTIONS as u32;
            tokio::spawn(pace(address, Arc::clone(&request), number, first, period, each))
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let elapsed = begin.elapsed();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / elapsed.as_secs_f64();
    say(&format!("{rate:.0} {:.2} {:.2} {:.2}", at(0.5), at(0.99), at(1.0)));
}

async fn pace(
    address: SocketAddr,
    request: Arc<Request>,
    connection: usize,
    first: Instant,
    period: Duration,
    count: usize,
) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut ticks = tokio::time::interval_at(first, period);
    let mut free_at = first;
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let due = ticks.tick().await;
        // A timer that fires late is the generator's delay, a busy connection the server's.
        let from = if free_at > due { due } else { Instant::now() };
        write(&stream, &request.with_id(connection, number)).await;
        read_answer(&stream).await;
        free_at = Instant::now();
        took.push(free_at - from);
    }
    took
}

/// A delivery in which only the id differs.
struct Request {
    before_id: String,
    after_id: Vec<u8>,
}

impl Request {
    fn new() -> Self {
        let body = payload();
        let before_id = format!(
            "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             X-GitHub-Event: push\r\nX-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\
             X-GitHub-Delivery: ",
            signature(&body),
            body.len()
        );
        let after_id = [b"\r\n\r\n", &body[..]].concat();
        Self { before_id, after_id }
    }

    fn with_id(&self, connection: usize, number: usize) -> Vec<u8> {
        let mut request = self.before_id.clone().into_bytes();
        write!(request, "paced-{}-{connection}-{number}", std::process::id()).unwrap();
        request.extend_from_slice(&self.after_id);
        request
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.unwrap();
        if let Ok(written) = stream.try_write(bytes) {
            bytes = &bytes[written..];
        }
    }
}

/// Reads one answer: all of ours end in `}`.
async fn read_answer(stream: &TcpStream) {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.ends_with(b"}") {
        stream.readable().await.unwrap();
        match stream.try_read(&mut piece) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(_) => {}
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&answer));
}
