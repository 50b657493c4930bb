//! Reads what concerns cuelight itself: listeners, webhooks, workers, the log, and the
//! kinds that files may declare.

use std::net::SocketAddr;

use url::Url;

use super::reader::{Item, Keys, Reader, Section};
use crate::catalog::rules::{LocationRule, TargetRule};

use super::{AllowedKind, InternalAuth, Log, LogFormat, Rule, Rules, Server, Webhooks};

/// Most workers: each holds one call to GitHub, which stops serving at a hundred at a time.
const WORKERS_MAX: u64 = 64;

/// Largest body that may be allowed: GitHub sends at most 25 MiB, a proxy may wrap it.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// Largest sum of bodies that may be allowed: what a large machine can spare.
const IN_FLIGHT_BYTES_MAX: u64 = 1 << 36;

/// Most connections that may be allowed: a process has about as many descriptors.
const CONNECTIONS_MAX: u64 = 1_000_000;

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// `server`
pub fn server(reader: &Reader<'_>, root: &Section<'_>) -> Option<Server> {
    let server = reader.section(
        &reader.required(root, "server")?,
        Keys::only(&["public", "internal", "shutdownTimeout"]),
    )?;
    let public = listener(reader, &server, "public", Keys::only(&["listen"]));
    let internal = listener(reader, &server, "internal", Keys::only(&["listen", "auth", "cors"]));
    let auth = internal.as_ref().map(|(_, section)| internal_auth(reader, section));
    let origins = internal.as_ref().map(|(_, section)| internal_origins(reader, section));
    let shutdown = reader.required(&server, "shutdownTimeout").and_then(|i| reader.span(&i));
    let (public_listen, internal_listen) = (public?.0, internal?.0);
    if public_listen == internal_listen && public_listen.port() != 0 {
        let message =
            format!("`server.public` and `server.internal` both listen on {public_listen}");
        reader.error(server.origin, message);
        return None;
    }
    Some(Server {
        public_listen,
        internal_listen,
        internal_auth: auth??,
        internal_origins: origins??,
        shutdown_timeout: shutdown?,
    })
}

fn listener<'t>(
    reader: &Reader<'_>,
    server: &Section<'t>,
    key: &str,
    keys: Keys,
) -> Option<(SocketAddr, Section<'t>)> {
    let section = reader.section(&reader.required(server, key)?, keys)?;
    let listen = reader.required(&section, "listen")?;
    let text = reader.text(&listen)?;
    match text.parse::<SocketAddr>() {
        Ok(address) if key == "public" || address.ip().is_loopback() => Some((address, section)),
        Ok(address) if section.get("auth").is_some() => Some((address, section)),
        Ok(address) => reader.wrong(
            &listen,
            format!(
                "{address} can be reached from other machines and `server.internal.auth` is not \
                 set: give tokens, or `none` to let everybody in"
            ),
        ),
        Err(_) => reader.wrong(
            &listen,
            format!("`{text}` is not an address with a port, such as 127.0.0.1:7007"),
        ),
    }
}

fn internal_auth(reader: &Reader<'_>, internal: &Section<'_>) -> Option<InternalAuth> {
    let Some(item) = internal.get("auth") else { return Some(InternalAuth::Loopback) };
    if !item.is_map() {
        return match reader.text(&item)?.as_str() {
            "none" => Some(InternalAuth::None),
            _ => reader.wrong(&item, "expected `none` or a map with `tokens`"),
        };
    }
    let section = reader.section(&item, Keys::only(&["tokens", "tokensFile", "backstage"]))?;
    let tokens = reader.secrets(&section, "tokens")?;
    if let Some(item) = section.get("backstage") {
        let section = reader.section(&item, Keys::only(&["url"]))?;
        let url = backend_url(reader, &reader.required(&section, "url")?)?;
        return Some(InternalAuth::Backstage { url, tokens });
    }
    if tokens.is_empty() {
        return reader.wrong(&item, "names no token; `none` would let everybody in");
    }
    Some(InternalAuth::Tokens(tokens))
}

fn internal_origins(reader: &Reader<'_>, internal: &Section<'_>) -> Option<Vec<String>> {
    let Some(item) = internal.get("cors") else { return Some(Vec::new()) };
    let section = reader.section(&item, Keys::only(&["origins"]))?;
    let Some(item) = section.get("origins") else { return Some(Vec::new()) };
    let origins: Vec<_> = item.each().iter().map(|one| origin(reader, one)).collect();
    origins.into_iter().collect()
}

/// An origin exactly as browsers write it: it is compared as a text.
fn origin(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    match url.map(|url| url.origin().ascii_serialization()) {
        Some(origin) if origin == text => Some(text),
        Some(origin) => reader.wrong(item, format!("is not an origin alone: write `{origin}`")),
        None => reader
            .wrong(item, "is not the origin of a web page, such as https://backstage.example.com"),
    }
}

/// The address of Backstage's backend. Clear text is let through: within a cluster it is common.
fn backend_url(reader: &Reader<'_>, item: &Item<'_>) -> Option<Url> {
    let url = Url::parse(&reader.text(item)?).ok().filter(|url| {
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_web = ["http", "https"].contains(&url.scheme()) && url.has_host();
        is_web && is_plain && url.query().is_none() && url.fragment().is_none()
    });
    if url.is_none() {
        return reader.wrong(
            item,
            "is not the address of a Backstage backend, such as https://backstage.example.com",
        );
    }
    url
}

