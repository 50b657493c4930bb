//! `cuelight scan` and `cuelight explain`, typed beside a real `cuelight serve`.

use std::path::Path;
use std::process::{Command, Stdio};

use fake_github::{FakeGitHub, NewRepository, World};
use serde_json::Value;
use tempfile::TempDir;

use super::kill::{configuration, eventually};
use crate::support::http;
use crate::support::process::Served;
use crate::support::stage::{FILE, TOKEN, component};

/// A GitHub on which acme has `svc-00` to `svc-11`, each with a component of its name.
pub(super) async fn twelve_repositories() -> FakeGitHub {
    let github = FakeGitHub::start().await;
    let world = github.state();
    world.create_organization("acme");
    world.add_token(TOKEN, &["acme"]);
    for i in 0..12 {
        let name = format!("svc-{i:02}");
        let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
        world.create_repository("acme", new);
    }
    github
}

/// A server, its GitHub, and where its file is.
struct Scene {
    github: FakeGitHub,
    served: Served,
    _dir: TempDir,
}

impl Scene {
    /// Starts with twelve repositories that nobody has told of.
    async fn open() -> Self {
        let github = twelve_repositories().await;
        let dir = TempDir::new().expect("a temporary directory");
        let config = configuration(dir.path(), &github.url());
        let served = Served::start(&[], Path::new(env!("CARGO_BIN_EXE_cuelight")), &config, &[]);
        Self { github, served, _dir: dir }
    }

    fn world(&self) -> World {
        self.github.state()
    }

    /// Exit code, standard output, standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let address = self.served.internal.trim_start_matches("http://");
        command(address, args)
    }

    /// Waits until this component is in the catalog or until it is not.
    async fn wait_for(&self, name: &str, status: u16) {
        let path = format!("/api/catalog/entities/by-name/component/default/{name}");
        let url = format!("{}{path}", self.served.internal);
        if status == 200 {
            eventually(&url).await;
            return;
        }
        // Every answer is a round trip, so this asks as fast as the server answers and no faster.
        let deadline = tokio::time::Instant::now() + crate::support::stage::PATIENCE;
        while http::get(&url).await.0 != status {
            assert!(tokio::time::Instant::now() < deadline, "{url} is still there");
        }
    }

    async fn get(&self, path: &str) -> Value {
        http::get_json(&format!("{}{path}", self.served.internal)).await.1
    }
}

fn command(address: &str, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cuelight"))
        .args(args)
        .env_clear()
        .env("CUELIGHT_INTERNAL_LISTEN", address)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_seen_before_run_and_its_held_removals_are_approved() {
    let scene = Scene::open().await;
    let (code, out, err) = scene.run(&["scan", "--dry-run"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let first = "github.com/acme: 12 listed, 12 added, 0 changed, 0 removed\n";
    assert!(out.starts_with(first), "{out}");
    assert!(out.contains("  + acme/svc-00: it has a catalog file\n"), "{out}");
    assert_eq!(scene.get("/api/cuelight/v1/scans").await["total"], 0);

    let (code, out, err) = scene.run(&["scan", "acme"]);
    assert_eq!((code, err.as_str()), (0, "cuelight: scanning github.com/acme\n"), "{out}");
    let words = |line: &str| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(out.lines().nth(1).map(words).unwrap(), ["github.com/acme", "12", "12", "0"]);
    for i in 0..12 {
        scene.wait_for(&format!("svc-{i:02}"), 200).await;
    }

    for i in 0..6 {
        scene.world().hide_repository(TOKEN, &format!("acme/svc-{i:02}"));
    }
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().nth(1).map(words).unwrap(), ["github.com/acme", "6", "0", "6"]);
    let approve = "cuelight scan --approve-removals github.com/acme";
    assert!(err.ends_with(&format!("see them with `{approve}`\n")), "{err}");

    let (code, out, _) = scene.run(&["explain", "acme/svc-00"]);
    assert_eq!(code, 0);
    assert!(out.contains("standing       in the catalog\n"), "{out}");
    assert!(out.contains(&format!("approve it with `{approve}`")), "{out}");

    let args = ["scan", "--approve-removals", "github.com/acme"];
    let (code, out, err) = scene.run(&args);
    assert_eq!(code, 2);
    assert!(out.contains("  acme/svc-05 (since ") && !out.contains("acme/svc-06"), "{out}");
    assert_eq!(err, "cuelight: nothing was approved; give --yes to approve this list\n");
    let (code, out, err) = scene.run(&[&args[..], &["--yes"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\napproved: each of these 6 goes as soon as a read confirms"), "{out}");
    for i in 0..6 {
        scene.wait_for(&format!("svc-{i:02}"), 404).await;
    }
    scene.wait_for("svc-06", 200).await;
    let nothing = (0, "no removal waits for approval\n".to_owned(), String::new());
    assert_eq!(scene.run(&args), nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_of_repositories_in_and_out() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    scene.wait_for("svc-03", 200).await;
    let (code, out, err) = scene.run(&["explain", "acme/svc-03"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        "repository     acme/svc-03\n",
        "standing       in the catalog\n",
        "providers      default\n",
        "file           catalog-info.yaml, for provider default, blob ",
        "entity         component:default/svc-03\n",
        " for scan\n",
        "last scan      ended 20",
        "next scan      not scheduled: ",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    scene.world().create_repository("acme", NewRepository::named("tools").file("a", "b"));
    let (code, out, _) = scene.run(&["explain", "acme/tools"]);
    assert_eq!(code, 0);
    assert!(out.contains("there is no catalog-info.yaml on its default branch"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_scan_exits_1_and_says_why() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    let listing = fake_github::Calls::Of(fake_github::CallKind::List);
    scene.world().fail_next(9, listing, fake_github::Fault::Status(502));
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("cuelight: the scan of github.com/acme failed: "), "{err}");
    let (code, _, err) = scene.run(&["scan", "other"]);
    assert_eq!(code, 1);
    assert!(err.contains("`other` is no account of the configuration"), "{err}");
}
