//! Deliveries doubled, late, out of order, and very many.

use fake_github::{NewRepository, Push};

use crate::support::stage::{FILE, Stage, component};

#[tokio::test]
async fn a_delivery_that_comes_twice_is_worked_once() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let events = stage.world().put_file(&pay, FILE, component("pay", "website"));
    let delivery = stage.sign(&events[0]);
    let (_, first) = stage.deliver(&delivery).await;
    assert!(first.contains("\"queued\""), "{first}");
    stage.work().await;
    let (status, again) = stage.deliver(&delivery).await;
    assert_eq!(status, 202);
    assert!(again.contains("\"duplicate\""), "{again}");
    assert!(stage.work().await.is_empty());
    assert_eq!(stage.world().calls().len(), 1);
}

#[tokio::test]
async fn deliveries_out_of_order_end_in_githubs_last_state() {
    let stage = Stage::open().await;
    let world = stage.world();
    let new = NewRepository::named("pay").file(FILE, component("pay", "service"));
    let mut events = world.create_repository("acme", new);
    events.extend(world.put_file("acme/pay", FILE, component("pay", "website")));
    events.extend(world.archive("acme/pay"));
    events.extend(world.unarchive("acme/pay"));
    events.extend(world.put_file("acme/pay", FILE, component("pay", "library")));
    events.reverse();
    for event in &events {
        stage.cue(std::slice::from_ref(event)).await;
        stage.work().await;
    }
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("library"));
}

#[tokio::test]
async fn an_event_of_a_repository_that_is_long_gone_brings_nothing_back() {
    let stage = Stage::open().await;
    let world = stage.world();
    let pay = stage.repository("pay", &component("pay", "service")).await;
    let late = world.put_file(&pay, FILE, component("pay", "website"));
    stage.cue(&world.delete_repository(&pay)).await;
    stage.work().await;
    stage.cue(&late).await;
    stage.work().await;
    assert!(!stage.has("pay").await);
}

#[tokio::test]
async fn two_hundred_pushes_to_one_repository_are_a_few_runs() {
    let stage = Stage::open().await;
    let pay = stage.repository("pay", &component("pay", "service")).await;
    for i in 0..200 {
        let push = Push::to("main").put(FILE, component("pay", &format!("type-{i}")));
        stage.cue(&stage.world().push(&pay, push)).await;
        if i % 100 == 50 {
            stage.work().await;
        }
    }
    stage.work().await;
    assert_eq!(stage.type_of("pay").await.as_deref(), Some("type-199"));
    assert!(stage.world().calls().len() <= 3, "{}", stage.world().calls().len());
}
