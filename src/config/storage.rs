//! `storage`: which engine keeps the state, and how it is reached.
//!
//! An address may hold a password, so that no error here shows more of it than its scheme, its
//! hosts or a query key, and none of that before the user and password are cut off.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use super::reader::{Item, Keys, Reader, Section};

/// The port of a Redis server when none is given.
const REDIS_PORT: u16 = 6379;

/// The port of a Sentinel when none is given.
const SENTINEL_PORT: u16 = 26379;

/// Most hosts in one address: they are only asked where the others are.
const HOSTS_MAX: usize = 32;

/// The highest database number: Redis has 16 unless told otherwise, and nobody has ever needed
/// more than a thousand.
const DATABASE_MAX: u32 = 1023;

/// Longest prefix: it is part of every key.
const PREFIX_BYTES_MAX: usize = 64;

/// The prefix of every key unless told otherwise.
pub const PREFIX: &str = "cuelight";

/// The forms of an address, for errors.
const FORMS: &str = "use `sqlite:PATH`, `redis://HOST`, `rediss://HOST`, `unix:PATH`, \
                     `redis-sentinel://HOST,HOST/MASTER` or `redis-cluster://HOST,HOST`";

/// `storage`
#[derive(Debug, Clone)]
pub enum Storage {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// Any of the addresses of a Redis.
    Redis(Box<RedisSettings>),
}

/// The address, without user and password.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Redis(settings) => settings.fmt(f),
        }
    }
}

/// How a Redis is reached, and under which names state is kept in it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Where it is.
    pub servers: Servers,
    /// TLS, when the address asks for it; holds for Sentinels too.
    pub tls: Option<Tls>,
    /// Who we are to it.
    pub login: Login,
    /// Which of its databases; 0 in a cluster.
    pub database: u32,
    /// `storage.prefix`: what every key starts with, in braces.
    pub prefix: String,
}

/// Where a Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(Endpoint),
    /// One server on this machine, by its socket.
    Socket(PathBuf),
    /// Whichever server these Sentinels call the master of this name.
    Sentinel {
        /// The Sentinels; any of them may be away.
        sentinels: Vec<Endpoint>,
        /// The name.
        master: String,
    },
    /// Whichever node of a cluster owns the slot of our keys.
    Cluster(Vec<Endpoint>),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The text of `storage.caFile`, in PEM; `None` believes whom the system believes.
    pub ca: Option<String>,
}

/// A name and a password.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The name; `None` is the server's default user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretString>,
    /// The password of the Sentinels, which have users of their own.
    pub sentinel_password: Option<SecretString>,
}

/// The address, without user and password.
impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls.is_some() { "s" } else { "" };
        let hosts = |hosts: &[Endpoint]| {
            hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match &self.servers {
            Servers::One(host) => write!(f, "redis{s}://{host}/{}", self.database),
            Servers::Socket(path) => write!(f, "unix:{}?db={}", path.display(), self.database),
            Servers::Sentinel { sentinels, master } => {
                let hosts = hosts(sentinels);
                write!(f, "redis{s}-sentinel://{hosts}/{master}/{}", self.database)
            }
            Servers::Cluster(nodes) => write!(f, "redis{s}-cluster://{}", hosts(nodes)),
        }
    }
}

impl RedisSettings {
    /// Reads an address: `redis[s]://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`,
    /// `unix:[//[USER[:PASSWORD]@]]PATH[?db=DATABASE]` (also `redis+unix:`),
    /// `redis[s]-sentinel://[USER[:PASSWORD]@]HOST[:PORT][,…]/MASTER[/DATABASE]` and
    /// `redis[s]-cluster://[USER[:PASSWORD]@]HOST[:PORT][,…]`. User and password are
    /// percent-encoded where they hold `:`, `@`, `/`, `?` or `%`.
    ///
    /// # Errors
    /// What is wrong with it, without the address and its secrets.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| FORMS.to_owned())?;
        let (scheme, is_tls) = match scheme {
            "rediss" => ("redis", true),
            "rediss-sentinel" => ("redis-sentinel", true),
            "rediss-cluster" => ("redis-cluster", true),
            "redis+unix" => ("unix", false),
            scheme => (scheme, false),
        };
        if !["redis", "redis-sentinel", "redis-cluster", "unix"].contains(&scheme) {
            return Err(format!("unknown storage `{scheme}:`; {FORMS}"));
        }
        let rest = match rest.strip_prefix("//") {
            Some(rest) => rest,
            None if scheme == "unix" => rest,
            None => return Err(format!("expected `{scheme}://`")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last @: one that belongs to the password should be encoded, and often is not.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((user_info, path)) if scheme != "unix" || !user_info.contains('/') => {
                (login(user_info)?, path)
            }
            _ => (Login::default(), rest),
        };
        let mut database = match query.strip_prefix("db=") {
            Some(number) if scheme == "unix" => Some(number),
            _ if query.is_empty() => None,
            // It is not shown: it may be the rest of a password.
            _ => return Err("ends with `?` and more; `?` in a password is written `%3F`".into()),
        };
        let (hosts, path) = match rest.split_once('/') {
            Some((hosts, path)) if scheme != "unix" => (hosts, path.trim_end_matches('/')),
            _ => (rest, ""),
        };
        let servers = match scheme {
            "unix" => Servers::Socket(socket(rest)?),
            "redis-sentinel" => {
                let (master, number) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err("names no master; expected `redis-sentinel://HOST/MASTER`".into());
                }
                database = (!number.is_empty()).then_some(number);
                let master = decoded(master, "master")?;
                Servers::Sentinel { sentinels: endpoints(hosts, SENTINEL_PORT)?, master }
            }
            "redis-cluster" if !["", "0"].contains(&path) => {
                return Err("a cluster has database 0 only".into());
            }
            "redis-cluster" => Servers::Cluster(endpoints(hosts, REDIS_PORT)?),
            _ => {
                database = (!path.is_empty()).then_some(path);
                Servers::One(single(hosts)?)
            }
        };
        Ok(Self {
            servers,
            tls: is_tls.then(Tls::default),
            login,
            database: database.map_or(Ok(0), number)?,
            prefix: PREFIX.to_owned(),
        })
    }
}

