//! Misfortunes that look like removals. Each is met by a scan and by pushes to every repository,
//! in either order, while it lasts: the catalog keeps what it has, health says why, and once the
//! cause is gone everything is right by itself.

use std::time::Duration;

use cuelight::catalog::process_file;
use cuelight::config::Config;
use fake_github::{CallKind, Calls, Event, Fault, NewRepository, Selection};

use crate::support::apps::{APP, PUBLIC_KEY};
use crate::support::stage::{FILE, Stage, TOKEN, component};
use crate::support::tenants::{OPENING_SECONDS, advance, by_app};

/// More than the brake lets go, whichever part of them is hit.
const REPOSITORIES: usize = 20;

const OTHER_KEY: &str = include_str!("../../../fixtures/github-app/another-key-for-tests.pub.pem");

/// What goes wrong, and what is said of it.
struct Misfortune {
    name: &'static str,
    /// What happens on GitHub; the number is the App's installation, if there is one.
    strikes: fn(&Stage, u64),
    /// What happens to the configuration.
    mistake: fn(&mut Config),
    /// How GitHub is put right; the configuration is put back.
    heals: fn(&Stage, u64),
    /// What some check that is not ok says.
    says: &'static str,
}

/// Nothing goes wrong yet: the base that each misfortune differs from.
const CALM: Misfortune = Misfortune {
    name: "",
    strikes: |_, _| {},
    mistake: |_| {},
    heals: |stage, _| stage.world().heal(),
    says: "",
};

#[derive(Clone, Copy)]
enum By {
    Token,
    App,
}

fn names() -> impl Iterator<Item = String> {
    (0..REPOSITORIES).map(|i| format!("svc-{i}"))
}

/// Half of them are private.
async fn stage(by: By) -> (Stage, u64) {
    let stage = match by {
        By::Token => Stage::with(|_| {}, process_file).await,
        By::App => Stage::with(by_app, process_file).await,
    };
    let world = stage.world();
    world.set_now(OPENING_SECONDS);
    world.register_app(APP, PUBLIC_KEY);
    let installation = match by {
        By::Token => 0,
        By::App => world.install_app(APP, "acme", Selection::All),
    };
    for (i, name) in names().enumerate() {
        let visibility = if i % 2 == 0 { "public" } else { "private" };
        let new = NewRepository::named(&name).visibility(visibility);
        world.create_repository("acme", new.file(FILE, component(&name, "service")));
    }
    stage.scan().await;
    assert_eq!(stage.components().await, REPOSITORIES as u64);
    assert_eq!(stage.get("/health").await.1["status"], "ok");
    (stage, installation)
}

/// A scan as its schedule starts it; what it cannot start is told, as the schedule would.
async fn scan(stage: &Stage) -> String {
    let started = stage.app.push_scan(&stage.config.providers[0]).await;
    stage.work().await;
    started.err().unwrap_or_default()
}

async fn push_to_all(stage: &Stage) {
    for name in names() {
        let text = component(&name, "website");
        stage.cue(&stage.world().put_file(&format!("acme/{name}"), FILE, text)).await;
    }
    stage.work().await;
}

/// Retries run too while it lasts.
async fn wait(stage: &Stage) {
    for _ in 0..3 {
        advance(stage, Duration::from_secs(20));
        stage.work().await;
    }
}

async fn met(misfortune: &Misfortune, by: By, scan_first: [bool; 2]) {
    let Misfortune { name, strikes, mistake, heals, says } = misfortune;
    let (stage, installation) = stage(by).await;
    let usual = stage.config.clone();
    strikes(&stage, installation);
    let mut stage = stage.restart_with(mistake).await;
    let mut told = String::new();
    for is_scan in scan_first {
        if is_scan {
            told += &scan(&stage).await;
        } else {
            push_to_all(&stage).await;
        }
        assert_eq!(stage.components().await, REPOSITORIES as u64, "{name}, scan: {is_scan}");
        wait(&stage).await;
        assert_eq!(stage.components().await, REPOSITORIES as u64, "{name}, scan: {is_scan}");
        let (_, health) = stage.get("/health").await;
        for check in health["checks"].as_object().expect("checks").values() {
            if check["state"] != "ok" {
                told += check["detail"].as_str().expect("a text");
            }
        }
    }
    assert!(told.contains(says), "{name}: {told}");
    heals(&stage, installation);
    stage = stage.restart_with(|config| *config = usual).await;
    for _ in 0..2 {
        advance(&stage, Duration::from_secs(120));
        scan(&stage).await;
    }
    for repository in names() {
        let kind = stage.type_of(&repository).await;
        assert_eq!(kind.as_deref(), Some("website"), "{name}: {repository} after it");
    }
    let (_, health) = stage.get("/health").await;
    assert_eq!(health["status"], "ok", "{name}: {health}");
}

async fn check(by: &[By], misfortunes: &[Misfortune]) {
    for misfortune in misfortunes {
        for by in by {
            for order in [[true, false], [false, true]] {
                met(misfortune, *by, order).await;
            }
        }
    }
}

