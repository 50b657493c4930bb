//! The main job with no credentials: a stand-in GitHub, a real cuelight, and a short story.
//!
//! `cargo run --release --example demo` tells the story and stays up until Ctrl-C; with `--once`
//! it ends after the story.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cuelight::app::{App, Parts};
use cuelight::catalog::View;
use cuelight::config::{Config, Frequency, Integration, Provider, Schedule, Storage};
use fake_github::{Event, FakeGitHub, NewRepository, Webhooks, World};
use secrecy::SecretString;

const SECRET: &str = "demo secret";
const FILE: &str = "catalog-info.yaml";
const REPOSITORIES: usize = 48;
const PATIENCE: Duration = Duration::from_secs(20);

/// What GitHub's network takes to answer, roughly.
const ROUND_TRIP: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let once = std::env::args().any(|argument| argument == "--once");
    cuelight::github::install_crypto_provider();
    let github = FakeGitHub::start().await;
    let world = github.state();
    fill(&world);
    world.fail_always(fake_github::Calls::All, fake_github::Fault::Latency(ROUND_TRIP));
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let app = App::start(settings(&github.url(), dir.path())?, Parts::default()).await?;
    let demo = Demo { app, hooks: Webhooks::new() };
    demo.tell(&world).await?;
    if !once {
        say("\nAll of it stays up. Ctrl-C ends it.");
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    }
    demo.app.stop().await
}

struct Demo {
    app: App,
    hooks: Webhooks,
}

impl Demo {
    async fn tell(&self, world: &World) -> anyhow::Result<()> {
        say("cuelight demo: a stand-in GitHub that answers after 50 ms, and a real server.\n");
        let started = Instant::now();
        let all = |view: &View| view.entity("component:default/service-47").is_some();
        self.until(&all, |view| view.entity("component:default/service-0").is_some()).await?;
        let calls = world.calls().len();
        say(&format!(
            "first scan: {REPOSITORIES} repositories in {} ms with {calls} calls to GitHub\n",
            started.elapsed().as_millis()
        ));
        self.idle().await?;
        say("                                              accepted  reconciled  visible   (ms)");
        let is = |name: &'static str, wanted: &'static str| {
            move |view: &View| type_of(view, name).as_deref() == Some(wanted)
        };
        let pushed = world.put_file("acme/service-7", FILE, component("service-7", "website"));
        self.cue("a push changes service-7", pushed, is("service-7", "website")).await?;
        let new = NewRepository::named("checkout").file(FILE, component("checkout", "service"));
        let created = world.create_repository("acme", new);
        self.cue("a repository is created: checkout", created, is("checkout", "service")).await?;
        let broken = component("checkout", "service").replace("  owner: team-a\n", "");
        let pushed = world.put_file("acme/checkout", FILE, broken);
        let problem = |view: &View| view.counts().problems == 1;
        self.cue("a push breaks its file: a problem", pushed, problem).await?;
        self.show_problem().await?;
        let pushed = world.put_file("acme/checkout", FILE, component("checkout", "library"));
        self.cue("a push mends it", pushed, is("checkout", "library")).await?;
        let deleted = world.delete_repository("acme/service-9");
        let gone = |view: &View| view.entity("component:default/service-9").is_none();
        self.cue("a repository is deleted: service-9", deleted, gone).await?;
        self.show_addresses();
        Ok(())
    }

