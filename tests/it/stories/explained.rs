//! `cuelight explain` as people read it: for every standing each word is there, and what is
//! missing is said to be missing.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use cuelight::clock::SystemClock;
use cuelight::engine::Queue;
use cuelight::engine::queue::{Push, PushKey, Settlement};
use cuelight::engine::sqlite::{Options, SqliteEngine};
use cuelight::ids::{Account, FullName, Host, OwnerId};
use cuelight::work::{Hint, Lane, Reasons};
use fake_github::{NewRepository, Selection};
use serde_json::Value;

use super::alone::Scene;
use crate::support::apps::{APP, KEY, PUBLIC_KEY};
use crate::support::stage::{FILE, TOKEN, component};

/// What is always told.
const WORDS: [&str; 13] = [
    "repository",
    "standing",
    "why",
    "providers",
    "filter",
    "head",
    "file",
    "entity",
    "problem",
    "last event",
    "last reconcile",
    "last scan",
    "next scan",
];

/// What is told of a repository; every word is there.
#[track_caller]
fn explain(scene: &Scene, name: &str) -> String {
    let (code, out, err) = scene.run(&["explain", name]);
    assert_eq!((code, err.as_str()), (0, ""), "{name}: {out}");
    for word in WORDS {
        let has = out.lines().any(|line| line.starts_with(&format!("{word:14} ")));
        assert!(has, "{word} is missing: {out}");
    }
    out
}

