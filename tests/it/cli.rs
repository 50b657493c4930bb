//! The real binary: exit codes, what goes to which stream, and the queue commands with and
//! without a server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cuelight::clock::{SystemClock, Timestamp};
use cuelight::engine::Engine;
use cuelight::engine::queue::{Push, PushKey, Settlement};
use cuelight::engine::redis::{self, RedisEngine};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::ids::{Account, FullName, Host, OwnerId};
use cuelight::work::{Hint, Lane, Reasons};

use crate::support::redis::RedisServer;

/// A folder to run in, and what the process sees of the environment: nothing else.
pub(super) struct World {
    folder: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), env: Vec::new() }
    }

    pub(super) fn env(mut self, name: &'static str, value: impl ToString) -> Self {
        self.env.push((name, value.to_string()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
        self
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_cuelight"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output();
        Ran::from(output.expect("the binary runs"))
    }
}

/// What a run left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    err: String,
}

impl Ran {
    fn new(code: i32, out: &str, err: &str) -> Self {
        Self { code, out: out.to_owned(), err: err.to_owned() }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A server that gives each question one of its answers in turn and keeps what it was asked.
pub(super) struct Canned {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Canned {
    pub(super) fn new(answers: Vec<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            for (status, body) in answers {
                let (stream, _) = listener.accept().expect("a connection");
                let question = answer(&stream, status, body);
                log.lock().expect("a log").push(question);
            }
        });
        Self { address, asked, thread }
    }

    /// How many answers were given so far.
    pub(super) fn given(&self) -> usize {
        self.asked.lock().expect("a log").len()
    }

    /// What was asked, once every answer was given.
    fn asked(self) -> Vec<String> {
        self.thread.join().expect("a server that ends");
        self.asked.lock().expect("a log").clone()
    }
}

/// Reads one question, answers it, and returns its first line, authorization and body.
fn answer(mut stream: &TcpStream, status: &str, body: &str) -> String {
    let mut reader = BufReader::new(stream);
    let mut seen = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if seen.is_empty() || lower.starts_with("authorization:") {
            seen += line.trim_end();
            seen.push(' ');
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).expect("the body");
    seen += &String::from_utf8(sent).expect("UTF-8");
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").expect("sent");
    seen.trim_end().to_owned()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = World::new().run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for command in ["serve", "scan", "explain", "validate", "healthcheck", "queue"] {
        assert!(help.out.contains(&format!("\n  {command} ")), "{}", help.out);
    }
    let version = World::new().run(&["--version"]);
    let expected = format!("cuelight {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version, Ran::new(0, &expected, ""));
}

#[test]
fn a_wrong_command_line_exits_2() {
    let lines: [&[&str]; 12] = [
        &[],
        &["serv"],
        &["serve", "--orgg", "x"],
        &["validate"],
        &["queue"],
        &["queue", "retry"],
        &["queue", "retry", "repo:github.com:1", "--all"],
        &["queue", "drop", "nonsense"],
        &["scan", "--yes"],
        &["scan", "acme", "--approve-removals", "acme"],
        &["scan", "--dry-run", "--approve-removals", "acme"],
        &["explain", "no-repository"],
    ];
    for line in lines {
        let ran = World::new().run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line:?}");
        assert!(ran.err.contains("Usage:") || ran.err.contains("error:"), "{}", ran.err);
    }
}

#[test]
fn a_wrong_configuration_exits_2_and_says_where() {
    let world = World::new().file("own.yaml", "workers: 0\nstorage:\n  ulr: x\n");
    let expected = "cuelight: the configuration is not usable:\n\
                    own.yaml:1:10: `workers`: expected a whole number from 1 to 64\n\
                    own.yaml:3:3: unknown key `ulr` in `storage`; did you mean `url`?\n";
    for command in [&["serve"][..], &["healthcheck"], &["queue", "ls"]] {
        let after_all = [command, &["--config", "own.yaml"]].concat();
        assert_eq!(world.run(&after_all), Ran::new(2, "", expected), "{after_all:?}");
        let after_name = [&command[..1], &["--config", "own.yaml"], &command[1..]].concat();
        assert_eq!(world.run(&after_name), Ran::new(2, "", expected), "{after_name:?}");
    }
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", "0.0.0.0:7007");
    let ran = world.run(&["serve", "--org", "acme"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("environment variable CUELIGHT_INTERNAL_LISTEN: "), "{}", ran.err);
    let world = World::new().env("RUST_LOG", "cuelight=loud");
    let ran = world.run(&["serve"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.starts_with("cuelight: RUST_LOG is not a filter"), "{}", ran.err);
}

#[test]
fn healthcheck_exits_0_only_when_the_server_lives() {
    let ask = |address: SocketAddr| {
        World::new().env("CUELIGHT_INTERNAL_LISTEN", address).run(&["healthcheck"])
    };
    let server = Canned::new(vec![("200 OK", "ok")]);
    assert_eq!(ask(server.address), Ran::new(0, "", ""));
    assert_eq!(server.asked(), ["GET /livez HTTP/1.1"]);

    let server = Canned::new(vec![("503 Service Unavailable", "")]);
    let address = server.address;
    let said = format!("cuelight: {address} answered 503 Service Unavailable to GET /livez\n");
    assert_eq!(ask(address), Ran::new(1, "", &said));
    assert_eq!(server.asked().len(), 1);

    let address = nowhere();
    let said =
        format!("cuelight: no server answers at {address} (Connection refused (os error 111))\n");
    assert_eq!(ask(address), Ran::new(1, "", &said));
}

#[test]
fn healthcheck_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let ran = World::new().env("CUELIGHT_INTERNAL_LISTEN", address).run(&["healthcheck"]);
    let said = format!(
        "cuelight: the server at {address} did not answer GET /livez: no answer within 3s\n"
    );
    assert_eq!(ran, Ran::new(1, "", &said));
}

#[test]
fn healthcheck_reaches_a_server_on_all_addresses_over_loopback() {
    let server = Canned::new(vec![("200 OK", "ok")]);
    let world = World::new()
        .file("own.yaml", "server: {internal: {auth: {tokens: [t0ken]}}}")
        .env("CUELIGHT_INTERNAL_LISTEN", format!("0.0.0.0:{}", server.address.port()));
    assert_eq!(world.run(&["healthcheck", "--config", "own.yaml"]), Ran::new(0, "", ""));
    assert_eq!(server.asked(), ["GET /livez HTTP/1.1 authorization: Bearer t0ken"]);
}

const DEAD: &str = r#"{"items": [{"key": "repo:github.com:7", "state": "dead", "lane": "event",
  "account": "github.com:1", "repository": "acme/shop", "reasons": ["push"], "attempts": 8,
  "at": "2026-11-22T10:50:31.120Z", "error": "GitHub answered 500\u001b[31m"}], "total": 1,
  "next": null}"#;

