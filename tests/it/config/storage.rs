//! The addresses of the storage, and that no password of theirs is ever shown.

use cuelight::config::{Endpoint, RedisSettings, Servers, Storage};
use secrecy::ExposeSecret as _;

use super::World;

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), port }
}

fn parse(url: &str) -> RedisSettings {
    RedisSettings::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
}

#[test]
fn every_form_of_an_address_is_read_and_shown_without_its_secrets() {
    let check = |url: &str, servers: Servers, shown: &str| {
        let settings = parse(url);
        assert_eq!(settings.servers, servers, "{url}");
        assert_eq!(settings.to_string(), shown, "{url}");
        assert!(!format!("{settings:?}").contains("hunter2"), "{url}");
        let has_login = url.contains("hunter2");
        assert_eq!(settings.login.user.as_deref(), has_login.then_some("u"), "{url}");
        let password = settings.login.password.as_ref().map(|p| p.expose_secret().to_owned());
        assert_eq!(password.as_deref(), has_login.then_some("hunter2@:/"), "{url}");
    };
    let one = |host, port| Servers::One(endpoint(host, port));
    check("redis://h", one("h", 6379), "redis://h:6379/0");
    check("redis://h:7/", one("h", 7), "redis://h:7/0");
    check(
        "redis://u:hunter2%40%3A%2f@h.example/12",
        one("h.example", 6379),
        "redis://h.example:6379/12",
    );
    // As many people write it.
    check("rediss://u:hunter2@:/@h:1/2", one("h", 1), "rediss://h:1/2");
    check("redis://[::1]", one("::1", 6379), "redis://[::1]:6379/0");
    check("rediss://[fe80::1]:80/1", one("fe80::1", 80), "rediss://[fe80::1]:80/1");

    let socket = |path: &str| Servers::Socket(path.into());
    check("unix:/run/redis.sock", socket("/run/redis.sock"), "unix:/run/redis.sock?db=0");
    check("unix:///run/a@b", socket("/run/a@b"), "unix:/run/a@b?db=0");
    let with_login = "redis+unix://u:hunter2%40%3a%2F@/run/r?db=3";
    check(with_login, socket("/run/r"), "unix:/run/r?db=3");
    check("unix:here.sock?db=1", socket("here.sock"), "unix:here.sock?db=1");

    let sentinels = vec![endpoint("a", 26379), endpoint("b", 5)];
    let sentinel = Servers::Sentinel { sentinels, master: "the one".to_owned() };
    let url = "redis-sentinel://u:hunter2%40%3A%2F@a,b:5/the%20one/4";
    check(url, sentinel.clone(), "redis-sentinel://a:26379,b:5/the one/4");
    let url = "rediss-sentinel://a,b:5/the%20one";
    check(url, sentinel, "rediss-sentinel://a:26379,b:5/the one/0");

    let nodes = Servers::Cluster(vec![endpoint("a", 6379), endpoint("::1", 5)]);
    let url = "rediss-cluster://u:hunter2%40%3A%2F@a,[::1]:5";
    check(url, nodes.clone(), "rediss-cluster://a:6379,[::1]:5");
    check("redis-cluster://a,[::1]:5/0", nodes, "redis-cluster://a:6379,[::1]:5");
}

