//! What is said about each mistake, word by word: a change of these texts is a change for people.

use super::World;

/// One file of ours with one mistake.
#[track_caller]
fn check(text: &str, expected: &str) {
    let world = World::own(text);
    world.write("empty", "\n");
    assert_eq!(world.errors(), [expected], "{text}");
}

/// One provider of ours with one mistake, its text in a line of its own.
#[track_caller]
fn provider(text: &str, expected: &str) {
    let head = "catalog:\n  providers:\n    github:\n      x:\n        organization: acme\n";
    check(&format!("{head}        {text}\n"), expected);
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    check("wrokers: 2", "own.yaml:1:1: unknown key `wrokers`; did you mean `workers`?");
    check(
        "server:\n  public:\n    lisen: 1.2.3.4:5",
        "own.yaml:3:5: unknown key `lisen` in `server.public`; did you mean `listen`?",
    );
    check(
        "integrations: {github: [{}, {host: a.b, tokn: x}]}",
        "own.yaml:1:41: unknown key `tokn` in `integrations.github[1]`; did you mean `token`?",
    );
    provider(
        "catalogpath: x",
        "own.yaml:6:9: unknown key `catalogpath` in `catalog.providers.github.x`; did you mean \
         `catalogPath`?",
    );
    provider(
        "schedule: {frequency: {minuts: 3}}",
        "own.yaml:6:32: unknown key `minuts` in \
         `catalog.providers.github.x.schedule.frequency`; did you mean `minutes`?",
    );
    provider(
        "filters: {topic: {includes: [a]}}",
        "own.yaml:6:27: unknown key `includes` in `catalog.providers.github.x.filters.topic`; did \
         you mean `include`?",
    );
}

#[test]
fn an_origin_is_written_as_browsers_write_it() {
    let origin = |text: &str, said: &str| {
        check(
            &format!(
                "server: {{internal: {{cors: {{origins: [http://localhost:3000, {text}]}}}}}}"
            ),
            &format!("own.yaml:1:61: `server.internal.cors.origins[1]`: {said}"),
        );
    };
    let alone = "is not an origin alone: write `https://backstage.example.com`";
    origin("https://backstage.example.com/", alone);
    origin("https://backstage.example.com/catalog?a=b", alone);
    origin("https://backstage.example.com:443", alone);
    origin("HTTPS://Backstage.example.com", alone);
    origin("https://ada@backstage.example.com", alone);
    let none = "is not the origin of a web page, such as https://backstage.example.com";
    for text in ["'*'", "backstage.example.com", "'null'", "ftp://backstage.example.com"] {
        origin(text, none);
    }
    let world = World::own(
        "server: {internal: {cors: {origins: [http://localhost:3000, https://b.example]}}}",
    );
    let read = world.config().server.internal_origins;
    assert_eq!(read, ["http://localhost:3000", "https://b.example"]);
    assert!(World::own("{}").config().server.internal_origins.is_empty());
}

#[test]
fn what_is_not_built_yet_is_not_called_unknown() {
    check("sinks: {}", "own.yaml:1:1: `sinks` is not built yet");
    check(
        "server: {internal: {auth: {backstage: {url: x}, tokens: [a]}}}",
        "own.yaml:1:45: `server.internal.auth.backstage.url`: is not the address of a Backstage \
         backend, such as https://backstage.example.com",
    );
    check(
        "catalog: {providers: {githubOrg: {}}}",
        "own.yaml:1:23: `catalog.providers.githubOrg` (users and teams) is not built yet",
    );
    provider(
        "catalogPath: '**/catalog-info.yaml'",
        "own.yaml:6:22: `catalog.providers.github.x.catalogPath`: `**/catalog-info.yaml` is a \
         pattern; patterns are not built yet, list the paths",
    );
}

