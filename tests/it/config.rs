//! Configuration: what is read, which layer wins, and what is said about mistakes, word by word.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cuelight::config::{
    AllowedKind, Config, ConfigErrors, DEFAULTS, Filters, Frequency, InternalAuth, LoadArgs,
    Loaded, LogFormat, Schedule,
};
use secrecy::ExposeSecret;

mod mistakes;
mod storage;

/// Files in a folder of their own, variables and flags: everything a load looks at.
struct World {
    folder: tempfile::TempDir,
    env: BTreeMap<&'static str, String>,
    args: LoadArgs,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, env: BTreeMap::new(), args: LoadArgs::default() }
    }

    /// One file of ours.
    fn own(text: &str) -> Self {
        Self::new().file("own.yaml", text)
    }

    /// One more file of ours.
    fn file(mut self, name: &str, text: &str) -> Self {
        let path = self.write(name, text);
        self.args.files.push(path);
        self
    }

    fn backstage(mut self, text: &str) -> Self {
        let path = self.write("app-config.yaml", text);
        self.args.app_configs.push(path);
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(name, value.to_owned());
        self
    }

    fn org(mut self, org: &str) -> Self {
        self.args.org = Some(org.to_owned());
        self
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        Config::load(&self.args, |name| self.env.get(name).cloned())
    }

    #[track_caller]
    fn config(&self) -> Config {
        match self.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => panic!("{errors}"),
        }
    }

    /// Every error as it is shown, the folder cut off.
    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let errors = self.load().expect_err("a mistake").to_string();
        self.shown(&errors)
    }

    fn shown(&self, text: &str) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        text.replace(&folder, "").lines().map(str::to_owned).collect()
    }
}

fn secrets(found: &[secrecy::SecretString]) -> Vec<&str> {
    found.iter().map(ExposeSecret::expose_secret).collect()
}

#[test]
fn without_any_file_the_defaults_hold() {
    let config = World::new().config();
    assert_eq!(config.server.public_listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.server.internal_listen.to_string(), "127.0.0.1:7007");
    assert!(matches!(config.server.internal_auth, InternalAuth::Loopback));
    assert_eq!(config.server.shutdown_timeout, Duration::from_secs(25));
    assert!(config.webhooks.secrets.is_empty());
    assert_eq!(config.webhooks.body_bytes_max, 25 * 1024 * 1024);
    assert_eq!(config.webhooks.in_flight_bytes_max, 64 * 1024 * 1024);
    assert_eq!(config.webhooks.connections_max, 2048);
    assert_eq!(config.storage.to_string(), "sqlite:./cuelight.db");
    assert_eq!((config.workers, config.log.level), (4, "info"));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.integrations.len(), 1);
    assert_eq!(config.integrations[0].host, "github.com");
    assert_eq!(config.integrations[0].api_base_url, "https://api.github.com");
    assert!(config.integrations[0].token.is_none());
    assert!(config.providers.is_empty());
    assert_eq!(config.rules.rules, None);
}

#[test]
fn an_organisation_and_a_token_are_enough() {
    let config = World::new().org("Acme").env("GITHUB_TOKEN", "t0ken\n").config();
    let provider = &config.providers[0];
    assert_eq!((provider.id.as_str(), provider.organization.as_str()), ("default", "Acme"));
    assert_eq!(
        (provider.host.as_str(), &provider.catalog_paths[..]),
        ("github.com", &["catalog-info.yaml".to_owned()][..])
    );
    let token = config.integrations[0].token.as_ref().expect("a token");
    assert_eq!(token.expose_secret(), "t0ken");
}

#[test]
fn later_layers_win_maps_merge_and_lists_are_replaced() {
    let world = World::new()
        .backstage("integrations: {github: [{host: a.example, token: x}]}\ncatalog: {rules: [{allow: [User]}]}")
        .file("1.yaml", "workers: 2\nlog: {level: warn}\nwebhooks: {secrets: [a, b]}")
        .file("2.yaml", "workers: 3\nlog: {format: json}\nwebhooks: {secrets: [c]}\nintegrations: {github: [{host: b.example}]}")
        .file("3.yaml", "# nothing\n");
    let config = world.config();
    assert_eq!((config.workers, config.log.level, config.log.format), (3, "warn", LogFormat::Json));
    assert_eq!(secrets(&config.webhooks.secrets), ["c"]);
    let hosts: Vec<&str> = config.integrations.iter().map(|i| i.host.as_str()).collect();
    assert_eq!(hosts, ["b.example", "github.com"]);
    assert_eq!(config.rules.rules.expect("rules")[0].allow[0].kind, "User");
    let world = World::own("workers: 2").file("2.yaml", "workers:\nserver:\n  public:\nlog: ~\n");
    assert_eq!(world.config().workers, 2, "nothing said changes nothing");
}

