//! The stream of changes over real sockets: what a mirror gets, and what a stream may cost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cuelight::catalog::{Entity, RepoEntry, RepoId, View};
use cuelight::config::InternalAuth;
use cuelight::http::listener::{Limits, serve};
use cuelight::http::streams::STREAMS_MAX;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{bookshop, open};
use crate::support::catalogs::{PATH, component, entity, file, related, repository};
use crate::support::http;
use crate::support::http_client::Connection;
use crate::support::internal_api::InternalApi;
use crate::support::sse::{CHANGES, Event, Feed, Mirror};

/// The listener on a socket.
struct Served {
    api: InternalApi,
    address: SocketAddr,
    origin: String,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(view: View) -> Self {
        Self::with(open(view), Limits::default()).await
    }

    async fn with(api: InternalApi, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, api.router(), limits, api.stop.clone()));
        Self { api, address, origin: format!("http://{address}"), serving }
    }

    async fn feed(&self, id: Option<&str>) -> Feed {
        Feed::open(&self.origin, id).await
    }

    /// A mirror that has what is there now.
    async fn mirror(&self) -> (Mirror, Feed) {
        let (mut mirror, mut feed) = (Mirror::default(), self.feed(None).await);
        mirror.follow(&mut feed).await;
        (mirror, feed)
    }

    fn change(&self, change: impl FnOnce(&View) -> View) {
        let next = change(&self.api.view.borrow());
        self.api.view.send_replace(next.into());
    }

    async fn entities(&self) -> Value {
        http::get_json(&format!("{}/api/catalog/entities", self.origin)).await.1
    }
}

fn titled(name: &str, title: &str) -> Entity {
    entity(json!({
        "apiVersion": "backstage.io/v1alpha1", "kind": "Component",
        "metadata": {"name": name, "namespace": "default", "title": title},
    }))
}

/// A repository that holds these.
fn holding(id: u64, seq: u64, entities: Vec<Entity>) -> RepoEntry {
    repository(id, seq, vec![file(PATH, 1, entities)])
}

fn events(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect()
}

#[tokio::test]
async fn a_new_consumer_gets_the_whole_catalog_and_then_each_change() {
    let served = Served::start(bookshop()).await;
    let request = Request::get(format!("{}{CHANGES}", served.origin));
    let request = request.header("accept-encoding", "gzip, br, zstd");
    let mut feed = Feed::ask(request.body(Full::default()).unwrap()).await;
    assert_eq!(feed.status.as_u16(), 200);
    assert_eq!(feed.header("content-type"), "text/event-stream");
    assert_eq!(feed.header("cache-control"), "no-cache");
    assert_eq!(feed.header("x-accel-buffering"), "no");
    assert_eq!(feed.header("content-encoding"), "");
    let first = feed.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_deref()), ("snapshot", Some("1-open")));
    assert_eq!(first.data, json!({"seq": 1, "entities": 6, "reason": "new"}));
    let mut mirror = Mirror::default();
    mirror.apply(&first);
    assert_eq!(mirror.follow(&mut feed).await.len(), 6);
    mirror.assert_equals(&served.entities().await);

    served.change(|view| view.with_repository(holding(2, 2, vec![titled("pay", "one")])));
    let pay = "component:default/pay";
    assert_eq!(mirror.follow(&mut feed).await, events(&[("upsert", pay)]));
    mirror.assert_equals(&served.entities().await);
    served.change(|view| view.without_repository(&RepoId::new("github.com", 2)));
    assert_eq!(mirror.follow(&mut feed).await, events(&[("delete", pay)]));
    mirror.assert_equals(&served.entities().await);
}