#[test]
fn values_of_the_wrong_form_are_refused_where_they_stand() {
    check("workers: many", "own.yaml:1:10: `workers`: expected a whole number from 1 to 64");
    check("workers: 0", "own.yaml:1:10: `workers`: expected a whole number from 1 to 64");
    check("server: here", "own.yaml:1:9: `server`: expected a map, found a text");
    check(
        "log: {level: loud}",
        "own.yaml:1:14: `log.level`: `loud` is not one of error, warn, info, debug, trace",
    );
    check("log: {level: [a]}", "own.yaml:1:14: `log.level`: expected a text, found a list");
    check(
        "server: {public: {listen: 8080}}",
        "own.yaml:1:27: `server.public.listen`: `8080` is not an address with a port, such as \
         127.0.0.1:7007",
    );
    check(
        "server: {shutdownTimeout: soon}",
        "own.yaml:1:27: `server.shutdownTimeout`: `soon` is not a duration, such as `20 minutes`, \
         `1h` or `PT20M`",
    );
    check(
        "storage: {url: 'sqlite:'}",
        "own.yaml:1:16: `storage.url`: names no file; expected `sqlite:PATH`",
    );
    check(
        "storage: {url: 'postgres://u:hunter2@h'}",
        "own.yaml:1:16: `storage.url`: unknown storage `postgres:`; use `sqlite:PATH`, \
         `redis://HOST`, `rediss://HOST`, `unix:PATH`, `redis-sentinel://HOST,HOST/MASTER` or \
         `redis-cluster://HOST,HOST`",
    );
    check(
        "storage: {url: 'sqlite::memory:'}",
        "own.yaml:1:16: `storage.url`: a database in memory would lose what was acknowledged",
    );
    check(
        "catalog: {rules: {allow: []}}",
        "own.yaml:1:18: `catalog.rules`: expected a list of rules",
    );
    check(
        "catalog: {rules: [{allow: [User], locations: {}}]}",
        "own.yaml:1:46: `catalog.rules[0].locations`: expected a list of locations",
    );
    let location = |text: &str, expected: &str| {
        check(&format!("catalog: {{rules: [{{allow: [User], locations: [{text}]}}]}}"), expected);
    };
    let at = "`catalog.rules[0].locations[0]";
    location("{exact: x}", &format!("own.yaml:1:47: {at}.type` is missing"));
    location(
        "{type: url, exact: x, pattern: y}",
        &format!(
            "own.yaml:1:78: {at}.pattern`: there is `exact` already; a location has one of both"
        ),
    );
    location(
        "{type: url, target: x}",
        &format!("own.yaml:1:59: unknown key `target` in {at}`; did you mean `type`?"),
    );
    let braces = "'{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}'";
    location(
        &format!("{{type: url, pattern: {braces}}}"),
        &format!("own.yaml:1:68: {at}.pattern`: its braces make more than 64 patterns"),
    );
    check("catalog: {rules: [{}]}", "own.yaml:1:19: `catalog.rules[0].allow` is missing");
    check(
        "integrations: {github: {host: a}}",
        "own.yaml:1:24: `integrations.github`: expected a list of integrations",
    );
}

#[test]
fn providers_are_checked_to_the_last_key() {
    let path = "catalog.providers.github.x";
    let at = |column: usize, what: &str| format!("own.yaml:6:{column}: `{path}.{what}");
    provider(
        "host: ghe.example",
        &at(15, "host`: ghe.example has no entry in `integrations.github`"),
    );
    provider(
        "catalogPath: ../x",
        &at(22, "catalogPath`: `../x` is not a path from the repository's root"),
    );
    provider("catalogPath: []", &at(22, "catalogPath`: expected 1 to 20 paths"));
    provider("catalogPath: [a, /a]", &at(26, "catalogPath[1]`: `a` stands here a second time"));
    provider(
        "filters: {branch: 'a b'}",
        &at(27, "filters.branch`: `a b` is not the name of a branch"),
    );
    provider(
        "filters: {repository: '('}",
        &at(31, "filters.repository`: is not a regular expression: unclosed group"),
    );
    provider(
        "filters: {visibility: secret}",
        &at(31, "filters.visibility`: `secret` is not one of public, private, internal"),
    );
    provider(
        "filters: {allowForks: maybe}",
        &at(31, "filters.allowForks`: expected true or false"),
    );
    provider("schedule: {frequency: 10ms}", &at(31, "schedule.frequency`: is less than a second"));
    provider(
        "schedule: {frequency: {cron: 'x'}}",
        &at(38, "schedule.frequency.cron`: `x` is not a cron expression, such as `0 * * * *`"),
    );
    provider(
        "schedule: {frequency: {trigger: auto}}",
        &at(41, "schedule.frequency.trigger`: `auto` is not one of manual"),
    );
    provider(
        "heartbeat: {frequency: 10ms}",
        &at(32, "heartbeat.frequency`: is less than a second"),
    );
    provider(
        "heartbeat: {trigger: auto}",
        &at(30, "heartbeat.trigger`: `auto` is not one of manual"),
    );
    provider("schedule: {timeout: 0s}", &at(29, "schedule.timeout`: is zero"));
    provider(
        "schedule: {scope: local}",
        &at(20, "schedule.scope` has no meaning here: replicas never scan twice"),
    );
    check(
        "catalog: {providers: {github: {x: {host: github.com}}}}",
        "own.yaml:1:35: `catalog.providers.github.x.organization` is missing",
    );
    check(
        "catalog: {providers: {github: {organization: a/b}}}",
        "own.yaml:1:46: `catalog.providers.github.default.organization`: `a/b` is not the login of \
         an organisation or a user",
    );
}