#[test]
fn the_environment_wins_over_files_and_is_taken_as_it_is() {
    let world = World::own("storage: {url: 'sqlite:a.db'}\nwebhooks: {secrets: [a, b]}\nserver: {public: {listen: '1.2.3.4:5'}}")
        .env("CUELIGHT_STORAGE_URL", "sqlite:b.db")
        .env("CUELIGHT_WEBHOOK_SECRET", "${not a variable}")
        .env("CUELIGHT_PUBLIC_LISTEN", "127.0.0.1:1")
        .env("CUELIGHT_INTERNAL_LISTEN", "127.0.0.1:2");
    let config = world.config();
    assert_eq!(config.storage.to_string(), "sqlite:b.db");
    assert_eq!(secrets(&config.webhooks.secrets), ["${not a variable}"]);
    assert_eq!(config.server.public_listen.to_string(), "127.0.0.1:1");
    assert_eq!(config.server.internal_listen.to_string(), "127.0.0.1:2");
    let config = World::new().env("CUELIGHT_WEBHOOK_SECRET", "").config();
    assert!(config.webhooks.secrets.is_empty(), "an empty variable is none");
}

#[test]
fn the_token_variable_only_fills_what_no_file_gives() {
    let token = |text: &str| {
        let config = World::own(text).env("GITHUB_TOKEN", "from env").config();
        let found = config.integrations.iter().find(|i| i.host == "github.com");
        found.and_then(|i| i.token.clone()).expect("a token").expose_secret().to_owned()
    };
    assert_eq!(token("integrations: {github: [{token: from file}]}"), "from file");
    assert_eq!(token("integrations: {github: [{host: GitHub.com}]}"), "from env");
    assert_eq!(token("integrations: {github: [{host: ghe.example, token: other}]}"), "from env");
}

#[test]
fn variables_are_substituted_when_a_value_is_read() {
    let world = World::own("workers: ${N:-7}\nstorage: {url: 'sqlite:${DIR}/x.db'}")
        .file("2.yaml", "log: {level: '${UNSET}'}")
        .file("3.yaml", "log: {level: debug}")
        .env("DIR", "/data");
    let config = world.config();
    assert_eq!((config.workers, config.log.level), (7, "debug"), "what is replaced is not read");
    assert_eq!(config.storage.to_string(), "sqlite:/data/x.db");
}

#[test]
fn secrets_come_from_files_beside_the_file_that_names_them() {
    let world = World::own(
        "webhooks: {secretsFile: [one, two]}\n\
         server: {internal: {auth: {tokensFile: one}}}\n\
         integrations: {github: [{host: ghe.example, tokenFile: two}]}",
    );
    world.write("one", "first secret\n");
    world.write("two", "second\r\n");
    let config = world.config();
    assert_eq!(secrets(&config.webhooks.secrets), ["first secret", "second"]);
    let InternalAuth::Tokens(tokens) = &config.server.internal_auth else { panic!("no tokens") };
    assert_eq!(secrets(tokens), ["first secret"]);
    let token = config.integrations[0].token.as_ref().expect("a token");
    assert_eq!(token.expose_secret(), "second");
}

#[test]
fn a_secret_and_its_file_form_are_one_setting_over_layers() {
    let world =
        World::own("webhooks: {secretsFile: one}").file("2.yaml", "webhooks: {secrets: [later]}");
    assert_eq!(secrets(&world.config().webhooks.secrets), ["later"]);
    let world =
        World::own("webhooks: {secrets: [a]}").file("2.yaml", "webhooks: {secretsFile: one}");
    world.write("one", "later");
    assert_eq!(secrets(&world.config().webhooks.secrets), ["later"]);
}