#[test]
fn queue_ls_asks_the_running_server() {
    let server = Canned::new(vec![("200 OK", "ok"), ("200 OK", DEAD)]);
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", server.address);
    let expected = "\
KEY                STATE  ATTEMPTS  AT                        REPOSITORY  ERROR
repo:github.com:7  dead   8         2026-11-22T10:50:31.120Z  acme/shop   GitHub answered 500 [31m
";
    assert_eq!(world.run(&["queue", "ls", "--state", "dead"]), Ran::new(0, expected, ""));
    let question = "GET /api/cuelight/v1/queue?limit=1000&state=dead HTTP/1.1";
    assert_eq!(server.asked(), ["GET /livez HTTP/1.1", question]);
}

#[test]
fn queue_retry_and_drop_tell_the_running_server() {
    let refused = r#"{"error": {"name": "NotFoundError", "message": "not dead"}}"#;
    let server = Canned::new(vec![
        ("200 OK", "ok"),
        ("200 OK", "{}"),
        ("200 OK", "ok"),
        ("404 Not Found", refused),
        ("200 OK", "ok"),
        ("200 OK", DEAD),
        ("200 OK", "{}"),
        ("200 OK", "ok"),
        ("401 Unauthorized", r#"{"error": {"message": "Missing credentials"}}"#),
    ]);
    let address = server.address;
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", address);
    let key = "repo:github.com:7";
    let again = Ran::new(0, "repo:github.com:7 queued again\n", "");
    assert_eq!(world.run(&["queue", "retry", key]), again);
    let said = "cuelight: repo:github.com:7 is not dead; see `cuelight queue ls --state dead`\n";
    assert_eq!(world.run(&["queue", "drop", key]), Ran::new(1, "", said));
    assert_eq!(world.run(&["queue", "retry", "--all"]), Ran::new(0, "1 keys queued again\n", ""));
    let said = format!("cuelight: the server at {address} answered: Missing credentials\n");
    assert_eq!(world.run(&["queue", "ls"]), Ran::new(1, "", &said));
    let asked = server.asked();
    let body = r#"{"key":"repo:github.com:7"}"#;
    assert_eq!(asked[1], format!("POST /api/cuelight/v1/queue/retry HTTP/1.1 {body}"));
    assert_eq!(asked[3], format!("POST /api/cuelight/v1/queue/drop HTTP/1.1 {body}"));
    assert_eq!(asked[6], asked[1]);
}

/// Leaves one dead key, and nobody who holds the storage.
async fn with_dead_key(engine: Arc<dyn Engine>) {
    let account = Account { host: Host::github_com(), owner: OwnerId(1) };
    let hint = Hint {
        reasons: Reasons::default(),
        pushes: Vec::new(),
        node_id: None,
        name: Some(FullName::parse("acme/shop").expect("a name")),
        first_seen: Timestamp(0),
    };
    let key = "repo:github.com:7".parse().expect("a key");
    let keys = vec![PushKey { key, account, lane: Lane::Event, hint }];
    engine.push(Push { delivery: None, keys }).await.expect("pushed");
    let taken = engine.take(1, Duration::from_secs(60)).await.expect("taken");
    let dead = Settlement::Dead { error: "it broke".to_owned() };
    engine.settle(vec![((&taken.leases[0]).into(), dead)]).await.expect("settled");
    engine.close().await;
}

fn open(file: &Path) -> Arc<SqliteEngine> {
    SqliteEngine::open(file, Arc::new(SystemClock), Options::default()).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_queue_commands_use_the_file() {
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", nowhere());
    let file = world.folder.path().join("cuelight.db");
    with_dead_key(open(&file)).await;
    let listed = world.run(&["queue", "ls"]);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    assert!(listed.out.contains("repo:github.com:7  dead"), "{}", listed.out);
    assert!(listed.out.contains("acme/shop   it broke"), "{}", listed.out);
    let again = Ran::new(0, "repo:github.com:7 queued again\n", "");
    assert_eq!(world.run(&["queue", "retry", "repo:github.com:7"]), again);
    assert_eq!(world.run(&["queue", "ls", "--state", "dead"]), Ran::new(0, "no keys\n", ""));
    let listed = world.run(&["queue", "ls", "--state", "waiting"]);
    assert!(listed.out.contains("repo:github.com:7  waiting"), "{}", listed.out);
    assert_eq!(world.run(&["queue", "drop", "repo:github.com:7"]).code, 1, "it is not dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_queue_commands_use_redis() {
    let redis = RedisServer::start();
    let clock = Arc::new(SystemClock);
    let engine = RedisEngine::open(&redis.settings(), clock, redis::Options::default()).await;
    with_dead_key(engine.expect("a server")).await;
    let world = World::new()
        .env("CUELIGHT_INTERNAL_LISTEN", nowhere())
        .env("CUELIGHT_STORAGE_URL", redis.url());
    let listed = world.run(&["queue", "ls"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(listed.out.contains("repo:github.com:7  dead"), "{}", listed.out);
    let again = world.run(&["queue", "retry", "repo:github.com:7"]);
    assert_eq!(again.out, "repo:github.com:7 queued again\n", "{}", again.err);
    assert_eq!(world.run(&["queue", "ls", "--state", "dead"]).out, "no keys\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_server_holds_is_left_alone() {
    let address = nowhere();
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", address);
    let engine = open(&world.folder.path().join("cuelight.db"));
    let ran = world.run(&["queue", "ls"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains(&format!("no server answers at {address}")), "{}", ran.err);
    assert!(ran.err.contains("in use by another cuelight"), "{}", ran.err);
    engine.close().await;
}

#[test]
fn the_queue_commands_make_no_file() {
    let world = World::new().env("CUELIGHT_INTERNAL_LISTEN", nowhere());
    let ran = world.run(&["queue", "ls"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.ends_with(", and there is no file ./cuelight.db\n"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(world.folder.path()).expect("a folder").count(), 0);
}

#[test]
fn the_log_is_json_when_the_configuration_says_so() {
    let world = World::new().file("own.yaml", "log: {format: json}");
    let mut serving = Command::new(env!("CARGO_BIN_EXE_cuelight"))
        .args(["serve", "--config", "own.yaml"])
        .current_dir(world.folder.path())
        .env_clear()
        .env("CUELIGHT_PUBLIC_LISTEN", "127.0.0.1:0")
        .env("CUELIGHT_INTERNAL_LISTEN", "[::1]:0")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let stderr = BufReader::new(serving.stderr.take().expect("standard error"));
    let lines = stderr.lines().map_while(Result::ok).map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        (line["level"].to_string(), line["message"].to_string())
    });
    let of_webhooks = |(_, message): &(String, String)| message.contains("webhooks: ");
    let mut told: Vec<_> = Vec::new();
    for line in lines {
        let is_last = of_webhooks(&line);
        told.push(line);
        if is_last {
            break;
        }
    }
    // It may have ended by itself.
    let _ = serving.kill();
    serving.wait().expect("it ended");
    let (level, message) = told.first().expect("a line");
    assert!(level.contains("WARN") && message.contains("no provider is configured"), "{message}");
    let (_, message) = told.last().expect("a line");
    assert!(message.contains("webhooks: off") && message.contains("CUELIGHT_WEBHOOK_SECRET"));
}

#[test]
fn validate_exits_1_when_there_are_problems_and_keeps_the_configured_rules() {
    let user = "apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: a}\n\
                spec: {memberOf: []}\n";
    let world = World::new()
        .file("catalog-info.yaml", user)
        .file("own.yaml", "catalog: {rules: [{allow: [User]}]}");
    let refused = world.run(&["validate", "catalog-info.yaml"]);
    assert_eq!((refused.code, refused.err.as_str()), (1, ""));
    assert!(refused.out.starts_with("catalog-info.yaml:"), "{}", refused.out);
    let allowed = world.run(&["validate", ".", "--config", "own.yaml"]);
    assert_eq!((allowed.code, allowed.err.as_str()), (0, ""), "{}", allowed.out);
}

#[test]
fn validate_needs_the_rules_of_the_configuration_and_not_its_secrets() {
    let group = "apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: a}\n\
                 spec: {type: team, children: []}\n";
    let app = "integrations: {github: [{host: github.com, token: '${NOT_SET}'}]}\n\
               catalog: {rules: [{allow: [Group]}]}\n";
    let world = World::new().file("catalog-info.yaml", group).file("app.yaml", app);
    let ran = world.run(&["validate", ".", "--app-config", "app.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let wrong = World::new().file("own.yaml", "catalog: {rules: 7}");
    let ran = wrong.run(&["validate", ".", "--config", "own.yaml"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("own.yaml:1:18:"), "{}", ran.err);
}