#[test]
fn apps_are_checked_to_the_last_key() {
    let app = |text: &str, column: usize, expected: &str| {
        let text = format!("integrations: {{github: [{{apps: [{{{text}}}]}}]}}");
        let path = "`integrations.github[0].apps[0]";
        check(&text, &format!("own.yaml:1:{column}: {path}{expected}"));
    };
    app("privateKey: k", 33, ".appId` is missing");
    app("appId: 1", 33, ".privateKey` is missing");
    let number = ".appId`: expected the number that GitHub shows as `App ID`";
    app("appId: x, privateKey: k", 41, number);
    app("appId: 0, privateKey: k", 41, number);
    app(
        "appId: 1, privateKey: '${KEY}'",
        56,
        ".privateKey`: the environment variable KEY is not set",
    );
    check(
        "integrations: {github: [{apps: [{appId: 1, privateKey: k, webhokSecret: x}]}]}",
        "own.yaml:1:59: unknown key `webhokSecret` in `integrations.github[0].apps[0]`; did you \
         mean `webhookSecret`?",
    );
    check(
        "integrations: {github: [{apps: [{appId: 1, privateKey: k}, {appId: 1, privateKey: k}]}]}",
        "own.yaml:1:60: `integrations.github[0].apps[1]`: `appId`: 1 stands here a second time",
    );
    check(
        "catalog: {providers: {github: {x: {app: 5}}}}",
        "own.yaml:1:41: `catalog.providers.github.x.app`: App 5 is not among the `apps` of \
         github.com",
    );
    check(
        "catalog: {providers: {github: {x: {app: 5, organization: acme}}}}",
        "own.yaml:1:58: `catalog.providers.github.x.organization`: stands beside `app`, and only \
         one of the two can hold",
    );
}

#[test]
fn addresses_of_apis_do_not_leak_tokens() {
    let path = "own.yaml:1:55: `integrations.github[0].apiBaseUrl`:";
    let url = |url: &str, expected: &str| {
        let text = format!("integrations: {{github: [{{host: g.example, apiBaseUrl: '{url}'}}]}}");
        check(&text, &format!("{path} {expected}"));
    };
    url("http://g.example/api/v3", "http would send the token in clear text; use https");
    url("ftp://g.example", "`ftp:` is neither https nor http");
    url("https://user:hunter2@g.example", "holds credentials; they belong into `token`");
    url("https://g.example/?x=1", "must not have a query or a fragment");
    url("g.example", "is not an address, such as https://ghe.example.com/api/v3");
    for fine in ["http://127.0.0.1:1/api/v3", "http://[::1]:1", "http://localhost:1"] {
        World::own(&format!("integrations: {{github: [{{apiBaseUrl: '{fine}'}}]}}")).config();
    }
}

#[test]
fn the_configuration_is_checked_as_a_whole() {
    check(
        "server: {internal: {listen: '0.0.0.0:7007'}}",
        "own.yaml:1:29: `server.internal.listen`: 0.0.0.0:7007 can be reached from other machines \
         and `server.internal.auth` is not set: give tokens, or `none` to let everybody in",
    );
    World::own("server: {internal: {listen: '0.0.0.0:7007', auth: none}}").config();
    World::own("server: {internal: {listen: '0.0.0.0:7007', auth: {tokens: [a]}}}").config();
    check(
        "server: {internal: {listen: '127.0.0.1:9'}, public: {listen: '127.0.0.1:9'}}",
        "own.yaml:1:9: `server.public` and `server.internal` both listen on 127.0.0.1:9",
    );
    check(
        "webhooks: {inFlightBytesMax: 5}",
        "own.yaml:1:30: `webhooks.inFlightBytesMax`: is less than `webhooks.bodyBytesMax`, so \
         that the largest body could never be read",
    );
    check(
        "integrations: {github: [{host: a.b}, {host: A.B}]}",
        "own.yaml:1:38: `integrations.github[1]`: `host`: a.b stands here a second time",
    );
    check(
        "server: {internal: {auth: {tokens: []}}}",
        "own.yaml:1:27: `server.internal.auth`: names no token; `none` would let everybody in",
    );
    check(
        "server: {internal: {auth: open}}",
        "own.yaml:1:27: `server.internal.auth`: expected `none` or a map with `tokens`",
    );
}

