//! The keys of a Backstage that is slow or away: who waits, who does not, and what stays good.

use std::time::Duration;

use axum::http::StatusCode;
use cuelight::http::backstage::Refusal;
use serde_json::Value;

use super::backstage::{
    ANOTHER_JWK, ANOTHER_KEY, JWK, KEY, PLUGIN, USER, World, is_illegal, token, world,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Just longer than until a source may be asked again.
const A_WHILE: Duration = Duration::from_secs(11);

fn of_plugin(world: &World, plugin: &str) -> String {
    token(PLUGIN, "key", KEY, &world.claims(plugin, "catalog"))
}

fn of_user(world: &World) -> String {
    token(USER, "key", KEY, &world.claims("user:default/ada", "backstage"))
}

fn jwk(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_slow_source_holds_back_no_other() {
    let world = world().await;
    let (known, fresh) = (of_user(&world), of_plugin(&world, "scaffolder"));
    assert_eq!(world.backstage.verify(&known).await, Ok(()));
    world.answers(false, true);
    let slow: Vec<_> =
        (1..=3).map(|n| world.check(of_plugin(&world, &format!("slow{n}")))).collect();
    world.until_asked(4).await;
    assert_eq!(world.backstage.verify(&known).await, Ok(()), "its key is known");
    assert_eq!(world.backstage.verify(&fresh).await, Ok(()), "its key is asked for");
    assert!(slow.iter().all(|check| !check.is_finished()), "they wait");
    world.answers(true, true);
    for check in slow {
        assert!(matches!(check.await.unwrap(), Err(Refusal::Illegal(_))));
    }
}

#[tokio::test]
async fn few_of_the_sources_that_strangers_name_are_asked_at_a_time() {
    let world = world().await;
    world.answers(false, true);
    let mut first: Vec<_> =
        (1..=4).map(|n| world.check(of_plugin(&world, &format!("slow{n}")))).collect();
    world.until_asked(4).await;
    let more: Vec<_> =
        (5..=8).map(|n| world.check(of_plugin(&world, &format!("slow{n}")))).collect();
    for check in more {
        assert_eq!(check.await.unwrap(), Err(Refusal::NoKeys));
    }
    assert_eq!(world.asked(), 4, "no fifth at the same time");
    assert!(first.iter_mut().all(|check| !check.is_finished()), "they wait");
    assert_eq!(world.backstage.verify(&of_user(&world)).await, Ok(()), "users need no turn");
    world.answers(true, true);
    for check in first {
        assert!(matches!(check.await.unwrap(), Err(Refusal::Illegal(_))));
    }
    let again = of_plugin(&world, "scaffolder");
    assert_eq!(world.backstage.verify(&again).await, Ok(()), "the turns are given back");
}

#[tokio::test]
async fn many_ask_once_and_whoever_leaves_takes_nothing_along() {
    let world = world().await;
    world.answers(true, false);
    let left = world.check(of_user(&world));
    world.until_asked(1).await;
    let stayed: Vec<_> = (0..8).map(|_| world.check(of_user(&world))).collect();
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    world.answers(true, true);
    for check in stayed {
        assert_eq!(check.await.unwrap(), Ok(()));
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn old_keys_stay_good_for_an_hour_while_backstage_is_away() {
    let world = world().await;
    let check = async || world.backstage.verify(&of_user(&world)).await;
    assert_eq!(check().await, Ok(()));
    world.publish(Err(StatusCode::BAD_GATEWAY));
    world.clock.advance(16 * MINUTE);
    for _ in 0..3 {
        assert_eq!(check().await, Ok(()));
    }
    assert_eq!(world.asked(), 2, "not again at once");
    world.clock.advance(A_WHILE);
    assert_eq!(check().await, Ok(()));
    world.until_asked(3).await;
    world.clock.advance(44 * MINUTE);
    for _ in 0..3 {
        assert_eq!(check().await, Err(Refusal::NoKeys), "too old");
    }
    world.publish(Ok(vec![jwk(JWK)]));
    world.clock.advance(A_WHILE);
    assert_eq!(check().await, Ok(()));
}

#[tokio::test]
async fn nobody_waits_for_a_backstage_that_is_known_to_be_away() {
    let world = world().await;
    let check = async || world.backstage.verify(&of_user(&world)).await;
    assert_eq!(check().await, Ok(()));
    world.publish(Err(StatusCode::BAD_GATEWAY));
    world.clock.advance(16 * MINUTE);
    assert_eq!(check().await, Ok(()));
    world.answers(false, false);
    world.clock.advance(A_WHILE);
    assert_eq!(check().await, Ok(()), "with the old keys");
    world.until_asked(3).await;
    let other = world.check(token(USER, "another-key", ANOTHER_KEY, &world.claims("u", "x")));
    assert_eq!(check().await, Ok(()));
    assert!(!other.is_finished(), "the answer is still awaited");
    world.publish(Ok(vec![jwk(ANOTHER_JWK)]));
    world.answers(true, true);
    assert_eq!(other.await.unwrap(), Ok(()));
    assert!(is_illegal(&world, &of_user(&world)).await, "its key was withdrawn meanwhile");
}

#[tokio::test]
async fn an_outage_long_ago_keeps_no_withdrawn_key_alive() {
    let world = world().await;
    let check = async || world.backstage.verify(&of_user(&world)).await;
    let other = || token(USER, "another-key", ANOTHER_KEY, &world.claims("u", "x"));
    assert_eq!(check().await, Ok(()));
    world.publish(Err(StatusCode::BAD_GATEWAY));
    world.clock.advance(A_WHILE);
    for _ in 0..2 {
        assert_eq!(world.backstage.verify(&other()).await, Err(Refusal::NoKeys), "who can tell?");
    }
    assert_eq!(world.asked(), 2);
    world.publish(Ok(vec![jwk(ANOTHER_JWK)]));
    world.clock.advance(20 * MINUTE);
    assert!(is_illegal(&world, &of_user(&world)).await);
    assert_eq!(world.backstage.verify(&other()).await, Ok(()));
}

#[tokio::test]
async fn forged_names_make_room_and_shut_no_user_out() {
    let world = world().await;
    for n in 0..64 {
        assert!(is_illegal(&world, &of_plugin(&world, &format!("nobody{n}"))).await);
    }
    let scaffolder = world.backstage.verify(&of_plugin(&world, "scaffolder")).await;
    assert_eq!(scaffolder, Err(Refusal::NoKeys), "it may be a good one");
    assert_eq!(world.backstage.verify(&of_user(&world)).await, Ok(()));
    world.clock.advance(A_WHILE);
    assert_eq!(world.backstage.verify(&of_plugin(&world, "scaffolder")).await, Ok(()));
}
