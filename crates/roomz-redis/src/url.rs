use redis::{Client, RedisError};

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Server,
    /// The addresses are those of some nodes of the cluster.
    Cluster {
        addresses: Vec<String>,
        nodes: NodeUrl,
    },
    /// The addresses are those of the sentinels, the URL is that of the master.
    Sentinel {
        addresses: Vec<String>,
        master: String,
        nodes: NodeUrl,
    },
}

/// The URL of each node of a topology, without its address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NodeUrl {
    scheme: String,
    /// `USER:PASSWORD@`, or empty.
    login: String,
    /// The database and the parameters: `/DATABASE?NAME=VALUE`.
    path: String,
    pub(crate) root_certificate: Option<Vec<u8>>,
}

impl NodeUrl {
    /// Creates a client for the node with this address.
    pub(crate) fn client(&self, address: &str) -> Result<Client, RedisError> {
        let url = format!("{}://{}{address}{}", self.scheme, self.login, self.path);
        open(&url, self.root_certificate.as_deref())
    }

    /// Creates a client for a sentinel, which has no databases.
    pub(crate) fn sentinel_client(&self, address: &str, has_login: bool) -> Result<Client, RedisError> {
        let login = if has_login { self.login.as_str() } else { "" };
        open(&format!("{}://{login}{address}", self.scheme), self.root_certificate.as_deref())
    }

    /// Checks that the URLs of these addresses are valid.
    pub(crate) fn check(&self, addresses: &[String]) -> Result<(), RedisError> {
        addresses.iter().try_for_each(|address| self.client(address).map(drop))
    }

    pub(crate) fn has_login(&self) -> bool {
        !self.login.is_empty()
    }
}

/// Creates a client for one server.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "a certificate needs TLS"))]
pub(crate) fn open(url: &str, root_certificate: Option<&[u8]>) -> Result<Client, RedisError> {
    #[cfg(feature = "tls")]
    select_cryptography();
    #[cfg(feature = "tls")]
    if let Some(certificate) = root_certificate {
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(certificate.to_vec()) };
        return Client::build_with_tls(url, certificates);
    }
    Client::open(url)
}

/// Selects aws-lc-rs for the process unless the application has selected its own. The client would panic without.
#[cfg(feature = "tls")]
pub(crate) fn select_cryptography() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    if CryptoProvider::get_default().is_none() {
        // Another thread may install it first, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

impl Topology {
    /// Parses the parts of a URL that the client does not know. The message of an error never contains the URL.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        const CLUSTER_FORM: &str = "use redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT";
        const SENTINEL_FORM: &str = "use redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE";
        let Some((scheme, rest)) = url.split_once("://") else { return Ok(Self::Server) };
        let (scheme, is_cluster) = match scheme.split_once('+') {
            Some((scheme, "cluster")) => (scheme.to_owned(), true),
            Some((scheme, "sentinel")) => (scheme.to_owned(), false),
            _ => return Ok(Self::Server),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let default_port = if is_cluster { 6_379 } else { 26_379 };
        let addresses: Vec<_> = hosts
            .split(',')
            .filter(|host| !host.is_empty())
            .map(|host| if has_port(host) { host.to_owned() } else { format!("{host}:{default_port}") })
            .collect();
        let node_url =
            |path: String| NodeUrl { scheme, login: login.to_owned(), path, root_certificate: None };
        if is_cluster {
            if addresses.is_empty() {
                return Err(CLUSTER_FORM);
            }
            return Ok(Self::Cluster { addresses, nodes: node_url(path.to_owned()) });
        }
        let (master, path) = path
            .strip_prefix('/')
            .map_or(("", path), |path| path.split_at(path.find(['/', '?', '#']).unwrap_or(path.len())));
        if addresses.is_empty() || master.is_empty() {
            return Err(SENTINEL_FORM);
        }
        Ok(Self::Sentinel { addresses, master: master.to_owned(), nodes: node_url(path.to_owned()) })
    }
}

/// The address of a host and a port, with brackets around an IPv6 address.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host of an address, without brackets.
pub(crate) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether an address ends with a port. A plain IPv6 address does not: the URL has it in brackets.
fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
}

/// Prints the scheme only, because the rest may contain a password.
impl std::fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeUrl").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