#[track_caller]
fn check(scene: &Scene, name: &str, lines: &[&str]) {
    let out = explain(scene, name);
    for line in lines {
        let (word, value) = line.split_once(": ").expect("a word and what is told");
        let told = out.lines().filter(|l| l.starts_with(&format!("{word:14} ")));
        let has = told.clone().any(|told| told.contains(value));
        assert!(has, "`{line}` is not told of {name}:\n{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_standing_is_told_with_every_word() {
    let scene = Scene::open().await;
    let two = format!("{}---\n{}", component("svc-00", "service"), "kind: [");
    scene.world().put_file("acme/svc-00", FILE, two);
    let world = scene.world();
    world.create_repository("acme", NewRepository::named("bad").file(FILE, "kind: ["));
    assert_eq!(scene.run(&["scan"]).0, 0);
    world.create_repository("acme", NewRepository::named("tools").file("README.md", "hello"));
    let new = NewRepository::named("new").file(FILE, component("new", "service"));
    world.create_repository("acme", new);
    let old = NewRepository::named("old").file(FILE, component("old", "service"));
    world.create_repository("acme", old);
    world.archive("acme/old");
    world.archive("acme/svc-01");
    let never = "none: it was never read";
    let head = format!("head: {} on main", world.head("acme/svc-00", "main"));
    check(
        &scene,
        "acme/svc-00",
        &[
            "standing: in the catalog",
            "why: it has catalog-info.yaml",
            "providers: default",
            "filter: provider default: passes filters.allowArchived",
            &head,
            "file: catalog-info.yaml, for provider default, blob ",
            "entity: component:default/svc-00",
            "problem: catalog-info.yaml:",
            "problem: yaml-syntax: ",
            "last event: none known",
            "last reconcile: for scan",
            "next scan: no server runs",
        ],
    );
    check(&scene, "acme/bad", &["why: it has catalog-info.yaml, which gave no entity"]);
    check(
        &scene,
        "acme/tools",
        &[
            "standing: not in the catalog: no catalog file",
            "why: there is no catalog-info.yaml on its default branch",
            "providers: default",
            &format!("last reconcile: {never}"),
        ],
    );
    let why = "why: it has catalog-info.yaml and was not read yet; `cuelight scan`";
    check(&scene, "acme/new", &["standing: not in the catalog yet", why]);
    let filter = "filter: provider default: archived, and filters.allowArchived is false";
    let out = "standing: not wanted: a filter leaves it out";
    check(&scene, "acme/old", &[out, filter, "providers: none"]);
    let out = "why: no provider of the configuration names the owner `other`";
    check(&scene, "other/thing", &["standing: not ours", out, "filter: none"]);
    let out = "why: github.com does not show it to the credentials of acme";
    check(&scene, "acme/nothing", &["standing: GitHub does not show it", out]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_held_is_told_with_what_approves_it() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    for names in [["svc-00", "svc-01", "svc-02"], ["svc-03", "svc-04", "svc-05"]] {
        names.iter().for_each(|n| scene.world().hide_repository(TOKEN, &format!("acme/{n}")));
        assert_eq!(scene.run(&["scan"]).0, 0);
    }
    let all = ["svc-03", "svc-04", "svc-05"].map(|name| explain(&scene, &format!("acme/{name}")));
    let (_, out, err) = scene.run(&["scan"]);
    assert!(out.contains("  1     0       "), "HELD counts what the hour's allowance held: {out}");
    assert!(err.contains("cuelight: removals of github.com/acme are held; see them with"), "{err}");
    let held: Vec<_> = all.iter().filter(|out| out.contains("removal held   since 20")).collect();
    assert_eq!(held.len(), 1, "{all:?}");
    let approve = "approve it with `cuelight scan --approve-removals github.com/acme`\n";
    assert!(held[0].contains(approve), "{}", held[0]);
    assert!(held[0].contains("standing       in the catalog\n"), "{}", held[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_given_up_is_told_with_what_revives_it() {
    let scene = Scene::open().await;
    scene.run(&["scan"]);
    let (_, out, _) = scene.run(&["explain", "acme/svc-03", "--format", "json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let key = format!("repo:github.com:{}", told["record"]["id"]);
    let file = scene.dir.path().join("cuelight.db");
    let clock = Arc::new(SystemClock);
    let engine = SqliteEngine::open(&file, clock, Options::default()).expect("a file");
    let account = Account { host: Host::github_com(), owner: OwnerId(1) };
    let mut hint = Hint::new(Reasons::PUSH, cuelight::clock::Timestamp::EPOCH);
    hint.name = FullName::parse("acme/svc-03").ok();
    let parsed = key.parse().expect("a key");
    let push = PushKey { key: parsed, account, lane: Lane::Event, hint };
    engine.push(Push { delivery: None, keys: vec![push] }).await.expect("pushed");
    let taken = engine.take(1, cuelight::work::LEASE).await.expect("taken");
    let dead = Settlement::Dead { error: "it broke".to_owned() };
    engine.settle(vec![((&taken.leases[0]).into(), dead)]).await.expect("settled");
    engine.close().await;
    let revive =
        format!("queue: for push: it broke; try it again with `cuelight queue retry {key}`");
    check(&scene, "acme/svc-03", &["standing: in the catalog", "queue: given up 20", &revive]);
    let (code, out, err) = scene.run(&["queue", "show", &key]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for line in ["repository   acme/svc-03\n", "state        dead\n", "error        it broke\n"] {
        assert!(out.contains(line), "{out}");
    }
    assert_eq!(scene.run(&["queue", "retry", &key]).0, 0);
    assert_eq!(scene.run(&["scan"]).0, 0, "what was revived is worked on");
    let (code, _, err) = scene.run(&["queue", "show", &key]);
    assert_eq!(code, 1);
    assert!(err.contains("is not in the queue: nothing is to be done for it"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_installation_is_told_and_so_is_a_github_that_fails() {
    let scene = Scene::open().await;
    let now = std::fs::metadata(&scene.config).and_then(|file| file.modified()).expect("a time");
    let now = now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let world = scene.world();
    world.set_now(i64::try_from(now).expect("a time of our days"));
    world.register_app(APP, PUBLIC_KEY);
    let installation = world.install_app(APP, "acme", Selection::All);
    let key = scene.dir.path().join("key.pem");
    std::fs::write(&key, KEY).expect("a file");
    let text = std::fs::read_to_string(&scene.config).expect("a file");
    let app = format!("apps: [{{ appId: {APP}, privateKeyFile: '{}' }}]", key.display());
    let text = text.replace(&format!("token: {TOKEN}"), &app);
    let text = text.replace("organization: acme", &format!("app: {APP}"));
    std::fs::write(&scene.config, text).expect("a file");
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("github.com/acme "), "the account that the App led to: {out}");
    check(&scene, "acme/svc-03", &["standing: in the catalog", "providers: default"]);
    let (code, out, err) = scene.run(&["scan", "acme"]);
    assert_eq!(code, 0, "an account of an App that was not asked in this process: {out}{err}");

    world.suspend_installation(installation);
    let trouble = "trouble: the installation of App 4711 on acme is suspended";
    check(&scene, "acme/svc-03", &["standing: in the catalog", trouble]);
    let (code, out, err) = scene.run(&["scan"]);
    assert_eq!(code, 1, "{out}");
    assert!(err.contains("cuelight: scanning github.com/app 4711\n"), "{err}");
    assert!(err.contains("cuelight: the installation of App 4711 on acme is suspended"), "{err}");
    let unknown = "standing: not known: there is no record of it, and GitHub does not say";
    check(&scene, "acme/nothing", &[unknown, "why: is suspended"]);
    world.fail_always(fake_github::Calls::All, fake_github::Fault::Status(500));
    let trouble = "trouble: App 4711 on github.com is not known: ";
    let why = "why: App 4711 could not be asked whether it is installed on acme";
    check(&scene, "acme/nothing", &["standing: not known", why, trouble]);
    world.heal();
    let why = "why: no provider of the configuration names the owner `other`; App 4711 of provider \
               default is not installed there";
    check(&scene, "other/thing", &["standing: not ours", why]);
}