#[test]
fn secrets_are_there_and_not_empty() {
    check("webhooks: {secrets: ['']}", "own.yaml:1:22: `webhooks.secrets[0]`: is empty");
    check(
        "webhooks: {secret: hunter2}",
        "own.yaml:1:12: `webhooks.secret` is a list, for rotation: write `secrets: [...]`",
    );
    check(
        "webhooks: {secrets: [a], secretsFile: empty}",
        "own.yaml:1:39: `webhooks.secretsFile`: stands beside `secrets`, and only one of the two \
         can hold",
    );
    check(
        "webhooks: {secretsFile: empty}",
        "own.yaml:1:25: `webhooks.secretsFile`: empty is empty",
    );
    check(
        "webhooks: {secretsFile: gone}",
        "own.yaml:1:25: `webhooks.secretsFile`: gone: No such file or directory (os error 2)",
    );
    check(
        "integrations: {github: [{token: '${UNSET_TOKEN}'}]}",
        "own.yaml:1:33: `integrations.github[0].token`: the environment variable UNSET_TOKEN is \
         not set",
    );
    check(
        "integrations: {github: [{token: '${UNSET_TOKEN:-}'}]}",
        "own.yaml:1:33: `integrations.github[0].token`: is empty",
    );
    check(
        "workers: '${N'",
        "own.yaml:1:10: `workers`: `${` is never closed by `}` (a literal one is written `$${`)",
    );
}

#[test]
fn variables_and_flags_are_named_when_they_are_wrong() {
    let world = World::new().env("CUELIGHT_PUBLIC_LISTEN", "nowhere");
    let expected = "environment variable CUELIGHT_PUBLIC_LISTEN: `server.public.listen`: \
                    `nowhere` is not an address with a port, such as 127.0.0.1:7007";
    assert_eq!(world.errors(), [expected]);
    let world = World::new().org("not/a/login");
    let expected = "--org: `catalog.providers.github.default.organization`: `not/a/login` is not \
                    the login of an organisation or a user";
    assert_eq!(world.errors(), [expected]);
    let world = World::own("catalog: {providers: {github: {organization: acme}}}").org("other");
    let expected = "own.yaml:1:46: the provider `default` stands here for `acme`, and --org \
                    wants it for `other`";
    assert_eq!(world.errors(), [expected]);
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    check("- a", "own.yaml:1:1: a configuration file is a map of settings");
    check(
        "workers: 2\n---\nworkers: 3",
        "own.yaml:3:1: a configuration file holds one document, this is another",
    );
    let mut world = World::new();
    world.args.files.push(world.folder.path().join("gone.yaml"));
    let expected = "gone.yaml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(world.errors(), [expected]);
}

#[test]
fn all_mistakes_of_all_files_are_reported_together() {
    let world = World::own("workers: 0\nlog:\n  levle: info\n")
        .file("second.yaml", "storage:\n  url: nonsense\nserver: [1]\n")
        .backstage("integrations: {github: [{host: 'a/b'}]}");
    let expected = [
        "app-config.yaml:1:32: `integrations.github[0].host`: `a/b` is not a host name with an \
         optional port",
        "own.yaml:1:10: `workers`: expected a whole number from 1 to 64",
        "own.yaml:3:3: unknown key `levle` in `log`; did you mean `level`?",
        "second.yaml:2:8: `storage.url`: use `sqlite:PATH`, `redis://HOST`, `rediss://HOST`, `unix:PATH`, \
         `redis-sentinel://HOST,HOST/MASTER` or `redis-cluster://HOST,HOST`",
        "second.yaml:3:9: `server`: expected a map, found a list",
    ];
    assert_eq!(world.errors(), expected);
}
