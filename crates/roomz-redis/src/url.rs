use redis::{Client, RedisConnectionInfo, RedisError};
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// What a URL names.
pub(crate) enum Topology {
    Server(Client),
    /// Some nodes of the cluster.
    Cluster(Vec<Client>),
    /// The sentinels, with the login and the database of the master.
    Sentinel {
        sentinels: Vec<Client>,
        /// The login of the sentinels, if it is not that of the master.
        login: Option<RedisConnectionInfo>,
        master: String,
    },
}

/// Parses a URL. The message of an error names the scheme at most, because the rest may contain a password.
pub(crate) fn parse(url: &str, root_certificate: Option<&[u8]>) -> Result<Topology, ConnectError> {
    let invalid = |problem: String| {
        ConnectError::new(ConnectErrorKind::InvalidUrl, format!("invalid Redis URL{problem}"))
    };
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return Err(invalid(": the scheme is missing; use redis://HOST:PORT or rediss://HOST:PORT".into()));
    };
    let (base, topology) = match scheme.rsplit_once('+') {
        Some((base, topology @ ("cluster" | "sentinel"))) => (base, topology),
        _ => (scheme, "server"),
    };
    let is_encrypted = match base {
        "redis" | "valkey" | "unix" | "redis+unix" | "valkey+unix" => false,
        "rediss" | "valkeys" => true,
        _ => {
            return Err(invalid(format!(
                ": unknown scheme {scheme:?}; use redis:// or rediss://, redis+cluster:// for a Redis Cluster, or \
                 redis+sentinel:// for Redis Sentinel"
            )));
        }
    };
    if is_encrypted && cfg!(not(feature = "tls")) {
        return Err(invalid(format!(": {scheme}:// needs TLS; enable the feature `tls` of roomz-redis")));
    }
    let form = match topology {
        "cluster" => "+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT",
        "sentinel" => "+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE",
        _ => "://USER:PASSWORD@HOST:PORT/DATABASE",
    };
    let malformed = || match root_certificate {
        Some(_) if is_encrypted => {
            invalid(format!(" or root certificate; use rediss{form} and certificates in PEM format"))
        }
        Some(_) => invalid(format!(": a root certificate needs TLS; use rediss{form}")),
        None => invalid(format!("; use {}{form}", if is_encrypted { "rediss" } else { "redis" })),
    };
    if root_certificate.is_some() && !is_encrypted {
        return Err(malformed());
    }
    let open = |url: &str| open(url, root_certificate).map_err(|error| malformed().with_source(error));
    if topology == "server" {
        return open(url).map(Topology::Server);
    }

    let is_sentinel = topology == "sentinel";
    let (authority, path) = split_before_path(rest);
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let (master, path) = match path.strip_prefix('/') {
        Some(path) if is_sentinel => split_before_path(path),
        _ => ("", path),
    };
    let (path, sentinel_login) = if is_sentinel { split_sentinel_login(path) } else { (path.into(), None) };
    let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(|host| {
        let port = if is_sentinel && !has_port(host) { ":26379" } else { "" };
        open(&format!("{base}://{login}{host}{port}{path}"))
    });
    let clients = hosts.collect::<Result<Vec<_>, _>>()?;
    if clients.is_empty() || is_sentinel && master.is_empty() {
        return Err(malformed());
    }
    let of_sentinels = |login| {
        Ok(open(&format!("{base}://{login}@localhost"))?.get_connection_info().redis_settings().clone())
    };
    Ok(if is_sentinel {
        let login = sentinel_login.map(of_sentinels).transpose()?;
        Topology::Sentinel { sentinels: clients, login, master: master.to_owned() }
    } else {
        Topology::Cluster(clients)
    })
}

/// Takes `sentinel_username` and `sentinel_password` out of the query of a URL. Returns the rest, and the
/// login as it stands in a URL.
fn split_sentinel_login(path: &str) -> (String, Option<String>) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (mut user, mut password, mut others) = (None, None, String::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sentinel_username", value)) => user = Some(value),
            Some(("sentinel_password", value)) => password = Some(value),
            _ => others += &format!("{}{parameter}", if others.is_empty() { '?' } else { '&' }),
        }
    }
    let has_login = user.is_some() || password.is_some();
    let login = format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default());
    (format!("{path}{others}"), has_login.then_some(login))
}

/// Whether this is the scheme of a URL. `user:password@host` has none.
fn is_scheme(scheme: &str) -> bool {
    !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn split_before_path(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()))
}

/// Whether an address ends with a port. A plain IPv6 address does not: the URL has it in brackets.
fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
}

/// Creates a client for one server.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "a certificate needs TLS"))]
fn open(url: &str, root_certificate: Option<&[u8]>) -> Result<Client, RedisError> {
    #[cfg(feature = "tls")]
    if let Some(certificate) = root_certificate {
        // The parser does not find a line that begins with a byte order mark.
        let certificate = String::from_utf8_lossy(certificate).replace('\u{feff}', "").into_bytes();
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(certificate) };
        return Client::build_with_tls(url, certificates);
    }
    Client::open(url)
}

/// Selects aws-lc-rs for the process unless the application has selected its own. The client would panic
/// without.
#[cfg(feature = "tls")]
pub(crate) fn select_cryptography() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    if CryptoProvider::get_default().is_none() {
        // Another thread may install it first, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}
