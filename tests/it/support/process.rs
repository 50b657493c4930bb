//! The real program as a child process: started, asked where it listens, killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for the program to listen.
const START_MAX: Duration = Duration::from_secs(30);

/// A running `cuelight serve`.
pub struct Served {
    child: Child,
    log: Option<JoinHandle<Vec<String>>>,
    /// `http://address` of the public listener.
    pub public: String,
    /// `http://address` of the internal listener.
    pub internal: String,
}

impl Served {
    /// Starts `binary serve --config CONFIG` with these variables and nothing else of cuelight's in
    /// the environment, and waits until it listens. A `prefix` such as `taskset` goes before it.
    pub fn start(prefix: &[&str], binary: &Path, config: &Path, env: &[(&str, &str)]) -> Self {
        Self::try_start(prefix, binary, config, env)
            .unwrap_or_else(|log| panic!("the program does not listen:\n{log}"))
    }

    /// The same; an error is what a program wrote that does not listen.
    pub fn try_start(
        prefix: &[&str],
        binary: &Path,
        config: &Path,
        env: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut words = prefix.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        words.push(binary.display().to_string());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--config"])
            .arg(config)
            .env_remove("GITHUB_TOKEN")
            .env_remove("RUST_LOG")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, addresses) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                for name in ["webhooks: ", "catalog: "] {
                    if let Some((_, url)) = line.split_once(name) {
                        let _ = sender.send((name, url.to_owned()));
                    }
                }
                lines.push(line);
            }
            lines
        });
        let mut served =
            Self { child, log: Some(log), public: String::new(), internal: String::new() };
        while served.public.is_empty() || served.internal.is_empty() {
            match addresses.recv_timeout(START_MAX) {
                Ok(("webhooks: ", url)) => served.public = authority(&url),
                Ok((_, url)) => served.internal = authority(&url),
                Err(_) => {
                    let _ = served.child.kill();
                    return Err(served.log().join("\n"));
                }
            }
        }
        Ok(served)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of ours")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        self.log()
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> (ExitStatus, Vec<String>) {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        let status = self.child.wait().expect("it ends");
        (status, self.log())
    }

    /// SIGSTOP: it holds its connections and does nothing.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(status.success());
    }

    fn log(&mut self) -> Vec<String> {
        self.log.take().map(|log| log.join().expect("the log is read")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `http://host:port` of a URL.
fn authority(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}
