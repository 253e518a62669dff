use std::sync::Arc;
use std::time::Duration;

use redis::{Client, RedisError};
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

use crate::cluster::{Cluster, NODE};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::errors::{SENTINEL, connect_error};
use crate::sentinel::Sentinels;
use crate::store::Backend;

/// Connects to what a URL names. The message of an error names the scheme at most, because the rest may
/// contain a password.
pub(crate) async fn connect(
    url: &str,
    root_certificate: Option<&[u8]>,
    timeout: Duration,
) -> Result<Backend, ConnectError> {
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
    let form = format!("redis{}{form}", if is_encrypted || root_certificate.is_some() { "s" } else { "" });
    if root_certificate.is_some() && !is_encrypted {
        return Err(invalid(format!(": a root certificate needs TLS; use {form}")));
    }
    let malformed = || match root_certificate {
        Some(_) => invalid(format!(" or root certificate; use {form} and certificates in PEM format")),
        None => invalid(format!("; use {form}")),
    };
    let open = |url: &str| open(url, root_certificate).map_err(|error| malformed().with_source(error));
    if topology == "server" {
        return Ok(Backend::server(open(url)?, timeout));
    }

    let is_sentinel = topology == "sentinel";
    let (authority, path) = split_before_path(rest);
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let (master, path) = match path.strip_prefix('/') {
        Some(path) if is_sentinel => split_before_path(path),
        _ => ("", path),
    };
    let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(|host| {
        let port = if is_sentinel && !has_port(host) { ":26379" } else { "" };
        open(&format!("{base}://{login}{host}{port}{path}"))
    });
    let clients = hosts.collect::<Result<Vec<_>, _>>()?;
    if clients.is_empty() || is_sentinel && master.is_empty() {
        return Err(malformed());
    }
    if !is_sentinel {
        let nodes = Endpoint::of_url(NODE, clients, timeout);
        return Cluster::connect(nodes).await.map(Backend::Cluster).map_err(connect_error);
    }
    // The client ignores these parameters.
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parameter =
        |name| query.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
    let login = match (parameter("sentinel_username"), parameter("sentinel_password")) {
        (None, None) => None,
        (user, password) => {
            let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
            let client = open(&format!("{base}://{user}:{password}@localhost"))?;
            Some(client.get_connection_info().redis_settings().clone())
        }
    };
    let endpoints = Endpoint::of_url(SENTINEL, clients, timeout);
    let sentinels = Sentinels { endpoints, login, master: master.to_owned() };
    let connection = Connection::to_master(sentinels).await.map_err(connect_error)?;
    Ok(Backend::Server(Arc::new(connection)))
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