#[test]
fn secrets_are_never_shown() {
    let world = World::own(
        "webhooks: {secrets: [hunter2]}\nserver: {internal: {auth: {tokens: [hunter2]}}}\n\
         integrations: {github: [{apps: [{appId: 1, privateKey: hunter2, webhookSecret: hunter2, \
         clientSecret: hunter2}]}]}",
    );
    let shown = format!("{:?}", world.env("GITHUB_TOKEN", "hunter2").config());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn schedules_are_read_in_every_form_that_backstage_knows() {
    let schedule = |text: &str| {
        let file =
            format!("catalog: {{providers: {{github: {{organization: a, schedule: {text}}}}}}}");
        World::own(&file).config().providers[0].schedule.clone()
    };
    let every = |secs: u64| Frequency::Every(Duration::from_secs(secs));
    let check =
        |text: &str, expected: Frequency| assert_eq!(schedule(text).frequency, expected, "{text}");
    check("{frequency: {minutes: 30}}", every(1800));
    check("{frequency: {hours: 1, seconds: 5}}", every(3605));
    check("{frequency: PT20M}", every(1200));
    check("{frequency: 20 minutes}", every(1200));
    check("{frequency: 1h}", every(3600));
    check("{frequency: {cron: '0 * * * *'}}", Frequency::Cron("0 * * * *".to_owned()));
    check("{frequency: {trigger: manual}}", Frequency::Manual);
    check("{trigger: manual}", Frequency::Manual);
    check("{trigger: manual, frequency: 1h}", Frequency::Manual);
    check("{}", every(1200));
    let full = schedule("{frequency: 1h, timeout: {minutes: 2}, initialDelay: PT3S}");
    assert_eq!(
        (full.timeout, full.initial_delay),
        (Duration::from_secs(120), Duration::from_secs(3))
    );
}

#[test]
fn a_heartbeat_is_read_and_follows_a_manual_schedule_where_nothing_is_said() {
    let check = |text: &str, expected: Frequency| {
        let file = format!("catalog: {{providers: {{github: {{organization: a, {text}}}}}}}");
        assert_eq!(World::own(&file).config().providers[0].heartbeat, expected, "{text}");
    };
    let every = |secs: u64| Frequency::Every(Duration::from_secs(secs));
    check("schedule: {}", every(60));
    check("heartbeat: {}", every(60));
    check("heartbeat: {frequency: 10 seconds}", every(10));
    check("heartbeat: {frequency: {seconds: 30}}", every(30));
    check("heartbeat: {frequency: {trigger: manual}}", Frequency::Manual);
    check("heartbeat: {trigger: manual}", Frequency::Manual);
    check("heartbeat: {trigger: manual, frequency: 10s}", Frequency::Manual);
    check("schedule: {trigger: manual}", Frequency::Manual);
    check("schedule: {trigger: manual}, heartbeat: {frequency: 10s}", every(10));
}

#[test]
fn the_trial_beats_every_ten_seconds_for_the_organisation_of_the_command_line() {
    let world = World::own(include_str!("../../config/trial.yaml")).org("acme");
    let provider = &world.config().providers[0];
    assert_eq!((provider.id.as_str(), provider.organization.as_str()), ("default", "acme"));
    assert_eq!(provider.heartbeat, Frequency::Every(Duration::from_secs(10)));
}

#[test]
fn a_provider_is_read_in_full() {
    let world = World::own(
        "integrations: {github: [{host: GHE.example:8443, apiBaseUrl: 'https://ghe.example:8443/api/v3/'}]}\n\
         catalog:\n  providers:\n    github:\n      a:\n        organization: Acme\n        host: ghe.Example:8443\n\
         \x20       catalogPath: [/catalog-info.yaml, .backstage/all.yaml]\n\
         \x20       filters:\n          branch: release/1\n          repository: 'svc-.*'\n\
         \x20         topic: {include: Live, exclude: [old, Dead]}\n          visibility: [Internal]\n\
         \x20         allowForks: false\n          allowArchived: true\n      b: {organization: other}\n",
    );
    let config = world.config();
    assert_eq!(config.integrations[0].api_base_url, "https://ghe.example:8443/api/v3");
    let [a, b] = &config.providers[..] else { panic!("{:?}", config.providers) };
    assert_eq!((a.id.as_str(), a.host.as_str()), ("a", "ghe.example:8443"));
    assert_eq!(a.catalog_paths, ["catalog-info.yaml", ".backstage/all.yaml"]);
    let filters = &a.filters;
    assert_eq!(filters.branch.as_deref(), Some("release/1"));
    let name = filters.repository.as_ref().expect("a pattern");
    assert!(name.is_match("svc-a") && !name.is_match("my-svc-a"));
    assert_eq!(
        (&filters.topics_include[..], &filters.topics_exclude[..]),
        (&["live".to_owned()][..], &["old".to_owned(), "dead".to_owned()][..])
    );
    assert_eq!(filters.visibility, ["internal"]);
    assert!(filters.allow_archived && !filters.allow_forks);
    assert_eq!(b.host, "github.com");
    assert!(b.filters.allow_forks && !b.filters.allow_archived);
}

#[test]
fn backstages_file_is_read_for_its_sections_alone() {
    let world = World::new()
        .backstage(
            "app: {title: Portal}\nbackend: {listen: ':7007', x: '${UNSET}'}\nworkers: nonsense\n\
             integrations:\n  gitlab: [{host: gitlab.com, token: '${UNSET}'}]\n  github:\n\
             \x20   - host: github.com\n      apps:\n        - appId: 1\n          privateKey: {$env: KEY}\n\
             \x20   - host: ghe.example\n      token: {$env: GHE_TOKEN}\n\
             catalog:\n  orphanStrategy: delete\n  locations: [{type: url}]\n\
             \x20 rules:\n    - allow: [Component, {kind: Template, spec.type: website}]\n\
             \x20   - allow: [User]\n      locations: [{type: url, pattern: 'x/**'}]\n\
             \x20 providers:\n    githubOrg: {id: x}\n    github:\n      one:\n        organization: acme\n\
             \x20       validateLocationsExist: true\n        schedule: {frequency: {minutes: 30}, scope: global}\n\
             \x20     two: {app: 1}\n",
        )
        .env("GHE_TOKEN", "ghe")
        .env("KEY", "of the App");
    let loaded = world.load().unwrap_or_else(|errors| panic!("{errors}"));
    let config = loaded.config;
    assert_eq!(config.workers, 4);
    let ghe = config.integrations[1].token.as_ref().expect("a token");
    assert_eq!(ghe.expose_secret(), "ghe");
    let ids: Vec<&str> = config.providers.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(config.providers[1].app, Some(1));
    let app = &config.integrations[0].apps[0];
    assert_eq!((app.id, app.private_key.expose_secret()), (1, "of the App"));
    let allow = &config.rules.rules.as_ref().expect("rules")[..];
    assert_eq!(allow[0].locations, None);
    let kinds = config.rules.allowed_kinds();
    assert!(kinds.allows("User", None, "X/y") && !kinds.allows("User", None, "z/y"));
    let template =
        AllowedKind { kind: "Template".to_owned(), spec_type: Some("website".to_owned()) };
    assert_eq!(allow[0].allow[1], template);
    let warnings = world.shown(&loaded.warnings.join("\n"));
    let expected = "`catalog.locations` has no effect here, with the rules in it: only what \
                    providers find is read";
    assert_eq!(warnings, [format!("app-config.yaml:15:14: {expected}")]);
}

#[test]
fn apps_are_read_with_their_secrets() {
    let world = World::own(
        "webhooks: {secrets: [first]}\nintegrations:\n  github:\n    - apps:\n        - appId: '12'\n\
         \x20         privateKeyFile: app.pem\n          webhookSecretFile: hook\n\
         \x20         clientId: Iv1.x\n          clientSecret: s\n\
         \x20         allowedInstallationOwners: [Acme, globex]\n\
         \x20       - {appId: 13, privateKey: \"a\\nb\", webhookSecret: thirteen}\n\
         catalog: {providers: {github: {all: {app: 12, catalogPath: a.yaml}}}}\n",
    )
    .file("a.yaml", "{}");
    world.write("app.pem", "a key\nof two lines\n");
    world.write("hook", "twelve\n");
    let config = world.env("GITHUB_TOKEN", "unused").config();
    assert_eq!(secrets(&config.webhooks.secrets), ["first", "twelve", "thirteen"]);
    let integration = &config.integrations[0];
    assert!(integration.token.is_none(), "an integration with Apps has credentials");
    let [first, second] = &integration.apps[..] else { panic!("two Apps") };
    assert_eq!((first.id, first.private_key.expose_secret()), (12, "a key\nof two lines"));
    assert_eq!(
        first.allowed_owners.as_deref(),
        Some(&["Acme".to_owned(), "globex".to_owned()][..])
    );
    assert_eq!((second.id, second.private_key.expose_secret()), (13, "a\nb"));
    assert!(second.allowed_owners.is_none());
    let provider = &config.providers[0];
    assert_eq!((provider.app, provider.organization.as_str()), (Some(12), ""));
}

#[test]
fn an_app_in_a_file_that_backstages_own_tool_wrote_is_read() {
    let world = World::new().backstage(
        "integrations:\n  github:\n    - host: github.com\n      apps:\n\
         \x20       - $include: app.yaml\n        - $include: none.yaml\n",
    );
    world.write(
        "app.yaml",
        "appId: 7\nwebhookUrl: https://x.example\nclientId: Iv1.x\nclientSecret: s\n\
         webhookSecret: hook\nprivateKey: |\n  a key\n",
    );
    let errors = world.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("none.yaml: cannot be read"), "{errors:?}");
    world.write("none.yaml", "appId: 8\nprivateKey: b\n");
    let config = world.config();
    let ids: Vec<u64> = config.integrations[0].apps.iter().map(|app| app.id).collect();
    assert_eq!(ids, [7, 8]);
    assert_eq!(secrets(&config.webhooks.secrets), ["hook"]);
}