fn hide(stage: &Stage, nth: usize) {
    for name in names().skip(1).step_by(nth).chain(names().take(2 - nth)) {
        stage.world().hide_repository(TOKEN, &format!("acme/{name}"));
    }
}

fn show_all(stage: &Stage, _: u64) {
    names().for_each(|name| stage.world().show_repository(TOKEN, &format!("acme/{name}")));
}

fn listed_short(stage: &Stage, total: Option<usize>) {
    stage.world().fail_always(Calls::Of(CallKind::List), Fault::ShortList { keep: 8, total });
}

fn always(stage: &Stage, calls: Calls, fault: Fault) {
    stage.world().fail_always(calls, fault);
}

#[tokio::test]
async fn lists_and_answers_that_are_not_whole_take_nothing_along() {
    let misfortunes = [
        Misfortune {
            name: "a list without end, half of it",
            strikes: |stage, _| listed_short(stage, None),
            says: "GitHub no longer lists",
            ..CALM
        },
        Misfortune {
            name: "half a list that says it is whole",
            strikes: |stage, _| listed_short(stage, Some(8)),
            says: "GitHub no longer lists",
            ..CALM
        },
        Misfortune {
            name: "an empty list",
            strikes: |stage, _| {
                let fault = Fault::ShortList { keep: 0, total: Some(0) };
                always(stage, Calls::Of(CallKind::List), fault);
            },
            says: "GitHub no longer lists",
            ..CALM
        },
        Misfortune {
            name: "nodes that are null",
            strikes: |stage, _| always(stage, Calls::Graphql, Fault::ResourceLimits { keep: 3 }),
            says: "Resource limits",
            ..CALM
        },
        Misfortune {
            name: "no data",
            strikes: |stage, _| {
                always(stage, Calls::Graphql, Fault::NoData { kind: "INTERNAL".to_owned() });
            },
            says: "INTERNAL",
            ..CALM
        },
    ];
    check(&[By::Token, By::App], &misfortunes).await;
}

#[tokio::test]
async fn a_github_in_trouble_takes_nothing_along() {
    let misfortunes = [
        Misfortune {
            name: "500 for everything",
            strikes: |stage, _| always(stage, Calls::All, Fault::Status(500)),
            says: "answered 500",
            ..CALM
        },
        Misfortune {
            name: "a proxy's page",
            strikes: |stage, _| always(stage, Calls::All, Fault::Html(200)),
            says: "something",
            ..CALM
        },
        Misfortune {
            name: "a limit",
            strikes: |stage, _| {
                let fault = Fault::Limited { status: 403, retry_after: Some(90), reset: None };
                always(stage, Calls::All, fault);
            },
            says: "rate limit",
            ..CALM
        },
    ];
    check(&[By::Token, By::App], &misfortunes).await;
    for (by, says) in [(By::Token, "check `apiBaseUrl`"), (By::App, "404")] {
        let elsewhere = Misfortune {
            name: "404 for everything, as from another server",
            strikes: |stage, _| always(stage, Calls::All, Fault::Status(404)),
            says,
            ..CALM
        };
        check(&[by], &[elsewhere]).await;
    }
}

#[tokio::test]
async fn a_token_that_sees_less_takes_nothing_along() {
    let misfortunes = [
        Misfortune {
            name: "all repositories lost",
            strikes: |stage, _| hide(stage, 1),
            heals: show_all,
            says: "GitHub does not show it",
            ..CALM
        },
        Misfortune {
            name: "all private repositories lost",
            strikes: |stage, _| hide(stage, 2),
            heals: show_all,
            says: "GitHub does not show it",
            ..CALM
        },
        Misfortune {
            name: "a revoked token",
            strikes: |stage, _| stage.world().revoke_token(TOKEN),
            heals: |stage, _| stage.world().add_token(TOKEN, &["acme"]),
            says: "does not accept the token",
            ..CALM
        },
        Misfortune {
            name: "a token of another organisation",
            strikes: |stage, _| stage.world().add_token(TOKEN, &[]),
            heals: |stage, _| stage.world().add_token(TOKEN, &["acme"]),
            says: "no user or organisation `acme`",
            ..CALM
        },
        Misfortune {
            name: "a token without rights",
            strikes: |stage, _| {
                always(stage, Calls::Graphql, Fault::NoData { kind: "FORBIDDEN".to_owned() });
            },
            says: "refuses the token",
            ..CALM
        },
    ];
    check(&[By::Token], &misfortunes).await;
}

