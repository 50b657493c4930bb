//! Which server to talk to: the configured one, the one that Sentinels call the master, or the
//! node of a cluster that owns our slot.
//!
//! All our keys share one hash tag, so that in a cluster one node serves us whole, and an
//! ordinary connection to it is enough.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates,
    Value,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use crate::config::{Endpoint, RedisSettings, Servers};

/// How long a connection may take until it can be used: more than any network within a site
/// needs, and little enough that a dead Sentinel or node does not hold the others up.
pub(super) const CONNECT_MAX: Duration = Duration::from_millis(800);

/// How long a Sentinel or a node may take to answer where the others are.
const SURVEY_MAX: Duration = Duration::from_millis(500);

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// It may be there the next time.
    Away(String),
    /// Not before somebody changes a setting.
    Settings(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        let (Self::Away(text) | Self::Settings(text)) = self;
        text
    }

    pub(super) fn at(place: &str, error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Self::Settings(format!("{place}: {}", told(error)))
            }
            _ => Self::Away(format!("{place}: {}", told(error))),
        }
    }
}

/// An error in words, without the word for its kind where the server's own say it all.
pub(super) fn told(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Host(Endpoint),
    Socket(std::path::PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(endpoint) => endpoint.fmt(f),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which server is in charge now.
pub(super) async fn locate(settings: &RedisSettings) -> Result<Place, Failure> {
    match &settings.servers {
        Servers::One(endpoint) => Ok(Place::Host(endpoint.clone())),
        Servers::Socket(path) => Ok(Place::Socket(path.clone())),
        Servers::Sentinel { sentinels, master } => {
            let mut failures = Vec::new();
            for sentinel in sentinels {
                match ask_sentinel(settings, sentinel, master).await {
                    Ok(endpoint) => return Ok(Place::Host(endpoint)),
                    Err(failure) => failures.push(failure),
                }
            }
            Err(all(failures))
        }
        Servers::Cluster(nodes) => {
            let mut failures = Vec::new();
            for node in nodes {
                match ask_node(settings, node).await {
                    Ok(endpoint) => return Ok(Place::Host(endpoint)),
                    Err(failure) => failures.push(failure),
                }
            }
            Err(all(failures))
        }
    }
}

/// Whether another server may be in charge tomorrow.
pub(super) fn may_move(settings: &RedisSettings) -> bool {
    matches!(settings.servers, Servers::Sentinel { .. } | Servers::Cluster(_))
}

fn all(failures: Vec<Failure>) -> Failure {
    let text = failures.iter().map(Failure::text).collect::<Vec<_>>().join("; ");
    if !failures.is_empty() && failures.iter().all(|f| matches!(f, Failure::Settings(_))) {
        Failure::Settings(text)
    } else {
        Failure::Away(text)
    }
}

async fn ask_sentinel(
    settings: &RedisSettings,
    sentinel: &Endpoint,
    master: &str,
) -> Result<Endpoint, Failure> {
    // Sentinels have no databases, and users of their own.
    let login = RedisConnectionInfo::default();
    let login = with_password(login, settings.login.sentinel_password.as_ref());
    let place = Place::Host(sentinel.clone());
    let name = format!("sentinel {sentinel}");
    let mut connection = connect_as(settings, &place, login, SURVEY_MAX, &name).await?;
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let found: Option<(String, u16)> = ask(&mut connection, &cmd, &name).await?;
    match found {
        Some((host, port)) => Ok(Endpoint { host, port }),
        None => Err(Failure::Settings(format!("{name} knows no master `{master}`"))),
    }
}

async fn ask_node(settings: &RedisSettings, node: &Endpoint) -> Result<Endpoint, Failure> {
    let place = Place::Host(node.clone());
    let name = format!("node {node}");
    let mut connection = connect_as(settings, &place, login(settings), SURVEY_MAX, &name).await?;
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("KEYSLOT").arg(format!("{{{}}}", settings.prefix));
    let slot: i64 = ask(&mut connection, &cmd, &name).await?;
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("SLOTS");
    let ranges: Vec<Value> = ask(&mut connection, &cmd, &name).await?;
    let owner = ranges.iter().find_map(|range| owner_in(range, slot));
    match owner {
        // An empty host is that of the node which was asked.
        Some((host, port)) if host.is_empty() => Ok(Endpoint { host: node.host.clone(), port }),
        Some((host, port)) => Ok(Endpoint { host, port }),
        None => Err(Failure::Away(format!("{name}: nobody owns slot {slot}"))),
    }
}

/// The master in a range of `CLUSTER SLOTS` (first, last, master, replicas…), if it holds `slot`.
fn owner_in(range: &Value, slot: i64) -> Option<(String, u16)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    if !(*first..=*last).contains(&slot) {
        return None;
    }
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = Option::<String>::from_redis_value_ref(host).ok()?.unwrap_or_default();
    Some((host, u16::try_from(*port).ok()?))
}

async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    cmd: &Cmd,
    name: &str,
) -> Result<T, Failure> {
    match timeout(SURVEY_MAX, cmd.query_async(connection)).await {
        Ok(answer) => answer.map_err(|error| Failure::at(name, &error)),
        Err(_) => Err(Failure::Away(format!("{name} does not answer"))),
    }
}

/// A connection to `place` as who we are. It has no time-out of its own for answers.
pub(super) async fn connect(
    settings: &RedisSettings,
    place: &Place,
) -> Result<MultiplexedConnection, Failure> {
    let name = format!("redis at {place}");
    connect_as(settings, place, login(settings), CONNECT_MAX, &name).await
}

fn login(settings: &RedisSettings) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default().set_db(i64::from(settings.database));
    let login = match &settings.login.user {
        Some(user) => login.set_username(user),
        None => login,
    };
    with_password(login, settings.login.password.as_ref())
}

fn with_password(
    login: RedisConnectionInfo,
    password: Option<&SecretString>,
) -> RedisConnectionInfo {
    // The library's name would be sent by a command that a minimal user may not give.
    let login = login.set_skip_set_lib_name();
    match password {
        Some(password) => login.set_password(password.expose_secret()),
        None => login,
    }
}

async fn connect_as(
    settings: &RedisSettings,
    place: &Place,
    login: RedisConnectionInfo,
    within: Duration,
    name: &str,
) -> Result<MultiplexedConnection, Failure> {
    let client = client(settings, place, login).map_err(|error| Failure::at(name, &error))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(None);
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    // Its own time-out is for the socket only; this one is for the greeting too.
    match timeout(within, connected).await {
        Ok(connected) => connected.map_err(|error| Failure::at(name, &error)),
        Err(_) => Err(Failure::Away(format!("{name} does not answer"))),
    }
}

fn client(
    settings: &RedisSettings,
    place: &Place,
    login: RedisConnectionInfo,
) -> Result<Client, RedisError> {
    let addr = match (place, &settings.tls) {
        (Place::Socket(path), _) => ConnectionAddr::Unix(path.clone()),
        (Place::Host(Endpoint { host, port }), None) => ConnectionAddr::Tcp(host.clone(), *port),
        (Place::Host(Endpoint { host, port }), Some(_)) => {
            let (host, port) = (host.clone(), *port);
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
    };
    let info: ConnectionInfo = addr.into_connection_info()?.set_redis_settings(login);
    match &settings.tls {
        None => Client::open(info),
        Some(tls) => {
            let root_cert = tls.ca.as_ref().map(|ca| ca.clone().into_bytes());
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
        }
    }
}