#[test]
fn rules_allow_kinds_without_regard_to_case() {
    let rules = |text: &str| World::own(text).config().rules.allowed_kinds();
    let at = "https://github.com/acme/cart/blob/main/catalog-info.yaml";
    let default = rules("workers: 1");
    assert!(default.allows("Component", None, at) && !default.allows("User", None, at));
    let own = rules("catalog: {rules: [{allow: [User]}, {allow: [{kind: API, spec.type: gRPC}]}]}");
    assert!(own.allows("user", None, at) && own.allows("Api", Some("grpc"), at));
    assert!(!own.allows("API", Some("openapi"), at) && !own.allows("Component", None, at));
    assert!(!rules("catalog: {rules: []}").allows("Component", None, at), "no rule allows nothing");
    let here = rules(
        "catalog: {rules: [{allow: [User], locations: [{type: url, pattern: '**/Acme/**'}]}, \
         {allow: [Group], locations: []}, {allow: [API], locations: [{type: url, exact: x}]}]}",
    );
    assert!(here.allows("User", None, at) && !here.allows("User", None, "https://x/y"));
    assert!(!here.allows("Group", None, at) && !here.allows("API", None, at));
    assert!(here.allows("API", None, "x"));
}

#[test]
fn the_short_form_of_a_provider_is_the_provider_default_in_every_layer() {
    let world = World::new()
        .backstage("catalog: {providers: {github: {organization: acme, catalogPath: a.yaml}}}")
        .file(
            "1.yaml",
            "catalog: {providers: {github: {default: {host: github.com}, b: {organization: b}}}}",
        )
        .file("2.yaml", "catalog: {providers: {github: {catalogPath: c.yaml}}}")
        .org("ACME");
    let config = world.config();
    let found: Vec<(&str, &str, &str)> = config
        .providers
        .iter()
        .map(|p| (p.id.as_str(), p.organization.as_str(), p.catalog_paths[0].as_str()))
        .collect();
    assert_eq!(found, [("default", "ACME", "c.yaml"), ("b", "b", "catalog-info.yaml")]);
}

