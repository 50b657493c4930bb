//! The public listener, served on a free port over a queue that records, and deliveries for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use cuelight::clock::SystemClock;
use cuelight::dependents::{Dependent, Dependents, Watched};
use cuelight::http::listener::{Limits, serve};
use cuelight::http::public::{PublicState, ReceiveLimits, router};
use cuelight::ids::{Account, AppId, FullName, Host, OwnerId, RepoId};
use cuelight::telemetry::{Metrics, Outcome};
use cuelight::webhook::{Routing, Secrets};
use cuelight::work::RepoKey;
use hmac::{Hmac, KeyInit, Mac};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http_client::{Answer, exchange};
use super::recording_queue::RecordingQueue;

/// The secret deliveries are signed with unless a test says otherwise.
pub const SECRET: &str = "a cue for the test";

/// How a test wants its receiver.
pub struct Setup {
    pub secrets: Vec<&'static str>,
    pub limits: Limits,
    pub receive: ReceiveLimits,
}

impl Default for Setup {
    fn default() -> Self {
        Self { secrets: vec![SECRET], limits: Limits::default(), receive: ReceiveLimits::default() }
    }
}

/// A running receiver; dropping it stops it and waits for its end.
pub struct Receiver {
    pub addr: SocketAddr,
    pub queue: Arc<RecordingQueue>,
    pub stop: CancellationToken,
    /// What it routes by.
    pub routing: watch::Sender<Arc<Routing>>,
    metrics: Metrics,
    serving: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl Receiver {
    pub fn start(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let queue = Arc::new(RecordingQueue::new());
        let metrics = Metrics::new(&mut Registry::default());
        let secrets: Vec<_> = setup.secrets.into_iter().map(SecretString::from).collect();
        let routing = watch::Sender::new(Arc::new(routing()));
        let app = router(PublicState {
            queue: queue.clone(),
            secrets: Secrets::new(&secrets),
            routing: routing.subscribe(),
            clock: Arc::new(SystemClock),
            metrics: metrics.clone(),
            limits: setup.receive,
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = runtime.spawn(serve(listener, app, setup.limits, stop.clone()));
        Self { addr, queue, stop, routing, metrics, serving: Some(serving), runtime }
    }

    /// Sends a delivery on a connection of its own.
    pub fn deliver(&self, delivery: &Delivery) -> Answer {
        exchange(self.addr, &delivery.request())
    }

    /// How many webhooks ended with `outcome`.
    pub fn counted(&self, outcome: &'static str) -> u64 {
        self.metrics.webhooks.get_or_create(&Outcome { outcome }).get()
    }

    /// Waits until the listener, told to stop, has ended.
    pub fn join(&mut self) {
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).expect("the listener ends without a panic");
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
        if !std::thread::panicking() {
            self.join();
        }
    }
}

/// Two hosts, one configured branch, and a repository that depends on a branch of another.
pub fn routing() -> Routing {
    let host = Host::github_com();
    let dependent = Dependent {
        key: RepoKey { host: host.clone(), id: RepoId(880_077) },
        account: Account { host: host.clone(), owner: OwnerId(7_700_123) },
        full_name: FullName::parse("stagehands/prompt-desk").unwrap(),
    };
    let name = "stagehands/cue-book".to_owned();
    let watched = Watched { host, name, id: None, branch: "specs".to_owned() };
    let mut dependents = Dependents::default();
    dependents.put(dependent, [watched].into());
    Routing {
        hosts: vec![Host::github_com(), Host::parse("ghe.acme.example:8443").unwrap()],
        branches: ["release/2026".to_owned()].into(),
        dependents,
        apps: [(Host::github_com(), AppId(4711))].into(),
    }
}

/// The text of a fixture.
pub fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/webhooks/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `sha256=…` of `body`.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let mut header = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        write!(header, "{byte:02x}").unwrap();
    }
    header
}

/// A delivery to send.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Every header but `Content-Length` and `Transfer-Encoding`.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub chunked: bool,
}

impl Delivery {
    /// A signed JSON delivery.
    pub fn new(id: &str, event: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![
            ("Host", "cuelight.test".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("X-GitHub-Event", event.to_owned()),
            ("X-GitHub-Delivery", id.to_owned()),
            ("X-Hub-Signature-256", sign(SECRET, &body)),
        ];
        Self { headers, body, chunked: false }
    }

    /// A signed push to the default branch.
    pub fn push(id: &str) -> Self {
        Self::new(id, "push", fixture("push.default-branch.json"))
    }

    /// The same with another header, or with one more.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name, value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self
    }

    /// The same without a `Content-Length`.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The request's line and headers, up to the body.
    pub fn head(&self) -> String {
        let mut head = "POST /webhooks/github HTTP/1.1\r\n".to_owned();
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        match self.chunked {
            true => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
            false => write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap(),
        }
        head
    }

    /// The whole request.
    pub fn request(&self) -> Vec<u8> {
        let mut request = self.head().into_bytes();
        if !self.chunked {
            request.extend_from_slice(&self.body);
            return request;
        }
        for chunk in self.body.chunks(60_000) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        request
    }
}