    /// Delivers events and prints how long it took until the catalog shows them.
    async fn cue(
        &self,
        what: &str,
        events: Vec<Event>,
        visible: impl Fn(&View) -> bool,
    ) -> anyhow::Result<()> {
        let url = format!("http://{}/webhooks/github", self.app.public);
        let store = &self.app.worker.store;
        let before = store.last_seq().await?;
        let started = Instant::now();
        for event in &events {
            let (status, body) = self.hooks.deliver(&url, SECRET, event).await;
            ensure!(status == 202, "the webhook was answered {status}: {body}");
        }
        let accepted = started.elapsed();
        let deadline = Instant::now() + PATIENCE;
        while store.last_seq().await? == before {
            ensure!(Instant::now() < deadline, "not reconciled in time");
            store.wait_change(before, PATIENCE).await;
        }
        let reconciled = started.elapsed();
        self.until(&visible, |_| true).await?;
        let shown = started.elapsed();
        let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1000.0);
        let (accepted, reconciled, shown) = (ms(accepted), ms(reconciled), ms(shown));
        say(&format!("  {what:<42}{accepted:>10}{reconciled:>12}{shown:>9}"));
        self.idle().await
    }

    /// Waits until nothing of the act before is under way, so that the next one is measured alone.
    async fn idle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            let stats = self.app.inspect.stats().await?;
            if stats.waiting_event + stats.waiting_scan + stats.held == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the queue does not become empty");
            ticks.tick().await;
        }
    }

    async fn until(
        &self,
        first: impl Fn(&View) -> bool,
        second: impl Fn(&View) -> bool,
    ) -> anyhow::Result<()> {
        let mut view = self.app.view.clone();
        let shown = view.wait_for(|view: &Arc<View>| first(view) && second(view));
        tokio::time::timeout(PATIENCE, shown).await.context("not visible in time")??;
        Ok(())
    }

    async fn show_problem(&self) -> anyhow::Result<()> {
        let view = Arc::clone(&self.app.view.borrow());
        let problem = view.problems().first().cloned().context("there is a problem")?;
        let at = &problem.problem;
        let place = format!("{}/{}:{}:{}", problem.repository, at.path, at.line, at.column);
        say(&format!("      {place}  {}: {}", at.code, at.message));
        Ok(())
    }

    fn show_addresses(&self) {
        let internal = self.app.internal;
        say("");
        say(&format!("catalog   http://{internal}/api/catalog/entities?filter=kind=component"));
        say(&format!(
            "one       http://{internal}/api/catalog/entities/by-name/component/default/checkout"
        ));
        say(&format!("problems  http://{internal}/api/cuelight/v1/problems"));
        say(&format!("came in   http://{internal}/api/cuelight/v1/deliveries"));
        say(&format!("health    http://{internal}/health"));
        say(&format!("webhooks  http://{}/webhooks/github", self.app.public));
    }
}

fn type_of(view: &View, name: &str) -> Option<String> {
    let entity = view.entity(&format!("component:default/{name}"))?;
    let entity: serde_json::Value = view.json(entity);
    Some(entity["spec"]["type"].as_str()?.to_owned())
}

fn fill(world: &World) {
    world.create_organization("acme");
    world.add_token("demo-token", &["acme"]);
    for i in 0..REPOSITORIES {
        let name = format!("service-{i}");
        let new = NewRepository::named(&name).file(FILE, component(&name, "service"));
        world.create_repository("acme", new);
    }
}

fn settings(api: &str, dir: &Path) -> anyhow::Result<Config> {
    let mut config = Config::defaults();
    config.server.public_listen = ([127, 0, 0, 1], 0).into();
    config.server.internal_listen = ([127, 0, 0, 1], 0).into();
    config.webhooks.secrets = vec![SecretString::from(SECRET)];
    config.storage = Storage::Sqlite(dir.join("cuelight.db"));
    config.integrations = vec![Integration {
        host: "github.com".to_owned(),
        api_base_url: api.to_owned(),
        token: Some(SecretString::from("demo-token")),
        apps: Vec::new(),
    }];
    config.providers = vec![Provider {
        id: "default".to_owned(),
        host: "github.com".to_owned(),
        organization: "acme".to_owned(),
        app: None,
        catalog_paths: vec![FILE.to_owned()],
        filters: cuelight::config::Filters::default(),
        schedule: Schedule {
            frequency: Frequency::Every(Duration::from_secs(1200)),
            initial_delay: Duration::ZERO,
            timeout: Duration::from_secs(60),
        },
        heartbeat: Frequency::Manual,
    }];
    Ok(config)
}

fn component(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
         spec:\n  type: {kind}\n  lifecycle: production\n  owner: team-a\n"
    )
}

#[expect(clippy::print_stdout, reason = "the demo tells its story on stdout")]
fn say(line: &str) {
    println!("{line}");
}