#[test]
fn a_wrong_address_is_told_with_file_and_line_and_without_its_secrets() {
    let encoded = "a user and a password end with `@` and are percent-encoded";
    let port = format!("the port is not a number from 1 to 65535; {encoded}");
    let host = format!("the host holds a character that no host has; {encoded}");
    for (url, why) in [
        ("redis:h", "expected `redis://`"),
        ("redis://", "names no host"),
        ("redis://u:hunter2@", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://u:hunter2", &port),
        ("redis://h:0", &port),
        ("redis://h:66000", &port),
        ("redis://[::1", "an IPv6 address ends with `]`"),
        ("redis://[::1]6379x", &port),
        ("redis://hun ter2", &host),
        (
            "redis://u:hunter2%4@h",
            "the password is not percent-encoded: `%` has to be written `%25`",
        ),
        ("redis://u:hunter2%ff@h", "the password is not UTF-8"),
        ("redis://h/a", "the database is not a number from 0 to 1023"),
        ("redis://h/1024", "the database is not a number from 0 to 1023"),
        ("redis://h/0?hunter2", "ends with `?` and more; `?` in a password is written `%3F`"),
        ("redis://u:x?hunter2@h", "ends with `?` and more; `?` in a password is written `%3F`"),
        ("redis://a,b", "names several hosts; `redis-cluster://` and `redis-sentinel://` may"),
        ("unix:", "names no socket; expected `unix:PATH`"),
        ("unix:/run/", "names no socket; expected `unix:PATH`"),
        ("unix:/run/x?db=x", "the database is not a number from 0 to 1023"),
        ("redis-sentinel://h", "names no master; expected `redis-sentinel://HOST/MASTER`"),
        ("redis-sentinel://,h/m", "names no host"),
        ("redis-sentinel://h/m/x", "the database is not a number from 0 to 1023"),
        ("redis-cluster://h/1", "a cluster has database 0 only"),
    ] {
        let errors = World::own(&format!("storage: {{url: '{url}'}}")).errors();
        assert_eq!(errors, [format!("own.yaml:1:16: `storage.url`: {why}")], "{url}");
    }
    let many = vec!["h"; 33].join(",");
    assert_eq!(
        RedisSettings::parse(&format!("redis-cluster://{many}")).unwrap_err(),
        "names more than 32 hosts"
    );
}

#[test]
fn what_stands_beside_the_address_is_read() {
    let world = World::own(
        "storage:\n  url: rediss-sentinel://h/m\n  prefix: a:b\n  passwordFile: pass\n  \
         sentinelPassword: ${S}\n  caFile: ca.pem\n",
    )
    .env("S", "hunter3");
    world.write("pass", "hunter2\n");
    world.write("ca.pem", include_str!("../../../fixtures/redis-tls/ca.pem"));
    let config = world.config();
    let Storage::Redis(settings) = &config.storage else { panic!("{:?}", config.storage) };
    assert_eq!(settings.prefix, "a:b");
    let login = &settings.login;
    assert_eq!(login.password.as_ref().unwrap().expose_secret(), "hunter2");
    assert_eq!(login.sentinel_password.as_ref().unwrap().expose_secret(), "hunter3");
    assert!(settings.tls.as_ref().unwrap().ca.as_ref().unwrap().contains("BEGIN CERTIFICATE"));
    let shown = format!("{config:?} {}", config.storage);
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn what_does_not_fit_beside_the_address_is_told() {
    let check = |beside: &str, expected: &str| {
        let world = World::own(&format!("storage:\n  url: ${{U}}\n  {beside}\n"));
        let url = if beside.starts_with("ca") { "redis://h" } else { "rediss://u:hunter2@h" };
        let world = world.env("U", url);
        world.write("no-ca.pem", "hello");
        assert_eq!(world.errors(), [expected]);
    };
    check(
        "password: hunter3",
        "own.yaml:2:8: `storage.url`: holds a password, and `storage.password` is another",
    );
    check(
        "prefix: '{a}'",
        "own.yaml:3:11: `storage.prefix`: expected at most 64 letters, digits \
           and `-_.:/`: every key starts with it, in braces",
    );
    check(
        "caFile: no-ca.pem",
        "own.yaml:3:11: `storage.caFile`: has no effect without TLS: use `rediss://`",
    );
    check(
        "passwrd: x",
        "own.yaml:3:3: unknown key `passwrd` in `storage`; did you mean `password`?",
    );
    let world = World::own("storage: {url: 'rediss://h', caFile: no-ca.pem}");
    world.write("no-ca.pem", "hello");
    assert_eq!(world.errors(), ["own.yaml:1:38: `storage.caFile`: holds no certificate in PEM"]);
}

#[test]
fn the_configuration_in_the_compose_file_loads() {
    let compose = include_str!("../../../compose.yaml");
    let (_, text) = compose.split_once("    content: |\n").expect("a configuration");
    let lines = text.lines().map_while(|line| line.strip_prefix("      "));
    let text = lines.collect::<Vec<_>>().join("\n").replace("$$", "$");
    let config = World::own(&text)
        .org("acme")
        .env("CUELIGHT_API_TOKEN", "t")
        .env("REDIS_PASSWORD", "hunter2")
        .config();
    let Storage::Redis(settings) = &config.storage else { panic!("{:?}", config.storage) };
    assert_eq!(settings.to_string(), "redis://redis:6379/0");
    assert_eq!(settings.login.password.as_ref().unwrap().expose_secret(), "hunter2");
}