#[tokio::test]
async fn a_change_tells_of_every_entity_that_it_changes() {
    let served = Served::start(View::empty().complete_to(0)).await;
    let (mut mirror, mut feed) = served.mirror().await;
    let (a, b) = ("component:default/a", "component:default/b");
    served.change(|view| view.with_repository(holding(1, 1, vec![component("a")])));
    assert_eq!(mirror.follow(&mut feed).await, events(&[("upsert", a)]));
    let user = |target: &str| related(component("b"), "dependsOn", target, "dependencyOf");
    served.change(|view| view.with_repository(holding(2, 2, vec![user(a)])));
    assert_eq!(mirror.follow(&mut feed).await, events(&[("upsert", a), ("upsert", b)]));
    assert_eq!(mirror.entities[a]["relations"][0]["targetRef"], b);
    // What is not in the catalog is not told of.
    served.change(|view| view.with_repository(holding(2, 3, vec![user("component:default/x")])));
    assert_eq!(mirror.follow(&mut feed).await, events(&[("upsert", a), ("upsert", b)]));
    // The next claim on a ref takes over.
    served.change(|view| view.with_repository(holding(3, 4, vec![titled("a", "second")])));
    served.change(|view| view.without_repository(&RepoId::new("github.com", 1)));
    assert_eq!(mirror.follow(&mut feed).await, events(&[("upsert", a)]));
    assert_eq!(mirror.entities[a]["metadata"]["title"], "second");
    mirror.assert_equals(&served.entities().await);
}

#[tokio::test]
async fn what_changes_nothing_that_is_shown_is_not_told() {
    let served = Served::start(bookshop()).await;
    let (mut mirror, mut feed) = served.mirror().await;
    served.change(|view| view.with_repository(holding(2, 2, Vec::new())));
    served.change(|view| view.complete_to(9));
    served.change(|view| view.with_repository(holding(3, 10, vec![component("pay")])));
    let told = mirror.follow(&mut feed).await;
    assert_eq!(told, events(&[("upsert", "component:default/pay")]));
}

#[tokio::test]
async fn who_comes_back_with_an_id_gets_what_changed_meanwhile() {
    let served = Served::start(bookshop()).await;
    let (mut mirror, feed) = served.mirror().await;
    drop(feed);
    let id = mirror.id.clone().unwrap();
    let mut feed = served.feed(Some(&id)).await;
    assert_eq!(mirror.follow(&mut feed).await, events(&[]), "it is told that it has all");
    assert_eq!(mirror.id.as_ref(), Some(&id));
    drop(feed);
    for (seq, title) in [(2, "one"), (3, "two"), (4, "three")] {
        let entities = vec![titled("pay", title), component(&format!("only-{seq}"))];
        served.change(|view| view.with_repository(holding(2, seq, entities)));
    }
    let mut feed = served.feed(Some(&id)).await;
    let told = mirror.follow(&mut feed).await;
    let expected = [
        ("delete", "component:default/only-2"),
        ("delete", "component:default/only-3"),
        ("upsert", "component:default/only-4"),
        ("upsert", "component:default/pay"),
    ];
    assert_eq!(told, events(&expected), "each is told once, as it is now");
    mirror.assert_equals(&served.entities().await);
    assert_eq!(mirror.snapshots, ["new"]);
}

#[tokio::test]
async fn an_id_that_nobody_gave_leads_to_a_snapshot() {
    let served = Served::start(bookshop()).await;
    let (mirror, _feed) = served.mirror().await;
    let id = mirror.id.unwrap();
    let digest = id.split_once('-').unwrap().1.to_owned();
    let mut wrong: Vec<String> =
        ["?", "1", "-", "1-", "1-zz", "1-opened"].map(str::to_owned).to_vec();
    wrong.extend([
        digest.clone(),
        format!("1-{}", "0".repeat(32)),
        format!("1-+{}", &digest[1..]),
        format!("{id}0"),
        format!("1-{}", "f".repeat(4_000)),
    ]);
    for wrong in wrong {
        let gone = ("component:default/gone".to_owned(), json!({}));
        let mut mirror = Mirror::holding([gone].into());
        mirror.follow(&mut served.feed(Some(&wrong)).await).await;
        assert_eq!(mirror.snapshots, ["unknown"], "{wrong}");
        assert_eq!(mirror.id.as_ref(), Some(&id));
        mirror.assert_equals(&served.entities().await);
    }
}

