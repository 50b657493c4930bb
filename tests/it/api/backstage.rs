//! Who may ask, by the tokens of a Backstage: a stand-in publishes keys, and signs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use cuelight::clock::{Clock, SharedClock, SystemClock};
use cuelight::config::InternalAuth;
use cuelight::http::backstage::{Backstage, Refusal};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::bookshop;
use crate::support::clock::ManualClock;
use crate::support::internal_api::InternalApi;

pub(super) const KEY: &str = include_str!("../../../fixtures/backstage/key-for-tests.pem");
pub(super) const JWK: &str = include_str!("../../../fixtures/backstage/key-for-tests.jwk.json");
pub(super) const ANOTHER_KEY: &str =
    include_str!("../../../fixtures/backstage/another-key-for-tests.pem");
pub(super) const ANOTHER_JWK: &str =
    include_str!("../../../fixtures/backstage/another-key-for-tests.jwk.json");

/// What the stand-in publishes, and how often it was asked.
struct StandIn {
    keys: watch::Sender<Result<Vec<Value>, StatusCode>>,
    /// Whether it answers for the plugins whose names begin with `slow`, and for all.
    answers: watch::Sender<(bool, bool)>,
    asked: watch::Sender<usize>,
}

async fn answer(
    State(stand_in): State<Arc<StandIn>>,
    path: Path<String>,
) -> Result<String, StatusCode> {
    stand_in.asked.send_modify(|asked| *asked += 1);
    let is_slow = path.starts_with("slow");
    let mut answers = stand_in.answers.subscribe();
    let _open = answers.wait_for(|(slow, all)| *all && (*slow || !is_slow)).await;
    match path.as_str() {
        "auth/.well-known/jwks.json" | "scaffolder/.backstage/auth/v1/jwks.json" => {
            let keys = stand_in.keys.borrow().clone()?;
            Ok(json!({ "keys": keys }).to_string())
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

pub(super) struct World {
    stand_in: Arc<StandIn>,
    pub clock: Arc<ManualClock>,
    pub backstage: Arc<Backstage>,
    url: String,
}

pub(super) async fn world() -> World {
    let keys = watch::Sender::new(Ok(vec![serde_json::from_str(JWK).unwrap()]));
    let stand_in = Arc::new(StandIn {
        keys,
        answers: watch::Sender::new((true, true)),
        asked: watch::Sender::new(0),
    });
    let router = Router::new().route("/api/{*path}", get(answer)).with_state(stand_in.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let clock = ManualClock::new();
    let shared: SharedClock = clock.clone();
    let backstage = Arc::new(Backstage::new(&url, shared));
    World { stand_in, clock, backstage, url: url.to_string() }
}

impl World {
    pub fn claims(&self, sub: &str, aud: &str) -> Value {
        json!({ "sub": sub, "aud": aud, "exp": self.clock.now().0 / 1000 + 600 })
    }

    pub fn publish(&self, keys: Result<Vec<Value>, StatusCode>) {
        let _before = self.stand_in.keys.send_replace(keys);
    }

    pub fn asked(&self) -> usize {
        *self.stand_in.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub async fn until_asked(&self, times: usize) {
        let mut asked = self.stand_in.asked.subscribe();
        asked.wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// Lets it answer from now on, or not: for slow plugins, and at all.
    pub fn answers(&self, slow: bool, all: bool) {
        let _before = self.stand_in.answers.send_replace((slow, all));
    }

    /// Checks a token in the background.
    pub fn check(&self, token: String) -> JoinHandle<Result<(), Refusal>> {
        let backstage = Arc::clone(&self.backstage);
        tokio::spawn(async move { backstage.verify(&token).await })
    }
}

pub(super) fn token(typ: &str, key_id: &str, pem: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(typ.to_owned());
    header.kid = Some(key_id.to_owned());
    encode(&header, claims, &EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()).unwrap()
}

pub(super) const PLUGIN: &str = "vnd.backstage.plugin";
pub(super) const USER: &str = "vnd.backstage.user";
const LIMITED_USER: &str = "vnd.backstage.limited-user";

#[tokio::test]
async fn tokens_of_plugins_and_users_open_and_keys_are_asked_for_once() {
    let world = world().await;
    let plugin = token(PLUGIN, "key", KEY, &world.claims("scaffolder", "catalog"));
    let user = token(USER, "key", KEY, &world.claims("user:default/ada", "backstage"));
    for _ in 0..3 {
        assert_eq!(world.backstage.verify(&plugin).await, Ok(()));
        assert_eq!(world.backstage.verify(&user).await, Ok(()));
    }
    assert_eq!(world.asked(), 2, "once for each source");
}

pub(super) async fn is_illegal(world: &World, token: &str) -> bool {
    matches!(world.backstage.verify(token).await, Err(Refusal::Illegal(_)))
}

/// What a Backstage 4.0 said to the same tokens.
#[tokio::test]
async fn a_plugin_that_asks_for_a_user_shows_a_good_token_of_that_user() {
    let world = world().await;
    let user = world.claims("user:default/ada", "backstage");
    let mut ended = user.clone();
    ended["exp"] = json!(world.clock.now().0 / 1000 - 60);
    let plugin = world.claims("scaffolder", "catalog");
    let failed = Some("Failed user token verification");
    let invalid = Some("Invalid user token in plugin token obo claim");
    for (obo, refusal) in [
        (json!(token(LIMITED_USER, "key", KEY, &user)), None),
        (json!(token(USER, "key", KEY, &user)), None),
        (json!(""), None),
        (json!(null), None),
        (json!(token(LIMITED_USER, "key", KEY, &ended)), failed),
        (json!(token(LIMITED_USER, "key", ANOTHER_KEY, &user)), failed),
        (json!(token(PLUGIN, "key", KEY, &plugin)), invalid),
        (json!("x"), invalid),
        (json!(1), invalid),
    ] {
        let mut claims = plugin.clone();
        claims["obo"] = obo;
        let said = world.backstage.verify(&token(PLUGIN, "key", KEY, &claims)).await;
        assert_eq!(said, refusal.map_or(Ok(()), |words| Err(Refusal::Illegal(words.into()))));
    }
    let limited = world.backstage.verify(&token(LIMITED_USER, "key", KEY, &user)).await;
    assert_eq!(limited, Err(Refusal::Illegal("Illegal limited user token".into())));
}

#[tokio::test]
async fn what_is_not_signed_for_us_now_is_refused() {
    let world = world().await;
    let good = world.claims("scaffolder", "catalog");
    let mut ended = good.clone();
    ended["exp"] = json!(world.clock.now().0 / 1000 - 60);
    let mut endless = good.clone();
    endless.as_object_mut().unwrap().remove("exp");
    let mut early = good.clone();
    early["nbf"] = json!(world.clock.now().0 / 1000 + 60);
    let mut for_nobody = good.clone();
    for_nobody.as_object_mut().unwrap().remove("aud");
    let untyped = world.claims("user:default/ada", "catalog");
    let nobody = world.claims("", "backstage");
    for (why, token) in [
        ("another signature", token(PLUGIN, "key", ANOTHER_KEY, &good)),
        ("a key that is not published", token(PLUGIN, "another-key", ANOTHER_KEY, &good)),
        ("another audience", token(PLUGIN, "key", KEY, &world.claims("scaffolder", "search"))),
        ("no audience", token(PLUGIN, "key", KEY, &for_nobody)),
        ("a user's of no type with a plugin's audience", token("JWT", "key", KEY, &untyped)),
        ("a user's of nobody", token(USER, "key", KEY, &nobody)),
        ("another type", token("JWT", "key", KEY, &good)),
        ("it has not begun", token(PLUGIN, "key", KEY, &early)),
        ("it has ended", token(PLUGIN, "key", KEY, &ended)),
        ("it never ends", token(PLUGIN, "key", KEY, &endless)),
        ("no such plugin", token(PLUGIN, "key", KEY, &world.claims("nobody", "catalog"))),
        ("a path", token(PLUGIN, "key", KEY, &world.claims("../x", "catalog"))),
        ("no token", "abc".to_owned()),
    ] {
        assert!(is_illegal(&world, &token).await, "{why}");
    }
    let mut unsigned = token(PLUGIN, "key", KEY, &good);
    unsigned.truncate(unsigned.rfind('.').unwrap() + 1);
    assert!(is_illegal(&world, &unsigned).await);
}

#[tokio::test]
async fn a_rotated_key_is_found_and_a_withdrawn_one_ends() {
    let world = world().await;
    let claims = world.claims("scaffolder", "catalog");
    let old = token(PLUGIN, "key", KEY, &claims);
    let new = token(PLUGIN, "another-key", ANOTHER_KEY, &claims);
    assert_eq!(world.backstage.verify(&old).await, Ok(()));
    world.publish(Ok(vec![serde_json::from_str(ANOTHER_JWK).unwrap()]));
    assert!(is_illegal(&world, &new).await, "asked just now");
    assert_eq!(world.asked(), 1);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.backstage.verify(&new).await, Ok(()));
    assert!(is_illegal(&world, &old).await);
}

#[tokio::test]
async fn the_listener_admits_by_either_kind_of_token() {
    let world = world().await;
    let url = Url::parse(&world.url).unwrap();
    let tokens = vec![SecretString::from("our-own-token")];
    let api = InternalApi::new(bookshop(), InternalAuth::Backstage { url, tokens });
    // This listener runs on the time of the machine.
    let exp = SystemClock.now().0 / 1000 + 600;
    let claims = json!({ "sub": "scaffolder", "aud": "catalog", "exp": exp });
    let plugin = token(PLUGIN, "key", KEY, &claims);
    let forged = token(PLUGIN, "key", ANOTHER_KEY, &claims);
    for (presented, status) in [("our-own-token", 200), (&plugin, 200), (&forged, 401)] {
        let request = Request::get("/api/catalog/entities")
            .header("authorization", format!("Bearer {presented}"));
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    }
}

#[tokio::test]
async fn while_backstage_is_away_known_keys_are_good_and_unknown_ones_are_not_guessed() {
    let world = world().await;
    world.publish(Err(StatusCode::BAD_GATEWAY));
    let plugin = token(PLUGIN, "key", KEY, &world.claims("scaffolder", "catalog"));
    assert_eq!(world.backstage.verify(&plugin).await, Err(Refusal::NoKeys));
    assert_eq!(world.backstage.verify(&plugin).await, Err(Refusal::NoKeys));
    assert_eq!(world.asked(), 1, "not again at once");
    world.publish(Ok(vec![serde_json::from_str(JWK).unwrap()]));
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(world.backstage.verify(&plugin).await, Ok(()));
    world.publish(Err(StatusCode::BAD_GATEWAY));
    assert_eq!(world.backstage.verify(&plugin).await, Ok(()));
}
