//! Private Redis servers: real ones, on sockets and free ports, in folders of their own, killed
//! when they are dropped. A missing `redis-server` fails the test that needs it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cuelight::clock::{Clock as _, SystemClock};
use cuelight::config::RedisSettings;
use redis::FromRedisValue;
use tempfile::TempDir;

/// Longest wait for a server to be ready, and for anything that servers settle by themselves.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Rest between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often another port is tried when somebody else took the free one.
const TRIES: usize = 10;

/// Where the rights that a user needs are documented.
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// Highest port that leaves room for a cluster's second one, 10,000 above it.
const PORT_MAX: u16 = 55_535;

/// A server.
pub struct RedisServer {
    child: Option<Child>,
    args: Vec<String>,
    /// Its port; 0 for one that is reached by its socket only.
    pub port: u16,
    dir: TempDir,
}

impl RedisServer {
    /// One that is reached by its socket.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more settings: `--name`, `value` and so on.
    pub fn with(args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut server = Self { child: None, args: Vec::new(), port: 0, dir };
        server.args = owned(&["--port", "0"]);
        server.args.extend(owned(args));
        server.child = Some(server.spawn().expect("the server starts"));
        server
    }

    /// One that listens on a free port of loopback, too.
    pub fn on_a_port(args: &[&str]) -> Self {
        Self::on_free_port(|_, port| {
            let mut all = owned(&["--bind", "127.0.0.1", "--port", &port.to_string()]);
            all.extend(owned(args));
            all
        })
    }

    /// One that takes TLS only, with the certificate of the fixtures.
    pub fn with_tls() -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/redis-tls");
        let file = |name: &str| fixtures.join(name).display().to_string();
        Self::on_free_port(|_, port| {
            let port = port.to_string();
            let (cert, key, ca) = (file("server.pem"), file("server.key.pem"), file("ca.pem"));
            owned(&[
                "--bind",
                "127.0.0.1",
                "--port",
                "0",
                "--tls-port",
                &port,
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-ca-cert-file",
                &ca,
                "--tls-auth-clients",
                "no",
            ])
        })
    }

    fn on_free_port(args: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut server = Self { child: None, args: Vec::new(), port: 0, dir };
        for _ in 0..TRIES {
            server.port = free_port();
            server.args = args(server.dir.path(), server.port);
            match server.spawn() {
                Ok(child) => {
                    server.child = Some(child);
                    return server;
                }
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("redis-server does not start:\n{log}"),
            }
        }
        panic!("no free port in {TRIES} tries");
    }

    /// A Sentinel that watches `master` under the name `cuelight`.
    pub fn sentinel(master: u16) -> Self {
        Self::on_free_port(|folder, port| {
            let file = folder.join("sentinel.conf");
            let text = format!(
                "bind 127.0.0.1\nport {port}\nsentinel monitor cuelight 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds cuelight 500\n\
                 sentinel failover-timeout cuelight 3000\n"
            );
            std::fs::write(&file, text).expect("a configuration");
            owned(&[&file.display().to_string(), "--sentinel"])
        })
    }

    /// Starts and waits until it takes commands, else tells its log.
    fn spawn(&self) -> Result<Child, String> {
        let is_sentinel = self.args.iter().any(|arg| arg == "--sentinel");
        let mut command = Command::new("redis-server");
        command.args(&self.args).current_dir(self.dir.path());
        if !is_sentinel {
            command.args(["--save", "", "--dir", "."]).arg("--unixsocket").arg(self.socket());
            // Tests that share a server have prefixes of their own.
            command.arg("--user").args(documented_user()).arg("~{test-*");
        }
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("redis-server: {error}; on Debian: apt-get install redis-server")
        });
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        // Reads to the end, so that the server never waits for a reader; ends with the server.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut log = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let is_ready = line.contains("eady to accept connections")
                        || line.contains("+monitor master");
                    log.push(line);
                    if is_ready {
                        return Ok(child);
                    }
                }
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(log.join("\n"));
                }
            }
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Its address: the socket's.
    pub fn url(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Settings for its address, under the user with the documented rights.
    pub fn settings(&self) -> RedisSettings {
        let (user, socket) = (documented_user(), self.socket());
        let password = user[2].trim_start_matches('>');
        let url = format!("unix://{}:{password}@{}", user[0], socket.display());
        RedisSettings::parse(&url).expect("an address")
    }

    /// Gives a command over the socket, as the default user.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let result = self.try_command(words);
        result.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, for commands that may fail.
    pub fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let url = if self.socket().exists() {
            format!("unix:{}", self.socket().display())
        } else {
            format!("redis://127.0.0.1:{}", self.port)
        };
        let mut connection = redis::Client::open(url)?.get_connection()?;
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd.query(&mut connection)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// Starts it again after a kill, on the same port and socket, with what its disk holds.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.child = Some(self.spawn().unwrap_or_else(|log| panic!("it does not start:\n{log}")));
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(status.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The user of docs/operations.md: its name, `on`, `>` and its password, its rights.
fn documented_user() -> Vec<&'static str> {
    let (_, line) = OPERATIONS.split_once("ACL SETUSER ").expect("a user is documented");
    line.lines().next().expect("a line").split_whitespace().collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn free_port() -> u16 {
    loop {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        if port <= PORT_MAX {
            return port;
        }
    }
}

/// Waits until `is_so`.
pub async fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(PATIENCE, what, is_so).await;
}

/// The same with a limit of its own.
pub async fn until_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        SystemClock.sleep(LOOK_EVERY).await;
    }
}

/// A master with a replica, and three Sentinels that agree about them.
pub struct SentinelTrio {
    /// The master at first.
    pub master: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    /// The Sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl SentinelTrio {
    /// Starts all five and waits until the Sentinels know each other and the replica.
    pub async fn start() -> Self {
        let master = RedisServer::on_a_port(&[]);
        let port = master.port.to_string();
        let replica = RedisServer::on_a_port(&["--replicaof", "127.0.0.1", &port]);
        until("the replica follows", || {
            let info: String = replica.command(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        })
        .await;
        let sentinels: Vec<RedisServer> =
            (0..3).map(|_| RedisServer::sentinel(master.port)).collect();
        until("the sentinels know all", || {
            sentinels.iter().all(|sentinel| {
                let known = |what: &str| -> usize {
                    sentinel.command::<Vec<redis::Value>>(&["SENTINEL", what, "cuelight"]).len()
                };
                known("SENTINELS") == 2 && known("REPLICAS") == 1
            })
        })
        .await;
        Self { master, replica, sentinels }
    }

    /// The address, with a Sentinel in front that does not exist.
    pub fn url(&self) -> String {
        let hosts = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("redis-sentinel://127.0.0.1:1,{hosts}/cuelight")
    }
}

/// Three nodes that share the slots.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts them and waits until each calls the cluster whole.
    pub async fn start() -> Self {
        const SLOTS: usize = 16_384;
        let start = |_| {
            let more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            RedisServer::on_a_port(&more)
        };
        let nodes: Vec<RedisServer> = (0..3).map(start).collect();
        for (at, node) in nodes.iter().enumerate() {
            let slots = (at * SLOTS / 3..(at + 1) * SLOTS / 3).map(|slot| slot.to_string());
            let mut words = owned(&["CLUSTER", "ADDSLOTS"]);
            words.extend(slots);
            node.command::<()>(&words.iter().map(String::as_str).collect::<Vec<_>>());
            node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
        }
        until("the cluster is whole", || {
            nodes.iter().all(|node| {
                let info: String = node.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        })
        .await;
        Self { nodes }
    }

    /// The address, with one of its nodes only.
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }
}
