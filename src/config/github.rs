//! Reads what concerns GitHub, under Backstage's own names: `integrations.github` and
//! `catalog.providers.github`.

use std::net::IpAddr;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use secrecy::SecretString;
use url::Url;

use super::reader::{Item, Keys, Reader, Section};
use super::{Filters, Frequency, Integration, Provider, Schedule, apps, duration};

/// Where GitHub's own API is.
const GITHUB_COM_API: &str = "https://api.github.com";

/// Backstage's default path.
const CATALOG_PATH: &str = "catalog-info.yaml";

/// Most paths of a provider: each is a field more for every repository of every question.
const CATALOG_PATHS_MAX: usize = 20;

/// Longest path; what most file systems allow.
const PATH_BYTES_MAX: usize = 4096;

/// Shortest time between two scans or two heartbeats: less is a way to be throttled.
const FREQUENCY_MIN: Duration = Duration::from_secs(1);

/// Largest compiled filter: bounds what a pattern can cost in memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

const PROVIDER_KEYS: Keys = Keys {
    known: &["organization", "app", "host", "catalogPath", "filters", "schedule", "heartbeat"],
    refused: &[
        ("validateLocationsExist", "is not needed: only files that exist are read"),
        ("pageSizes", "is not needed: the size of a page follows GitHub's answers"),
    ],
};

/// The keys of one provider: what tells the short form from the map of providers.
pub const PROVIDER_MARKS: &[&str] = &[
    "organization",
    "app",
    "host",
    "catalogPath",
    "filters",
    "schedule",
    "heartbeat",
    "validateLocationsExist",
    "pageSizes",
];

/// `integrations.github`; `github.com` is added when it is not there, and gets `token` when it
/// has no credentials.
pub fn integrations(
    reader: &Reader<'_>,
    root: &Section<'_>,
    token: Option<SecretString>,
) -> Option<Vec<Integration>> {
    let mut found: Vec<Integration> = Vec::new();
    let mut complete = true;
    for item in integration_items(reader, root)? {
        match integration(reader, &item) {
            Some(integration) if found.iter().any(|other| other.host == integration.host) => {
                let twice = format!("`host`: {} stands here a second time", integration.host);
                reader.wrong::<()>(&item, twice);
            }
            Some(integration) => found.push(integration),
            None => complete = false,
        }
    }
    match found.iter_mut().find(|integration| integration.host == "github.com") {
        Some(github_com) if github_com.token.is_none() && github_com.apps.is_empty() => {
            github_com.token = token;
        }
        Some(_) => {}
        None => found.push(Integration {
            host: "github.com".to_owned(),
            api_base_url: GITHUB_COM_API.to_owned(),
            token,
            apps: Vec::new(),
        }),
    }
    complete.then_some(found)
}

fn integration_items<'t>(reader: &Reader<'_>, root: &Section<'t>) -> Option<Vec<Item<'t>>> {
    let Some(item) = root.get("integrations") else { return Some(Vec::new()) };
    let section = reader.section(&item, Keys::only(&["github"]))?;
    let Some(item) = section.get("github") else { return Some(Vec::new()) };
    if !item.is_list() {
        return reader.wrong(&item, "expected a list of integrations");
    }
    Some(item.each())
}

fn integration(reader: &Reader<'_>, item: &Item<'_>) -> Option<Integration> {
    const KEYS: Keys =
        Keys::only(&["host", "apiBaseUrl", "rawBaseUrl", "token", "tokenFile", "apps"]);
    let section = reader.section(item, KEYS)?;
    let apps = apps::apps(reader, &section);
    let host = match section.get("host") {
        Some(item) => host(reader, &item),
        None => Some("github.com".to_owned()),
    };
    let token = reader.secret(&section, "token");
    // Read so that a Backstage file may keep it; files come through the API.
    let raw = section.get("rawBaseUrl").map(|item| base_url(reader, &item));
    let api = section.get("apiBaseUrl").map(|item| base_url(reader, &item));
    let host = host?;
    let api_base_url = match api {
        Some(url) => url?,
        None if host == "github.com" => GITHUB_COM_API.to_owned(),
        None => format!("https://{host}/api/v3"),
    };
    if let Some(None) = raw {
        return None;
    }
    Some(Integration { host, api_base_url, token, apps: apps? })
}

fn host(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b));
    if fits {
        Some(text.to_ascii_lowercase())
    } else {
        reader.wrong(item, format!("`{text}` is not a host name with an optional port"))
    }
}

