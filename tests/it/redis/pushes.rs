//! Pushes that come at the same time go to the server in one call, and each is answered for itself.

use std::sync::Arc;

use cuelight::clock::Timestamp;
use cuelight::engine::EngineError;
use cuelight::engine::queue::{Inspect as _, Marked, Push, Pushed, Queue as _, State};
use cuelight::engine::redis::{Options, RedisEngine, Time};
use cuelight::work::{Hint, LEASE, Lane, PushKey, Reasons};
use futures_util::future::join_all;

use crate::conformance::{account, delivery as delivery_of, ids_of, repo};
use crate::support::clock::ManualClock;
use crate::support::redis::RedisServer;

/// More than one call takes.
const MANY: u64 = 200;

async fn engine(server: &RedisServer) -> Arc<RedisEngine> {
    let options = Options { time: Time::Clock, ..Options::default() };
    RedisEngine::open(&server.settings(), ManualClock::new(), options).await.unwrap()
}

fn key(id: u64) -> PushKey {
    let hint = Hint::new(Reasons::PUSH, Timestamp(1_000));
    PushKey { key: repo(id), account: account(1), lane: Lane::Event, hint }
}

fn push(delivery: u64, id: u64) -> Push {
    let delivery = delivery_of(&format!("delivery-{delivery}"), Timestamp(1_000));
    Push { delivery: Some(delivery), keys: vec![key(id)] }
}

async fn all_at_once(
    engine: &RedisEngine,
    pushes: impl IntoIterator<Item = Push>,
) -> Vec<Result<Pushed, EngineError>> {
    join_all(pushes.into_iter().map(|push| engine.push(push))).await
}

#[tokio::test]
async fn many_at_once_are_all_stored() {
    let server = RedisServer::start();
    let engine = engine(&server).await;
    for answer in all_at_once(&engine, (0..MANY).map(|id| push(id, id))).await {
        assert_eq!(answer.unwrap(), Pushed::Accepted(vec![Marked::Queued]));
    }
    assert_eq!(engine.deliveries(1).await.unwrap().1, MANY);
    let mut taken = Vec::new();
    while taken.len() < MANY as usize {
        let leases = engine.take(50, LEASE).await.unwrap().leases;
        assert!(!leases.is_empty(), "{} of {MANY} were taken", taken.len());
        taken.extend(ids_of(&leases));
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..MANY).collect::<Vec<_>>());
    engine.close().await;
}

#[tokio::test]
async fn one_key_and_one_delivery_count_once_within_a_call_too() {
    let server = RedisServer::start();
    let engine = engine(&server).await;
    // The first goes alone; the others wait for the next call together.
    let answers = all_at_once(
        &engine,
        [push(1, 1), push(2, 2), push(3, 2), push(2, 2), push(4, 3), push(4, 4), push(5, 1)],
    )
    .await;
    let answers: Vec<Pushed> = answers.into_iter().map(Result::unwrap).collect();
    let (queued, merged) =
        (Pushed::Accepted(vec![Marked::Queued]), Pushed::Accepted(vec![Marked::Merged]));
    let wanted = [&queued, &queued, &merged, &Pushed::Duplicate, &queued, &Pushed::Duplicate];
    assert_eq!(answers.iter().collect::<Vec<_>>(), [&wanted[..], &[&merged]].concat());
    let (entries, total) = engine.list(State::Waiting, 10).await.unwrap();
    assert_eq!((entries.len(), total), (3, 3));
    assert_eq!(engine.deliveries(10).await.unwrap().1, 5);
    engine.close().await;
}

#[tokio::test]
async fn a_stored_key_that_cannot_be_read_fails_only_the_push_of_it() {
    let server = RedisServer::start();
    let engine = engine(&server).await;
    let settings = server.settings();
    let work = format!("{{{}}}:work", settings.prefix);
    server.command::<()>(&["HSET", &work, &repo(7).to_string(), "\u{1}"]);
    let answers = all_at_once(&engine, (0..20).map(|id| push(id, id))).await;
    for (id, answer) in answers.into_iter().enumerate() {
        match answer {
            Err(EngineError::Corrupt(text)) if id == 7 => {
                assert!(text.contains(&repo(7).to_string()))
            }
            answer => assert_eq!((id, answer.is_ok()), (id, id != 7)),
        }
    }
    engine.close().await;
}

#[tokio::test]
async fn what_was_handed_in_before_the_close_is_stored_and_nothing_after_it() {
    let server = RedisServer::start();
    let first = engine(&server).await;
    let pushes = all_at_once(&first, (0..MANY).map(|id| push(id, id)));
    let (answers, ()) = tokio::join!(pushes, first.close());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let late = first.push(push(MANY, MANY)).await;
    assert!(matches!(late, Err(EngineError::Unavailable(_))), "{late:?}");
    let second = engine(&server).await;
    assert_eq!(second.deliveries(1).await.unwrap().1, MANY);
    second.close().await;
}
