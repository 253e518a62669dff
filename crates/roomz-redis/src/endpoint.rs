use std::iter::once;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::ready;
use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError, RedisFuture,
};

use crate::errors::{ServerError, is_tls_error};

/// A server that can be connected to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    client: Client,
    /// Role and address, for messages.
    pub(crate) name: Arc<str>,
    /// The hosts of the URL. If the server announces an IP address, its certificate must name one of them, or
    /// else this address.
    certificate_hosts: Arc<[String]>,
    /// The timeout for an attempt to connect, and for a reply.
    pub(crate) timeout: Duration,
}

impl Endpoint {
    /// The servers of a URL.
    pub(crate) fn of_url(role: &str, clients: Vec<Client>, timeout: Duration) -> Vec<Self> {
        let host = |client: &Client| match client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
            _ => None,
        };
        let hosts: Arc<[String]> = clients.iter().filter_map(host).collect();
        clients.into_iter().map(|client| Self::new(role, client, Arc::clone(&hosts), timeout)).collect()
    }

    pub(crate) fn new(
        role: &str,
        client: Client,
        certificate_hosts: Arc<[String]>,
        timeout: Duration,
    ) -> Self {
        let name = format!("{role} {}", client.get_connection_info().addr()).into();
        Self { client, name, certificate_hosts, timeout }
    }

    /// The server with this address (`HOST:PORT`, without brackets), which this one announced. It has the
    /// same settings.
    pub(crate) fn announced(&self, role: &str, address: &str) -> Result<Self, RedisError> {
        let mut addr = self.client.get_connection_info().addr().clone();
        let invalid = || RedisError::from((ErrorKind::Client, "invalid address of a server", address.into()));
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut addr {
            let (new_host, new_port) = address.rsplit_once(':').ok_or_else(invalid)?;
            new_host.clone_into(host);
            *port = new_port.parse().map_err(|_| invalid())?;
        }
        Ok(Self { client: self.client_for(addr)?, name: format!("{role} {address}").into(), ..self.clone() })
    }

    /// The same server with another login, or with its own, and no database.
    pub(crate) fn with_login(&self, login: Option<RedisConnectionInfo>) -> Result<Self, RedisError> {
        let info = self.client.get_connection_info().clone();
        let login = login.unwrap_or_else(|| info.redis_settings().clone()).set_db(0);
        Ok(Self { client: Client::open(info.set_redis_settings(login))?, ..self.clone() })
    }

    /// `HOST:PORT`, without brackets.
    pub(crate) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    pub(crate) fn error(&self, error: RedisError) -> ServerError {
        ServerError { server: Arc::clone(&self.name), error }
    }

    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let addr = self.client.get_connection_info().addr();
        let client = self.client_for(addr.clone())?;
        let mut connected = client.get_multiplexed_async_connection_with_config(&config).await;
        if let ConnectionAddr::TcpTls { host, .. } = addr
            && let Ok(ip) = host.parse()
        {
            let config = config.set_dns_resolver(Always(ip));
            for certificate_host in &*self.certificate_hosts {
                if !connected.as_ref().is_err_and(is_tls_error) {
                    break;
                }
                let mut addr = addr.clone();
                if let ConnectionAddr::TcpTls { host, .. } = &mut addr {
                    certificate_host.clone_into(host);
                }
                let client = self.client_for(addr)?;
                connected = client.get_multiplexed_async_connection_with_config(&config).await;
            }
        }
        connected
    }

    /// A client with the same settings for another address. All operations share a connection, and without
    /// `TCP_NODELAY` each waits until the server has acknowledged those before it, with their replies.
    fn client_for(&self, addr: ConnectionAddr) -> Result<Client, RedisError> {
        let info = self.client.get_connection_info().clone().set_addr(addr);
        let settings = info.tcp_settings().clone().set_nodelay(true);
        Client::open(info.set_tcp_settings(settings))
    }
}

/// Resolves every host to this address.
struct Always(IpAddr);

impl AsyncDNSResolver for Always {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> =
            Box::new(once(SocketAddr::new(self.0, port)));
        ready(Ok(addresses)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations share a connection: none waits for the replies to those before it.
    #[test]
    fn sends_operations_at_once() -> Result<(), RedisError> {
        let client = Client::open("redis://localhost/3")?;
        let endpoint = Endpoint::new("Redis", client, Arc::default(), Duration::from_secs(2));
        let info = endpoint.client_for(ConnectionAddr::Tcp("localhost".to_owned(), 1))?;
        assert!(info.get_connection_info().tcp_settings().nodelay());
        assert_eq!(info.get_connection_info().redis_settings().db(), 3);
        Ok(())
    }
}