#[tokio::test]
async fn an_id_may_stand_in_the_address_and_a_header_counts_more() {
    let served = Served::start(bookshop()).await;
    let (mirror, _feed) = served.mirror().await;
    let id = mirror.id.unwrap();
    let reasons = async |after: &str, header: &str| {
        let request = Request::get(format!("{}{CHANGES}?after={after}", served.origin));
        let request = request.header("last-event-id", header);
        let mut feed = Feed::ask(request.body(Full::<Bytes>::default()).unwrap()).await;
        let mut mirror = Mirror::holding(mirror.entities.clone());
        mirror.follow(&mut feed).await;
        mirror.snapshots
    };
    assert_eq!(reasons(&id, "").await, [""; 0]);
    assert_eq!(reasons("old", &id).await, [""; 0]);
    assert_eq!(reasons(&id, "old").await, ["unknown"]);
    let wrong = http::get(&format!("{}{CHANGES}?since=1", served.origin)).await;
    assert_eq!(wrong.0, 400, "{wrong:?}");
}

#[tokio::test]
async fn who_was_cut_off_inside_a_batch_gets_a_snapshot_though_all_is_as_before() {
    let served = Served::start(bookshop()).await;
    let (mut mirror, mut feed) = served.mirror().await;
    served.change(|view| view.with_repository(holding(2, 2, vec![component("pay")])));
    for name in ["changes", "upsert"] {
        let event = feed.next().await.unwrap();
        assert_eq!(event.name, name);
        mirror.apply(&event);
    }
    drop(feed);
    served.change(|view| view.without_repository(&RepoId::new("github.com", 2)));
    let id = mirror.id.clone();
    mirror.follow(&mut served.feed(id.as_deref()).await).await;
    assert_eq!(mirror.snapshots, ["new", "interrupted"]);
    mirror.assert_equals(&served.entities().await);
}

#[tokio::test]
async fn an_id_from_too_long_ago_leads_to_a_snapshot() {
    let served = Served::start(View::empty().complete_to(0)).await;
    let (mut mirror, feed) = served.mirror().await;
    drop(feed);
    // More changes than are remembered.
    for seq in 1..5_000 {
        let entry = holding(1, seq, vec![titled("pay", &seq.to_string())]);
        served.change(|view| view.with_repository(entry));
    }
    let id = mirror.id.clone();
    mirror.follow(&mut served.feed(id.as_deref()).await).await;
    assert_eq!(mirror.snapshots, ["new", "unknown"]);
    mirror.assert_equals(&served.entities().await);
}

#[tokio::test]
async fn the_same_content_has_the_same_id_wherever_it_comes_from() {
    let one = holding(1, 1, vec![related(component("a"), "ownedBy", "group:default/x", "ownerOf")]);
    let two = holding(2, 2, vec![titled("b", "B")]);
    let built = View::empty().with_repositories([one.clone(), two.clone()]).complete_to(2);
    let served = Served::start(built).await;
    let (mut mirror, feed) = served.mirror().await;
    drop(feed);
    // Another process, loaded in another order, that has also had and lost something else.
    let more = holding(3, 3, vec![component("c")]);
    let other = View::empty().with_repository(two).complete_to(2).with_repository(more);
    let other = other.with_repository(one).without_repository(&RepoId::new("github.com", 3));
    let served = Served::start(other.complete_to(7)).await;
    let id = mirror.id.clone();
    assert_eq!(mirror.follow(&mut served.feed(id.as_deref()).await).await, events(&[]));
    mirror.assert_equals(&served.entities().await);
    assert_eq!(mirror.snapshots, ["new"]);
}

#[tokio::test]
async fn numbers_that_are_given_again_are_not_taken_for_the_same_changes() {
    let loaded = |entries: Vec<RepoEntry>| {
        let seq = entries.len() as u64;
        View::empty().with_repositories(entries).complete_to(seq)
    };
    let first = holding(1, 1, vec![component("a")]);
    let lost = holding(2, 2, vec![component("lost"), titled("pay", "lost")]);
    let served = Served::start(loaded(vec![first.clone(), lost])).await;
    let (mut mirror, feed) = served.mirror().await;
    drop(feed);
    // The end of the log is lost, and its numbers are given to other changes.
    let restored = Served::start(loaded(vec![first])).await;
    restored.change(|view| view.with_repository(holding(3, 2, vec![titled("pay", "new")])));
    let id = mirror.id.clone().unwrap();
    assert!(id.starts_with("2-"), "{id}");
    assert_eq!(restored.api.view.borrow().seq(), 2);
    mirror.follow(&mut restored.feed(Some(&id)).await).await;
    assert_eq!(mirror.snapshots, ["new", "unknown"]);
    mirror.assert_equals(&restored.entities().await);
    assert_eq!(mirror.entities.len(), 2);
}