/// The defaults with their examples, the `#:` taken away.
fn with_examples() -> String {
    let mut text = String::new();
    for line in DEFAULTS.lines() {
        let example = line.trim_start().starts_with("#:");
        // What an example stands in for.
        let replaced = ["auth: null", "rules: null", "providers: {}"].contains(&line.trim());
        if !replaced {
            text += &if example { line.replacen("#: ", "", 1) } else { line.to_owned() };
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_examples_in_the_defaults_load_and_state_the_defaults() {
    let world = World::own(&with_examples());
    world.write("ghe-token", "x");
    let config = world.config();
    let provider = &config.providers[0];
    let (filters, none) = (&provider.filters, Filters::default());
    assert_eq!(
        (filters.allow_forks, filters.allow_archived),
        (none.allow_forks, none.allow_archived)
    );
    let (schedule, default) = (&provider.schedule, Schedule::default());
    assert_eq!(schedule.frequency, default.frequency);
    assert_eq!(provider.heartbeat, default.default_heartbeat());
    assert_eq!(
        (schedule.timeout, schedule.initial_delay),
        (default.timeout, default.initial_delay)
    );
    assert_eq!(provider.catalog_paths, ["catalog-info.yaml"]);
}

#[test]
fn every_key_of_the_defaults_is_in_the_documentation() {
    let docs = include_str!("../../docs/configuration.md");
    let key = regex::Regex::new(r"(?m)^[\s#:-]*([a-zA-Z]+):( |$)").expect("a pattern");
    let text = with_examples();
    let keys: Vec<&str> =
        key.captures_iter(&text).map(|c| c.get(1).expect("a key").as_str()).collect();
    assert!(keys.contains(&"initialDelay") && keys.contains(&"trigger"), "{keys:?}");
    let mentioned = |key: &str| {
        let forms =
            [format!("`{key}`"), format!(".{key}`"), format!("`{key}."), format!(".{key}.")];
        forms.iter().any(|form| docs.contains(form))
    };
    let missing: Vec<&&str> = keys.iter().filter(|key| !mentioned(key)).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not mention {missing:?}");
}