fn base_url(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let Ok(url) = Url::parse(&text) else {
        return reader.wrong(item, "is not an address, such as https://ghe.example.com/api/v3");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return reader.wrong(item, "holds credentials; they belong into `token`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return reader.wrong(item, "must not have a query or a fragment");
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return reader.wrong(item, "http would send the token in clear text; use https"),
        other => return reader.wrong(item, format!("`{other}:` is neither https nor http")),
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `catalog.providers.github`, as a map of providers.
pub fn providers(
    reader: &Reader<'_>,
    catalog: &Section<'_>,
    integrations: Option<&[Integration]>,
) -> Option<Vec<Provider>> {
    let Some(item) = catalog.get("providers") else { return Some(Vec::new()) };
    let keys = Keys {
        known: &["github"],
        refused: &[("githubOrg", "(users and teams) is not built yet")],
    };
    let section = reader.section(&item, keys)?;
    let Some(item) = section.get("github") else { return Some(Vec::new()) };
    let mut found = Vec::new();
    let mut complete = true;
    for (id, item) in reader.map(&item)?.all() {
        match provider(reader, id, &item, integrations) {
            Some(provider) => found.push(provider),
            None => complete = false,
        }
    }
    complete.then_some(found)
}

fn provider(
    reader: &Reader<'_>,
    id: &str,
    item: &Item<'_>,
    integrations: Option<&[Integration]>,
) -> Option<Provider> {
    let section = reader.section(item, PROVIDER_KEYS)?;
    let owner = owner(reader, &section);
    let host = match section.get("host") {
        Some(item) => host(reader, &item).and_then(|host| {
            let known = integrations.is_none_or(|all| all.iter().any(|i| i.host == host));
            let missing = || format!("{host} has no entry in `integrations.github`");
            if known { Some(host) } else { reader.wrong(&item, missing()) }
        }),
        None => Some("github.com".to_owned()),
    };
    let catalog_paths = catalog_paths(reader, &section);
    let filters = filters(reader, &section);
    let schedule = schedule(reader, &section);
    let heartbeat = heartbeat(reader, &section);
    let (host, (organization, app)) = (host?, owner?);
    if let (Some(id), Some(all)) = (app, integrations) {
        let of_host = all.iter().filter(|integration| integration.host == host);
        if !of_host.flat_map(|integration| &integration.apps).any(|app| app.id == id) {
            let missing = format!("App {id} is not among the `apps` of {host}");
            return reader.wrong(&section.get("app")?, missing);
        }
    }
    let schedule = schedule?;
    Some(Provider {
        id: id.to_owned(),
        host,
        organization,
        app,
        catalog_paths: catalog_paths?,
        filters: filters?,
        heartbeat: heartbeat?.unwrap_or_else(|| schedule.default_heartbeat()),
        schedule,
    })
}

/// A login, or the App whose installations name the logins.
fn owner(reader: &Reader<'_>, provider: &Section<'_>) -> Option<(String, Option<u64>)> {
    let Some(app) = provider.get("app") else {
        let item = reader.required(provider, "organization")?;
        return Some((login(reader, &item)?, None));
    };
    if let Some(item) = provider.get("organization") {
        return reader.wrong(&item, "stands beside `app`, and only one of the two can hold");
    }
    Some((String::new(), Some(apps::app_id(reader, &app)?)))
}

fn login(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let fits = text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits {
        Some(text)
    } else {
        reader.wrong(item, format!("`{text}` is not the login of an organisation or a user"))
    }
}

fn catalog_paths(reader: &Reader<'_>, section: &Section<'_>) -> Option<Vec<String>> {
    let Some(item) = section.get("catalogPath") else {
        return Some(vec![CATALOG_PATH.to_owned()]);
    };
    let items = item.each();
    if items.is_empty() || items.len() > CATALOG_PATHS_MAX {
        return reader.wrong(&item, format!("expected 1 to {CATALOG_PATHS_MAX} paths"));
    }
    let mut paths = Vec::new();
    let mut complete = true;
    for item in items {
        match catalog_path(reader, &item) {
            Some(path) if paths.contains(&path) => {
                complete = false;
                reader.wrong::<()>(&item, format!("`{path}` stands here a second time"));
            }
            Some(path) => paths.push(path),
            None => complete = false,
        }
    }
    complete.then_some(paths)
}

fn catalog_path(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let path = text.strip_prefix('/').unwrap_or(&text);
    if path.contains(['*', '?', '{']) {
        let why = format!("`{text}` is a pattern; patterns are not built yet, list the paths");
        return reader.wrong(item, why);
    }
    let fits = path.len() <= PATH_BYTES_MAX
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if fits {
        Some(path.to_owned())
    } else {
        reader.wrong(item, format!("`{text}` is not a path from the repository's root"))
    }
}

fn filters(reader: &Reader<'_>, provider: &Section<'_>) -> Option<Filters> {
    let mut filters = Filters::default();
    let Some(item) = provider.get("filters") else { return Some(filters) };
    const KNOWN: Keys =
        Keys::only(&["branch", "repository", "topic", "visibility", "allowForks", "allowArchived"]);
    let section = reader.section(&item, KNOWN)?;
    let allow_forks = section.get("allowForks").map(|item| reader.flag(&item));
    let allow_archived = section.get("allowArchived").map(|item| reader.flag(&item));
    let branch = section.get("branch").map(|item| branch(reader, &item));
    let repository = section.get("repository").map(|item| pattern(reader, &item));
    let topics = section.get("topic").map(|item| topics(reader, &item));
    let visibility = section.get("visibility").map(|item| {
        let words = &["public", "private", "internal"];
        item.each().iter().map(|one| reader.word(one, words)).collect::<Option<Vec<_>>>()
    });
    if let Some(branch) = branch {
        filters.branch = Some(branch?);
    }
    if let Some(repository) = repository {
        filters.repository = Some(repository?);
    }
    if let Some(topics) = topics {
        (filters.topics_include, filters.topics_exclude) = topics?;
    }
    if let Some(visibility) = visibility {
        filters.visibility = visibility?;
    }
    if let Some(allow) = allow_forks {
        filters.allow_forks = allow?;
    }
    if let Some(allow) = allow_archived {
        filters.allow_archived = allow?;
    }
    Some(filters)
}

/// What git refuses in the name of a branch is refused here: it becomes part of a question to
/// GitHub.
fn branch(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let fits = !text.starts_with(['/', '-'])
        && !text.ends_with(['/', '.'])
        && !["..", "//", "@{"].iter().any(|part| text.contains(part))
        && !text.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    if fits {
        Some(text)
    } else {
        reader.wrong(item, format!("`{text}` is not the name of a branch"))
    }
}

/// Anchored as Backstage does: `^` and `$` are added where they are missing, so that `a|b` stays
/// what it is there.
fn pattern(reader: &Reader<'_>, item: &Item<'_>) -> Option<Regex> {
    let text = reader.text(item)?;
    let start = if text.starts_with('^') { "" } else { "^" };
    let end = if text.ends_with('$') { "" } else { "$" };
    let whole = format!("{start}{text}{end}");
    match RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build() {
        Ok(pattern) => Some(pattern),
        Err(regex::Error::CompiledTooBig(_)) => reader.wrong(item, "the pattern is too large"),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            reader.wrong(item, format!("is not a regular expression: {reason}"))
        }
    }
}

fn topics(reader: &Reader<'_>, item: &Item<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let section = reader.section(item, Keys::only(&["include", "exclude"]))?;
    let list = |key: &str| match section.get(key) {
        Some(item) => {
            let topics = item.each().into_iter();
            topics.map(|one| reader.text(&one).map(|topic| topic.to_lowercase())).collect()
        }
        None => Some(Vec::new()),
    };
    let (include, exclude) = (list("include"), list("exclude"));
    Some((include?, exclude?))
}

fn schedule(reader: &Reader<'_>, provider: &Section<'_>) -> Option<Schedule> {
    let mut schedule = Schedule::default();
    let Some(item) = provider.get("schedule") else { return Some(schedule) };
    let keys = Keys {
        known: &["frequency", "timeout", "initialDelay", "trigger"],
        refused: &[("scope", "has no meaning here: replicas never scan twice")],
    };
    let section = reader.section(&item, keys)?;
    let frequency = section.get("frequency").map(|item| frequency(reader, &item));
    let timeout = section.get("timeout").map(|item| {
        let span = reader.span(&item)?;
        if span.is_zero() { reader.wrong(&item, "is zero") } else { Some(span) }
    });
    let delay = section.get("initialDelay").map(|item| reader.span(&item));
    let trigger = section.get("trigger").map(|item| manual(reader, &item));
    if let Some(frequency) = frequency {
        schedule.frequency = frequency?;
    }
    if let Some(timeout) = timeout {
        schedule.timeout = timeout?;
    }
    if let Some(delay) = delay {
        schedule.initial_delay = delay?;
    }
    if let Some(trigger) = trigger {
        schedule.frequency = trigger?;
    }
    Some(schedule)
}

/// `None` inside when nothing is said.
fn heartbeat(reader: &Reader<'_>, provider: &Section<'_>) -> Option<Option<Frequency>> {
    let Some(item) = provider.get("heartbeat") else { return Some(None) };
    let section = reader.section(&item, Keys::only(&["frequency", "trigger"]))?;
    let every = section.get("frequency").map(|item| frequency(reader, &item));
    let trigger = section.get("trigger").map(|item| manual(reader, &item));
    match (every, trigger) {
        (Some(None), _) | (_, Some(None)) => None,
        (every, trigger) => Some(trigger.or(every).flatten()),
    }
}

fn frequency(reader: &Reader<'_>, item: &Item<'_>) -> Option<Frequency> {
    if item.is_map() {
        let section = reader.map(item)?;
        if let Some(trigger) = section.get("trigger") {
            reader.section(item, Keys::only(&["trigger"]))?;
            return manual(reader, &trigger);
        }
        if let Some(cron) = section.get("cron") {
            reader.section(item, Keys::only(&["cron"]))?;
            let text = reader.text(&cron)?;
            return match duration::parse_cron(&text) {
                Ok(frequency) => Some(frequency),
                Err(why) => reader.wrong(&cron, why),
            };
        }
    }
    let span = reader.span(item)?;
    if span < FREQUENCY_MIN {
        return reader.wrong(item, "is less than a second");
    }
    Some(Frequency::Every(span))
}

fn manual(reader: &Reader<'_>, item: &Item<'_>) -> Option<Frequency> {
    reader.word(item, &["manual"]).map(|_| Frequency::Manual)
}