#[tokio::test]
async fn a_view_that_was_loaded_afresh_is_told_only_where_it_differs() {
    let entry = |title: &str| holding(1, 1, vec![titled("pay", title)]);
    let loaded = |title: &str| View::empty().with_repository(entry(title)).complete_to(1);
    let served = Served::start(loaded("one")).await;
    let (mut mirror, mut feed) = served.mirror().await;
    served.change(|_| loaded("one"));
    served.change(|_| loaded("two"));
    mirror.follow(&mut feed).await;
    assert_eq!(mirror.snapshots, ["new", "lagged"]);
    mirror.assert_equals(&served.entities().await);
}

/// An entity of about 100 kB.
fn large(name: &str, version: u64) -> Entity {
    titled(name, &format!("{version:08}-{}", "x".repeat(100_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_lags_is_sent_the_newest_state_once() {
    let served = Served::start(View::empty().complete_to(0)).await;
    let (mut mirror, mut feed) = served.mirror().await;
    let before = feed.bytes;
    // 40 MB of changes, while nobody reads.
    for version in 1..=400 {
        let of = version % 4;
        let entry = holding(of, version, vec![large(&format!("e-{of}"), version)]);
        served.change(|view| view.with_repository(entry));
        tokio::task::yield_now().await;
    }
    let newest = |mirror: &Mirror| {
        let title = |entity: &Value| entity["metadata"]["title"].as_str().unwrap()[..8].to_owned();
        mirror.entities.values().map(title).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<String> = (397..=400).map(|v| format!("{v:08}")).collect();
    while newest(&mirror) != expected {
        mirror.follow(&mut feed).await;
    }
    mirror.assert_equals(&served.entities().await);
    assert_eq!(mirror.snapshots, ["new"]);
    let read = feed.bytes - before;
    assert!(read < 20_000_000, "what sockets hold and little more: {read} bytes");
}

#[tokio::test]
async fn more_streams_than_may_be_are_refused_until_one_ends() {
    let served = Served::start(bookshop()).await;
    let mut feeds = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut feed = served.feed(None).await;
        Mirror::default().follow(&mut feed).await;
        feeds.push(feed);
    }
    let refused = served.feed(None).await;
    assert_eq!(refused.status.as_u16(), 503);
    assert_eq!(refused.header("retry-after"), "30");
    assert_eq!(refused.header("content-type"), "application/json; charset=utf-8");
    feeds.pop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while served.feed(None).await.status.as_u16() != 200 {
        assert!(Instant::now() < deadline, "the place of a consumer that went is never free");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_ends_streams_at_once_and_as_they_should_end() {
    let served = Served::start(bookshop()).await;
    let (mirror, mut feed) = served.mirror().await;
    let began = Instant::now();
    served.api.stop.cancel();
    assert_eq!(feed.next().await, None);
    served.serving.await.unwrap();
    assert!(began.elapsed() < Limits::default().shutdown_timeout / 2, "{:?}", began.elapsed());
    assert!(mirror.id.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_does_not_read_holds_up_no_stop() {
    let entities = (0..200).map(|at| large(&format!("e-{at}"), 0)).collect();
    let view = View::empty().with_repository(holding(1, 1, entities)).complete_to(1);
    let shutdown_timeout = Duration::from_millis(300);
    let limits = Limits { shutdown_timeout, ..Limits::default() };
    let served = Served::with(open(view), limits).await;
    let mut stuck = Connection::open(served.address);
    stuck.send(format!("GET {CHANGES} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    // Its stream has begun when others see it, here by its head.
    assert_eq!(stuck.answer().status, 200);
    let began = Instant::now();
    served.api.stop.cancel();
    served.serving.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_may_not_ask_does_not_follow_and_before_the_load_nobody_does() {
    let api = InternalApi::new(bookshop(), InternalAuth::Tokens(vec!["secret".to_owned().into()]));
    let served = Served::with(api, Limits::default()).await;
    assert_eq!(served.feed(None).await.status.as_u16(), 401);
    let request = Request::get(format!("{}{CHANGES}", served.origin));
    let request = request.header("authorization", "Bearer secret");
    let mut feed = Feed::ask(request.body(Full::default()).unwrap()).await;
    assert_eq!(Mirror::default().follow(&mut feed).await.len(), 6);
    let loading = Served::start(View::empty()).await;
    assert_eq!(loading.feed(None).await.status.as_u16(), 503);
}

/// A random repository of few names, so that many claim the same.
fn random_entry(random: &mut fastrand::Rng, id: u64, seq: u64) -> RepoEntry {
    let name = |random: &mut fastrand::Rng| format!("e-{}", random.u8(0..12));
    let mut names = BTreeSet::new();
    (0..random.u8(0..4)).for_each(|_| names.extend([name(random)]));
    let claims = names.iter().map(|of| {
        let mut entity = titled(of, &random.u8(0..3).to_string());
        entity.stale = (random.u8(0..8) == 0).then(|| "line 3 is no YAML".to_owned());
        for _ in 0..random.u8(0..3) {
            let target = format!("component:default/{}", name(random));
            entity = related(entity, "dependsOn", &target, "dependencyOf");
        }
        entity
    });
    let claims = claims.collect();
    repository(id, seq, vec![file(PATH, random.u64(1..6), claims)])
}

/// A mirror that follows `served` while `steps` random changes happen, is cut off now and then at
/// any event, and sometimes comes back with an id that is not known.
async fn plays(random: &mut fastrand::Rng, served: &Served, mirror: &mut Mirror, steps: u64) {
    let mut feed = None;
    for seq in 1..=steps {
        let id = random.u64(1..8);
        if random.u8(0..4) == 0 {
            served.change(|view| view.without_repository(&RepoId::new("github.com", id)));
        } else {
            let entry = random_entry(random, id, seq);
            served.change(|view| view.with_repository(entry));
        }
        if random.u8(0..60) == 0 {
            let entries = (1..8).map(|id| random_entry(random, id, seq)).collect::<Vec<_>>();
            served.change(|_| View::empty().with_repositories(entries).complete_to(seq));
        }
        if random.u8(0..3) > 0 {
            continue;
        }
        let id = match random.u8(0..20) {
            0 => Some("7-nonsense".to_owned()),
            _ => mirror.id.clone(),
        };
        let mut following = match feed.take() {
            Some(feed) if random.u8(0..3) > 0 => feed,
            _ => {
                mirror.interrupt();
                served.feed(id.as_deref()).await
            }
        };
        // Follows as far as there is something for sure: what changed may change back.
        if served.api.view.borrow().digest().to_string() != digest(mirror) {
            for _ in 0..random.u8(1..9) {
                let event: Event = following.next().await.expect("the stream goes on");
                mirror.apply(&event);
                if event.name == "sync" {
                    break;
                }
            }
        }
        feed = Some(following);
    }
}

fn digest(mirror: &Mirror) -> String {
    mirror.id.as_deref().and_then(|id| id.split_once('-')).map_or("", |id| id.1).to_owned()
}

#[tokio::test]
async fn a_mirror_equals_the_catalog_after_any_changes_and_interruptions() {
    let (mut snapshots, mut shown) = (0, 0);
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let served = Served::start(View::empty().complete_to(0)).await;
        let mut mirror = Mirror::default();
        plays(&mut random, &served, &mut mirror, 150).await;
        mirror.interrupt();
        let id = mirror.id.clone();
        mirror.follow(&mut served.feed(id.as_deref()).await).await;
        let entities = served.entities().await;
        mirror.assert_equals(&entities);
        assert_eq!(served.api.view.borrow().digest().to_string(), digest(&mirror), "seed {seed}");
        snapshots += mirror.snapshots.len();
        shown += mirror.entities.len();
    }
    assert!((40..600).contains(&snapshots), "both ways are gone: {snapshots}");
    assert!(shown > 100, "{shown}");
}
