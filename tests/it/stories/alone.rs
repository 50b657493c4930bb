//! `cuelight scan`, `explain` and `queue` without a server: the same answers, from the storage.

use std::ffi::OsString;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cuelight::cli::{self, Input, Streams};
use fake_github::{CallKind, Calls, FakeGitHub, Fault, World};
use tempfile::TempDir;

use super::commands::twelve_repositories;
use super::kill::configuration;
use crate::support::process::Served;
use crate::support::stage::{FILE, TOKEN, component};

/// A GitHub with twelve repositories, a folder, and nobody who serves.
pub(super) struct Scene {
    github: FakeGitHub,
    pub(super) dir: TempDir,
    pub(super) config: PathBuf,
    nowhere: String,
}

impl Scene {
    pub(super) async fn open() -> Self {
        let github = twelve_repositories().await;
        let dir = TempDir::new().expect("a temporary directory");
        let config = configuration(dir.path(), &github.url());
        let nowhere = nowhere();
        let text = std::fs::read_to_string(&config).expect("a file");
        let own = "internal: { listen: '127.0.0.1:0' }";
        let text = text.replace(own, &format!("internal: {{ listen: '{nowhere}' }}"));
        std::fs::write(&config, text).expect("a file");
        Self { github, dir, config, nowhere }
    }

    pub(super) fn world(&self) -> World {
        self.github.state()
    }

    fn has_database(&self) -> bool {
        let names = std::fs::read_dir(self.dir.path()).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        names.map(name).any(|name| name != "cuelight.yaml")
    }

