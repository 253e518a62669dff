use std::iter::once;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, ready};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::AsyncDNSResolver;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisConnectionInfo, RedisError,
    RedisFuture, Value,
};

use crate::errors::ServerError;

/// A server that can be connected to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// With the host that the server's certificate must name.
    client: Client,
    /// Role and address, for messages.
    name: Arc<str>,
    /// The address to connect to, if it is not that host.
    address: Option<IpAddr>,
}

/// A connection that is opened again when it breaks.
#[derive(Clone)]
pub(crate) enum Manager {
    Plain(ConnectionManager),
    /// A `ConnectionManager` can only verify the host that it connects to.
    Announced(Arc<Announced>),
}

/// A connection to an announced address, with a certificate for another host.
pub(crate) struct Announced {
    endpoint: Endpoint,
    timeout: Duration,
    /// Polled by the operations that need it.
    connection: Mutex<SharedConnection>,
}

type SharedConnection = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

impl Endpoint {
    pub(crate) fn new(role: &str, client: Client) -> Self {
        let name = format!("{role} {}", client.get_connection_info().addr()).into();
        Self { client, name, address: None }
    }

    /// The server with this address (`HOST:PORT`, without brackets), with the settings of a client of the
    /// same cluster, or of the sentinels. If the address is an IP address, the certificate must name
    /// `certificate_host`, or else the address.
    pub(crate) fn announced(
        role: &str,
        client: &Client,
        address: &str,
        certificate_host: Option<&str>,
    ) -> Result<Self, RedisError> {
        let info = client.get_connection_info().clone();
        let (mut addr, target) = (info.addr().clone(), address.rsplit_once(':'));
        let mut ip = None;
        if let (
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. },
            Some((new_host, new_port)),
        ) = (&mut addr, target)
        {
            let invalid =
                |_| RedisError::from((ErrorKind::Client, "invalid address of a server", address.into()));
            ip = new_host.parse().ok().filter(|_| certificate_host.is_some());
            *host = certificate_host.filter(|_| ip.is_some()).unwrap_or(new_host).to_owned();
            *port = new_port.parse().map_err(invalid)?;
        }
        let client = Client::open(info.set_addr(addr))?;
        Ok(Self { client, name: format!("{role} {address}").into(), address: ip })
    }

    /// The same server with another login, and no database.
    pub(crate) fn with_login(&self, login: RedisConnectionInfo) -> Result<Self, RedisError> {
        let info = self.client.get_connection_info().clone().set_redis_settings(login.set_db(0));
        Ok(Self { client: Client::open(info)?, ..self.clone() })
    }

    pub(crate) fn login(&self) -> RedisConnectionInfo {
        self.client.get_connection_info().redis_settings().clone()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hosts that a certificate of another server may name if that server announces an IP address.
    pub(crate) fn certificate_host(&self) -> Option<&str> {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { host, .. } if host.parse::<IpAddr>().is_err() => Some(host),
            _ => None,
        }
    }

    /// Whether an address (`HOST:PORT`, without brackets) has an IP address.
    pub(crate) fn has_ip(address: &str) -> bool {
        address.rsplit_once(':').is_some_and(|(host, _)| host.parse::<IpAddr>().is_ok())
    }

    pub(crate) fn error(&self, error: RedisError) -> ServerError {
        ServerError { server: Arc::clone(&self.name), error }
    }

    /// Opens a connection that is used once.
    pub(crate) async fn connect(&self, timeout: Duration) -> Result<MultiplexedConnection, RedisError> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        if let Some(address) = self.address {
            config = config.set_dns_resolver(Always(address));
        }
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Creates a connection that the first operation opens.
    pub(crate) fn manager(&self, timeout: Duration) -> Result<Manager, RedisError> {
        if self.address.is_some() {
            let connection = Mutex::new(self.clone().open(timeout));
            return Ok(Manager::Announced(Arc::new(Announced {
                endpoint: self.clone(),
                timeout,
                connection,
            })));
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        ConnectionManager::new_lazy_with_config(self.client.clone(), config).map(Manager::Plain)
    }

    fn open(self, timeout: Duration) -> SharedConnection {
        async move { self.connect(timeout).await }.boxed().shared()
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

impl Announced {
    /// Executes an operation. A connection that broke, or could not be opened, is opened again by the next
    /// one.
    async fn run<T>(
        &self,
        operation: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let current = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, is_broken) = match current.clone().await {
            Ok(mut connection) => {
                let reply = operation(&mut connection).await;
                let is_broken = reply.as_ref().is_err_and(|error| error.is_io_error() && !error.is_timeout());
                (reply, is_broken)
            }
            Err(error) => (Err(error), true),
        };
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if is_broken && connection.ptr_eq(&current) {
            *connection = self.endpoint.clone().open(self.timeout);
        }
        reply
    }
}

impl ConnectionLike for Manager {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Plain(manager) => manager.req_packed_command(command),
            Self::Announced(announced) => announced
                .run(async move |connection: &mut MultiplexedConnection| {
                    connection.req_packed_command(command).await
                })
                .boxed(),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Plain(manager) => manager.req_packed_commands(pipeline, offset, count),
            Self::Announced(announced) => announced
                .run(async move |connection: &mut MultiplexedConnection| {
                    connection.req_packed_commands(pipeline, offset, count).await
                })
                .boxed(),
        }
    }

    /// Only a pool of connections needs it.
    fn get_db(&self) -> i64 {
        0
    }
}