#[tokio::test]
async fn a_mistake_in_the_configuration_takes_nothing_along() {
    let misfortunes = [
        Misfortune {
            name: "another organisation",
            strikes: |stage, _| {
                stage.world().create_organization("amce");
                stage.world().add_token(TOKEN, &["acme", "amce"]);
            },
            mistake: |config| config.providers[0].organization = "amce".to_owned(),
            says: "no provider names acme",
            ..CALM
        },
        Misfortune {
            name: "no organisation",
            mistake: |config| config.providers[0].organization = "amce".to_owned(),
            says: "no user or organisation `amce`",
            ..CALM
        },
        Misfortune {
            name: "a topic that none has",
            mistake: |config| {
                config.providers[0].filters.topics_include = vec!["catalgo".to_owned()];
            },
            says: "filters no longer let in",
            ..CALM
        },
        Misfortune {
            name: "a visibility that half have not",
            mistake: |config| config.providers[0].filters.visibility = vec!["private"],
            says: "filters no longer let in",
            ..CALM
        },
        Misfortune {
            name: "a path that is nowhere",
            mistake: |config| {
                config.providers[0].catalog_paths = vec!["catalgo-info.yaml".to_owned()];
            },
            says: "that have no catalog file any more",
            ..CALM
        },
        Misfortune {
            name: "a server that has no such paths",
            mistake: |config| config.integrations[0].api_base_url += "/nowhere",
            says: "check `apiBaseUrl`",
            ..CALM
        },
    ];
    check(&[By::Token], &misfortunes).await;
}

#[tokio::test]
async fn an_app_that_sees_less_takes_nothing_along() {
    let misfortunes = [
        Misfortune {
            name: "a suspended installation",
            strikes: |stage, id| drop(stage.world().suspend_installation(id)),
            heals: |stage, id| drop(stage.world().unsuspend_installation(id)),
            says: "suspended",
            ..CALM
        },
        Misfortune {
            name: "an App that was uninstalled unheard",
            strikes: |stage, id| drop(stage.world().uninstall_app(id)),
            heals: |stage, _| {
                stage.world().install_app(APP, "acme", Selection::All);
            },
            says: "no App",
            ..CALM
        },
        Misfortune {
            name: "another key",
            strikes: |stage, _| stage.world().register_app(APP, OTHER_KEY),
            heals: |stage, _| stage.world().register_app(APP, PUBLIC_KEY),
            says: "does not accept App 4711",
            ..CALM
        },
        Misfortune {
            name: "tokens that are refused",
            strikes: |stage, _| {
                always(stage, Calls::Of(CallKind::AccessToken), Fault::Status(403));
            },
            says: "403",
            ..CALM
        },
        Misfortune {
            name: "a selection that was narrowed unheard",
            strikes: |stage, id| {
                let taken: Vec<String> = names().skip(4).map(|n| format!("acme/{n}")).collect();
                let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
                stage.world().deselect(id, &taken);
            },
            heals: |stage, id| drop(stage.world().select_all(id)),
            says: "GitHub no longer lists",
            ..CALM
        },
    ];
    check(&[By::App], &misfortunes).await;
}

#[tokio::test]
async fn a_token_revoked_between_two_pages_takes_nothing_along() {
    let stage = Stage::open().await;
    stage.create(120);
    stage.scan().await;
    let world = stage.world();
    world.delete_repository("acme/svc-0");
    stage.app.push_scan(&stage.config.providers[0]).await.expect("the key is pushed");
    // The first page is let through.
    world.fail_next(1, Calls::Of(CallKind::List), Fault::Latency(Duration::ZERO));
    world.fail_always(Calls::All, Fault::Status(401));
    stage.work().await;
    assert_eq!(stage.components().await, 120);
    let told = stage.check("scan:github.com/acme").await["detail"].to_string();
    assert!(told.contains("does not accept the token"), "{told}");
    world.heal();
    advance(&stage, Duration::from_secs(61));
    stage.work().await;
    assert_eq!(stage.components().await, 119);
    assert_eq!(stage.get("/health").await.1["status"], "ok");
}

#[tokio::test]
async fn deletions_that_are_told_and_not_true_take_nothing_along() {
    for by in [By::Token, By::App] {
        let (stage, _) = stage(by).await;
        for name in names() {
            let told = stage.world().set_topics(&format!("acme/{name}"), &["money"]);
            let mut payload = told[0].payload.clone();
            payload["action"] = "deleted".into();
            stage.cue(&[Event { name: "repository".to_owned(), payload }]).await;
        }
        wait(&stage).await;
        assert_eq!(stage.components().await, REPOSITORIES as u64);
        assert_eq!(stage.get("/health").await.1["status"], "ok");
    }
}

#[tokio::test]
async fn a_filter_that_hits_few_is_a_wish_and_so_is_its_end() {
    let (stage, _) = stage(By::Token).await;
    let few = |config: &mut Config| {
        let most = regex::Regex::new("^svc-[0-9]+[0-6]$|^svc-[0-9]$").expect("a pattern");
        config.providers[0].filters.repository = Some(most);
    };
    let stage = stage.restart_with(few).await;
    push_to_all(&stage).await;
    assert_eq!(stage.components().await, 20, "a push is no wish");
    scan(&stage).await;
    assert_eq!(stage.components().await, 17);
    assert_eq!(stage.get("/health").await.1["status"], "ok");
    let stage = stage.restart_with(|config| config.providers[0].filters.repository = None).await;
    scan(&stage).await;
    assert_eq!(stage.components().await, 20);
}