    /// Exit code, standard output, standard error of the real binary.
    pub(super) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_cuelight"))
            .args(args)
            .arg("--config")
            .arg(&self.config)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("an exit code");
        (code, text(output.stdout), text(output.stderr))
    }

    /// The same in this process, for somebody at a terminal who types `typed`.
    async fn typing(&self, typed: &'static str, args: &[&str]) -> (u8, String, String) {
        let mut line: Vec<OsString> = vec!["cuelight".into()];
        line.extend(args.iter().map(OsString::from));
        line.extend(["--config".into(), self.config.clone().into_os_string()]);
        let run = move || {
            let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), Cursor::new(typed));
            let mut streams = Streams {
                out: &mut out,
                err: &mut err,
                input: Input::Typed(&mut input),
                is_drawn: false,
            };
            let code = cli::run(line, &mut streams);
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
            (code, text(out), text(err))
        };
        tokio::task::spawn_blocking(run).await.expect("it ends")
    }
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// The first `count` words of a line.
fn words(text: &str, line: usize, count: usize) -> Vec<&str> {
    text.lines().nth(line).unwrap_or_default().split_whitespace().take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_without_any_storage_tells_what_a_catalog_would_have_and_makes_no_file() {
    let scene = Scene::open().await;
    let two = format!("{}---\nkind: [", component("two", "service"));
    scene.world().put_file("acme/svc-03", FILE, two);
    let (code, out, err) = scene.run(&["scan", "--dry-run"]);
    assert_eq!(code, 0, "{err}");
    let first = "github.com/acme: 12 listed, 12 added, 0 changed, 0 removed\n";
    assert!(out.starts_with(first), "{out}");
    let svc = "\n  + acme/svc-00: it has a catalog file\n      component:default/svc-00\n";
    assert!(out.contains(svc), "{out}");
    let two = "      component:default/two\n    ! catalog-info.yaml:";
    assert!(out.contains(two), "{out}");
    let all = "\n  these have 12 entities (component 12) and 1 problems\n";
    assert!(out.ends_with(all), "{out}");
    assert!(err.contains(&format!("no server at {} and no storage yet", scene.nowhere)), "{err}");
    assert!(err.ends_with("keeps this catalog true\n"), "{err}");
    assert!(!scene.has_database());
    let (code, out, err) = scene.run(&["explain", "acme/svc-03"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("it has catalog-info.yaml and was not read yet"), "{out}");
    assert!(!scene.has_database());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_fills_the_catalog_without_a_server_and_a_server_finds_it() {
    let scene = Scene::open().await;
    scene.world().put_file("acme/svc-00", FILE, "a: [");
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(words(&out, 1, 5), ["github.com/acme", "12", "12", "0", "0"], "{out}");
    assert!(out.contains("holds 12 repositories with "), "{out}");
    assert!(out.ends_with(" and 1 problems\n"), "{out}");
    assert!(err.contains(&format!("no server at {}, working on sqlite:", scene.nowhere)), "{err}");
    assert!(err.ends_with("cuelight: scanning github.com/acme\n"), "{err}");
    let (code, out, _) = scene.run(&["scan", "--dry-run"]);
    assert_eq!(code, 0);
    let same = "github.com/acme: 12 listed, 0 added, 0 changed, 0 removed\n";
    assert_eq!(out, same, "nothing differs any more");
    let (code, out, err) = scene.run(&["explain", "acme/svc-03"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("entity         component:default/svc-03\n"), "{out}");

    let calls = scene.world().calls().len();
    let served = Served::start(&[], Path::new(env!("CARGO_BIN_EXE_cuelight")), &scene.config, &[]);
    let path = "/api/catalog/entities/by-name/component/default/svc-03";
    super::kill::eventually(&format!("{}{path}", served.internal)).await;
    assert_eq!(scene.world().calls().len(), calls, "it reads what the command has stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_use_is_left_alone_and_the_error_says_what_was_tried() {
    let scene = Scene::open().await;
    let _held = Served::start(&[], Path::new(env!("CARGO_BIN_EXE_cuelight")), &scene.config, &[]);
    let text = std::fs::read_to_string(&scene.config).expect("a file");
    let other = nowhere();
    std::fs::write(&scene.config, text.replace(&scene.nowhere, &other)).expect("a file");
    let commands: [&[&str]; 5] = [
        &["scan"],
        &["scan", "--dry-run"],
        &["scan", "--approve-removals", "acme", "--yes"],
        &["explain", "acme/pay"],
        &["queue", "ls"],
    ];
    for args in commands {
        let (code, out, err) = scene.run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        assert!(err.starts_with(&format!("cuelight: no server answers at {other} (")), "{err}");
        assert!(err.contains("is in use by another cuelight (process "), "{err}");
        assert!(err.contains("CUELIGHT_INTERNAL_LISTEN"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_the_scan_with_1_and_says_until_when() {
    let scene = Scene::open().await;
    let limited = Fault::Limited { status: 403, retry_after: Some(900), reset: None };
    scene.world().fail_next(1, Calls::Of(CallKind::Nodes), limited);
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 1, "{out}{err}");
    assert_eq!(words(&out, 1, 3), ["github.com/acme", "12", "12"], "{out}");
    assert!(err.contains("cuelight: github.com/acme rests until 20"), "{err}");
    assert!(err.contains("; 12 keys wait in the queue\n"), "{err}");
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 1, "the gate is kept: {out}");
    assert!(err.contains("the scan of github.com/acme could not run yet"), "{err}");
    let (_, out, _) = scene.run(&["queue", "ls", "--state", "waiting"]);
    assert!(out.contains("acme/svc-11"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_cannot_be_read_is_named_and_the_code_is_1() {
    let scene = Scene::open().await;
    let fault = Fault::NodeError {
        repository: "acme/svc-05".to_owned(),
        field: None,
        kind: "INTERNAL".to_owned(),
    };
    scene.world().fail_always(Calls::Of(CallKind::Nodes), fault);
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 1, "{out}{err}");
    assert_eq!(words(&out, 1, 5), ["github.com/acme", "12", "12", "0", "1"], "{out}");
    assert!(err.contains("cuelight: acme/svc-05 failed: "), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_removals_are_listed_asked_for_and_worked_off_without_a_server() {
    let scene = Scene::open().await;
    let args = ["scan", "--approve-removals", "acme"];
    let (code, _, err) = scene.run(&args);
    assert_eq!(code, 1);
    assert!(err.contains(", and there is no file "), "{err}");
    scene.run(&["scan"]);
    for i in 0..6 {
        scene.world().hide_repository(TOKEN, &format!("acme/svc-{i:02}"));
    }
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!((code, words(&out, 1, 4)[3]), (0, "6"), "{err}");
    assert!(err.contains("see them with `cuelight scan --approve-removals github.com/acme`"));

    let (code, out, err) = scene.run(&args);
    assert_eq!(code, 2, "nobody is there to be asked");
    assert!(out.contains("  acme/svc-05 (since ") && !out.contains("acme/svc-06"), "{out}");
    assert!(err.ends_with("cuelight: nothing was approved; give --yes to approve this list\n"));
    for no in ["\n", "n\n", "", "yess\n"] {
        let (code, out, _) = scene.typing(no, &args).await;
        assert_eq!(code, 1, "{no:?}");
        assert!(out.contains("approve the removal of these 6? [y/N] "), "{out}");
        assert!(out.ends_with("nothing was approved\n"), "{out}");
    }
    let (code, out, _) = scene.run(&["explain", "acme/svc-00"]);
    assert_eq!(code, 0);
    assert!(out.contains("standing       in the catalog\n"), "{out}");

    let (code, out, err) = scene.typing("YES\n", &args).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("approved: each of these 6 goes as soon as a read confirms"), "{out}");
    assert!(out.ends_with("the catalog holds 6 repositories with 12 entities and 0 problems\n"));
    let (code, out, _) = scene.run(&args);
    assert_eq!((code, out.as_str()), (0, "no removal waits for approval\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_provider_names_any_more_is_held_without_a_server_too() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    scene.world().create_organization("globex");
    scene.world().add_token(TOKEN, &["acme", "globex"]);
    let text = std::fs::read_to_string(&scene.config).expect("a file");
    let text = text.replace("organization: acme", "organization: globex");
    std::fs::write(&scene.config, text).expect("a file");
    let (code, _, err) = scene.run(&["scan"]);
    assert_eq!(code, 0, "{err}");
    let (_, out, _) = scene.run(&["explain", "acme/svc-00"]);
    assert!(out.contains("cuelight scan --approve-removals github.com/acme"), "{out}");
    let (code, out, err) = scene.run(&["scan", "--approve-removals", "acme", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.ends_with("the catalog holds 0 repositories with 0 entities and 0 problems\n"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_the_commands_say_what_to_give() {
    let scene = Scene::open().await;
    let text = std::fs::read_to_string(&scene.config).expect("a file");
    let text = text.split("catalog:").next().expect("the rest").to_owned();
    std::fs::write(&scene.config, text).expect("a file");
    for args in [&["scan"][..], &["scan", "--dry-run"], &["explain", "acme/svc-00"]] {
        let (code, out, err) = scene.run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?} {err}");
        assert!(err.contains("no provider is configured"), "{err}");
    }
    let (code, out, err) = scene.run(&["scan", "--dry-run", "--org", "acme"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("github.com/acme: 12 listed, 12 added"), "{out}");
    let (code, out, err) = scene.run(&["explain", "acme/svc-00", "--org", "acme"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!scene.has_database());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_webhooks_left_in_the_queue_is_worked_off_too() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    let served = Served::start(&[], Path::new(env!("CARGO_BIN_EXE_cuelight")), &scene.config, &[]);
    let limited = Fault::Limited { status: 403, retry_after: Some(1), reset: None };
    scene.world().fail_always(Calls::All, limited);
    let events = scene.world().put_file("acme/svc-00", FILE, component("svc-00", "website"));
    let hooks = fake_github::Webhooks::new();
    let secret = crate::support::stage::SECRET;
    let delivery =
        fake_github::signed(&events[0], secret, &hooks.guid(), fake_github::Format::Json);
    let url = format!("{}/webhooks/github", served.public);
    assert_eq!(hooks.post(&url, &delivery).await.expect("an answer").0, 202);
    served.terminate();
    scene.world().heal();
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        err.contains("cuelight: 1 repositories that webhooks named wait in the queue"),
        "{err}"
    );
    let (_, out, _) = scene.run(&["queue", "ls"]);
    assert_eq!(out, "no keys\n");
}