fn login(user_info: &str) -> Result<Login, String> {
    let (user, password) = match user_info.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user_info, None),
    };
    let user = decoded(user, "user")?;
    let password = password.map(|p| decoded(p, "password")).transpose()?;
    Ok(Login {
        user: (!user.is_empty()).then_some(user),
        password: password.filter(|p| !p.is_empty()).map(SecretString::from),
        sentinel_password: None,
    })
}

/// Percent-decoded; the error does not show the text, which may be a secret.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let wrong = || format!("the {what} is not percent-encoded: `%` has to be written `%25`");
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || left.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).map_err(|_| format!("the {what} is not UTF-8"))
}

fn socket(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.ends_with('/') {
        return Err("names no socket; expected `unix:PATH`".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn single(hosts: &str) -> Result<Endpoint, String> {
    if hosts.contains(',') {
        let several = "names several hosts; `redis-cluster://` and `redis-sentinel://` may";
        return Err(several.to_owned());
    }
    endpoint(hosts, REDIS_PORT)
}

fn endpoints(hosts: &str, port: u16) -> Result<Vec<Endpoint>, String> {
    let hosts = hosts.split(',').map(|host| endpoint(host, port)).collect::<Result<Vec<_>, _>>()?;
    if hosts.len() > HOSTS_MAX {
        Err(format!("names more than {HOSTS_MAX} hosts"))
    } else {
        Ok(hosts)
    }
}

fn endpoint(text: &str, default: u16) -> Result<Endpoint, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or_default())),
            None => return Err("an IPv6 address ends with `]`".to_owned()),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !host.chars().all(is_name) {
        // Whatever stands there may be a password whose `@` is missing or not encoded.
        return Err("the host holds a character that no host has; a user and a password end \
                    with `@` and are percent-encoded"
            .to_owned());
    }
    let port = match port.map(str::parse::<u16>) {
        None => default,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            return Err("the port is not a number from 1 to 65535; a user and a password end \
                        with `@` and are percent-encoded"
                .to_owned());
        }
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

fn number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number <= DATABASE_MAX);
    number.ok_or_else(|| format!("the database is not a number from 0 to {DATABASE_MAX}"))
}

/// `storage`
pub fn storage(reader: &Reader<'_>, root: &Section<'_>) -> Option<Storage> {
    const KNOWN: Keys = Keys::only(&[
        "url",
        "prefix",
        "password",
        "passwordFile",
        "sentinelPassword",
        "sentinelPasswordFile",
        "caFile",
    ]);
    let section = reader.section(&reader.required(root, "storage")?, KNOWN)?;
    let item = reader.required(&section, "url")?;
    let url = reader.text(&item)?;
    if let Some(rest) = url.strip_prefix("sqlite:") {
        return sqlite(reader, &item, rest);
    }
    let mut settings = match RedisSettings::parse(&url) {
        Ok(settings) => settings,
        Err(why) => return reader.wrong(&item, why),
    };
    settings.prefix = prefix(reader, &section)?;
    if let Some(password) = secret(reader, &section, "password")? {
        if settings.login.password.is_some() {
            return reader.wrong(&item, "holds a password, and `storage.password` is another");
        }
        settings.login.password = Some(password);
    }
    settings.login.sentinel_password = secret(reader, &section, "sentinelPassword")?;
    if let Some(file) = section.get("caFile") {
        let Some(tls) = &mut settings.tls else {
            return reader.wrong(&file, "has no effect without TLS: use `rediss://`");
        };
        tls.ca = Some(certificates(reader, &file)?);
    }
    Some(Storage::Redis(Box::new(settings)))
}

fn sqlite(reader: &Reader<'_>, item: &Item<'_>, rest: &str) -> Option<Storage> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.ends_with('/') {
        return reader.wrong(item, "names no file; expected `sqlite:PATH`");
    }
    if path.starts_with(':') {
        return reader.wrong(item, "a database in memory would lose what was acknowledged");
    }
    Some(Storage::Sqlite(PathBuf::from(path)))
}

fn prefix(reader: &Reader<'_>, section: &Section<'_>) -> Option<String> {
    let item = reader.required(section, "prefix")?;
    let prefix = reader.text(&item)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    if prefix.len() > PREFIX_BYTES_MAX || !prefix.chars().all(is_plain) {
        let message = format!(
            "expected at most {PREFIX_BYTES_MAX} letters, digits and `-_.:/`: every key starts \
             with it, in braces"
        );
        return reader.wrong(&item, message);
    }
    Some(prefix)
}

/// The outer `None` is an error, the inner one that the key is not there.
fn secret(reader: &Reader<'_>, section: &Section<'_>, key: &str) -> Option<Option<SecretString>> {
    let is_there = section.get(key).or_else(|| section.get(&format!("{key}File"))).is_some();
    if is_there { reader.secret(section, key).map(Some) } else { Some(None) }
}

fn certificates(reader: &Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.file(item)?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return reader.wrong(item, "holds no certificate in PEM");
    }
    Some(text)
}