/// `webhooks`
pub fn webhooks(reader: &Reader<'_>, root: &Section<'_>) -> Option<Webhooks> {
    const KNOWN: Keys = Keys {
        known: &["secrets", "secretsFile", "bodyBytesMax", "inFlightBytesMax", "connectionsMax"],
        refused: &[("secret", "is a list, for rotation: write `secrets: [...]`")],
    };
    let section = reader.section(&reader.required(root, "webhooks")?, KNOWN)?;
    let secrets = reader.secrets(&section, "secrets");
    let number = |key: &str, max: u64| {
        let item = reader.required(&section, key)?;
        let number = reader.integer(&item, 1, max)?;
        usize::try_from(number).ok()
    };
    let body = number("bodyBytesMax", BODY_BYTES_MAX);
    let in_flight = number("inFlightBytesMax", IN_FLIGHT_BYTES_MAX);
    let connections = number("connectionsMax", CONNECTIONS_MAX);
    let (body_bytes_max, in_flight_bytes_max) = (body?, in_flight?);
    if in_flight_bytes_max < body_bytes_max {
        let item = section.get("inFlightBytesMax")?;
        return reader.wrong(
            &item,
            "is less than `webhooks.bodyBytesMax`, so that the largest \
                                    body could never be read",
        );
    }
    Some(Webhooks {
        secrets: secrets?,
        body_bytes_max,
        in_flight_bytes_max,
        connections_max: connections?,
    })
}

/// `workers`
pub fn workers(reader: &Reader<'_>, root: &Section<'_>) -> Option<usize> {
    let number = reader.integer(&reader.required(root, "workers")?, 1, WORKERS_MAX)?;
    usize::try_from(number).ok()
}

/// `log`
pub fn log(reader: &Reader<'_>, root: &Section<'_>) -> Option<Log> {
    let section =
        reader.section(&reader.required(root, "log")?, Keys::only(&["level", "format"]))?;
    let level = reader.required(&section, "level").and_then(|i| reader.word(&i, LEVELS));
    let format = reader.required(&section, "format");
    let format = match format.and_then(|i| reader.word(&i, &["text", "json"]))? {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
    Some(Log { level: level?, format })
}

/// `catalog.rules`
pub fn rules(reader: &Reader<'_>, catalog: &Section<'_>) -> Option<Rules> {
    if let Some(locations) = catalog.get("locations") {
        let message = format!(
            "`{}` has no effect here, with the rules in it: only what providers find is read",
            locations.path
        );
        reader.warn(&locations.tree.origin, message);
    }
    let Some(item) = catalog.get("rules") else { return Some(Rules::default()) };
    if !item.is_list() {
        return reader.wrong(&item, "expected a list of rules");
    }
    let rules: Vec<Option<Rule>> = item.each().iter().map(|i| rule(reader, i)).collect();
    Some(Rules { rules: Some(rules.into_iter().collect::<Option<_>>()?) })
}

fn rule(reader: &Reader<'_>, item: &Item<'_>) -> Option<Rule> {
    let section = reader.section(item, Keys::only(&["allow", "locations"]))?;
    let allow = reader.required(&section, "allow")?;
    if !allow.is_list() {
        return reader.wrong(&allow, "expected a list of kinds");
    }
    let kinds: Vec<Option<AllowedKind>> =
        allow.each().iter().map(|kind| allowed_kind(reader, kind)).collect();
    let locations = match section.get("locations") {
        Some(item) if !item.is_list() => {
            return reader.wrong(&item, "expected a list of locations");
        }
        Some(item) => {
            let all: Vec<Option<LocationRule>> =
                item.each().iter().map(|location| location_rule(reader, location)).collect();
            Some(all.into_iter().collect::<Option<_>>()?)
        }
        None => None,
    };
    Some(Rule { allow: kinds.into_iter().collect::<Option<_>>()?, locations })
}

fn location_rule(reader: &Reader<'_>, item: &Item<'_>) -> Option<LocationRule> {
    let section = reader.section(item, Keys::only(&["type", "exact", "pattern"]))?;
    let kind = reader.text(&reader.required(&section, "type")?)?;
    let target = match (section.get("exact"), section.get("pattern")) {
        (Some(_), Some(pattern)) => {
            return reader.wrong(&pattern, "there is `exact` already; a location has one of both");
        }
        (Some(exact), None) => TargetRule::Exact(reader.text(&exact)?),
        (None, Some(pattern)) => match TargetRule::pattern(&reader.text(&pattern)?) {
            Ok(target) => target,
            Err(error) => return reader.wrong(&pattern, error.to_string()),
        },
        (None, None) => TargetRule::Any,
    };
    Some(LocationRule { kind, target })
}

fn allowed_kind(reader: &Reader<'_>, item: &Item<'_>) -> Option<AllowedKind> {
    if !item.is_map() {
        return Some(AllowedKind { kind: reader.text(item)?, spec_type: None });
    }
    let section = reader.section(item, Keys::only(&["kind", "spec.type"]))?;
    let kind = reader.text(&reader.required(&section, "kind")?)?;
    let spec_type = match section.get("spec.type") {
        Some(item) => Some(reader.text(&item)?),
        None => None,
    };
    Some(AllowedKind { kind, spec_type })
}
