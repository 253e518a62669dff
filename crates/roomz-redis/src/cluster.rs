use std::collections::HashMap;
use std::iter::{once, repeat_with};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::select_ok;
use redis::cluster_routing::Slot;
use redis::{Client, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, from_redis_value_ref};

use crate::connection::{Call, Connection};
use crate::endpoint::{Endpoint, Manager};
use crate::errors::{ServerError, is_tls_error};

/// The role of a server in messages.
const NODE: &str = "the Redis Cluster node";
/// The minimum time between two requests for the slots.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// An operation follows this many redirections. A slot that moves needs two: `MOVED`, then `ASK`.
const MAX_REDIRECTIONS: u32 = 4;

/// The masters of a Redis Cluster, with one connection each.
///
/// The cluster client of redis stops all operations while it waits for a silent node.
pub(crate) struct Cluster {
    /// A node of the URL. All nodes have its settings.
    client: Client,
    /// The host of the URL that the certificates of nodes name that announce IP addresses, if they do not
    /// name these.
    certificate_host: Option<String>,
    timeout: Duration,
    map: Mutex<SlotMap>,
}

pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) connection: Connection,
    /// The URL names it, so it is also asked for the slots when it is not a master.
    is_seed: bool,
}

struct SlotMap {
    owners: HashMap<Slot, Arc<Node>>,
    /// The masters, the nodes of the URL, and nodes that a redirection named since the last refresh.
    nodes: HashMap<String, Arc<Node>>,
    refreshed: Instant,
}

/// The first slot, the last slot, and the address of their master.
type SlotRange = (u16, u16, String);

impl Cluster {
    /// Asks these nodes for the masters.
    pub(crate) async fn connect(seeds: Vec<Client>, timeout: Duration) -> Result<Self, ServerError> {
        let no_seed = || {
            let error = (ErrorKind::InvalidClientConfig, "no node of the cluster is named").into();
            ServerError { server: NODE.into(), error }
        };
        let client = seeds.first().ok_or_else(no_seed)?.clone();
        let seeds: Vec<_> = seeds.into_iter().map(|seed| Endpoint::new(NODE, seed)).collect();
        let nodes = seeds.iter().map(|seed| {
            let address = seed.client().get_connection_info().addr().to_string();
            Ok((address.clone(), Node::new(seed.clone(), address, timeout, true)?))
        });
        let nodes = nodes.collect::<Result<_, ServerError>>()?;
        let map = Mutex::new(SlotMap { owners: HashMap::new(), nodes, refreshed: Instant::now() });
        let mut cluster = Self { client, certificate_host: None, timeout, map };
        cluster.refresh().await?;
        cluster.find_certificate_host(&seeds).await?;
        Ok(cluster)
    }

    /// Finds out which host the certificates of nodes that announce an IP address name: this address, or a
    /// host of the URL. The first node that can be reached decides.
    async fn find_certificate_host(&mut self, seeds: &[Endpoint]) -> Result<(), ServerError> {
        let hosts: Vec<_> = seeds.iter().filter_map(Endpoint::certificate_host).collect();
        let is_ip = |node: &Arc<Node>| Endpoint::has_ip(&node.address);
        for node in self.masters().into_iter().filter(|node| !hosts.is_empty() && is_ip(node)) {
            for host in once(None).chain(hosts.iter().copied().map(Some)) {
                let endpoint = self.endpoint(&node.address, host)?;
                match endpoint.connect(self.timeout).await {
                    Err(error) if is_tls_error(&error) => {}
                    Err(_) => break,
                    Ok(_) => {
                        self.certificate_host = host.map(str::to_owned);
                        self.map().nodes.retain(|_, node| node.is_seed);
                        return self.refresh().await;
                    }
                }
            }
        }
        Ok(())
    }

    fn endpoint(&self, address: &str, certificate_host: Option<&str>) -> Result<Endpoint, ServerError> {
        let to_error = |error| ServerError { server: format!("{NODE} {address}").into(), error };
        Endpoint::announced(NODE, &self.client, address, certificate_host).map_err(to_error)
    }

    /// The masters that have slots.
    pub(crate) fn masters(&self) -> Vec<Arc<Node>> {
        let map = self.map();
        let is_master = |node: &&Arc<Node>| map.owners.values().any(|owner| Arc::ptr_eq(owner, node));
        map.nodes.values().filter(is_master).cloned().collect()
    }

    /// Creates keys until each master has one.
    pub(crate) fn one_key_per_master(&self, new_key: impl Fn() -> String) -> Vec<String> {
        let (masters, map) = (self.masters(), self.map());
        let owner = |key: &String| map.owners.get(&Slot::for_key(key));
        let key_of = |master: &Arc<Node>| {
            repeat_with(&new_key).find(|key| owner(key).is_some_and(|owner| Arc::ptr_eq(owner, master)))
        };
        masters.iter().filter_map(key_of).collect()
    }

    /// Executes a call on the node that owns the key. Follows redirections: the node that redirects has not
    /// executed it.
    pub(crate) async fn invoke<T: FromRedisValue>(&self, key: &str, call: &Call) -> Result<T, ServerError> {
        let slot = Slot::for_key(key);
        let (mut node, mut asking) = (self.owner(slot).await?, false);
        for _ in 0..MAX_REDIRECTIONS {
            let reply = node.connection.invoke(call, asking).await;
            let Some(error) = reply.as_ref().err() else { return reply };
            let Some((address, _)) = error.error.redirect_node() else { return reply };
            asking = error.error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            let mut map = self.map();
            node = self.node(&mut map, &node.address_of(host, port))?;
            if !asking {
                map.owners.insert(slot, Arc::clone(&node));
            }
        }
        let error = (ErrorKind::Io, "the nodes of the cluster redirect in a circle").into();
        Err(ServerError { server: Arc::clone(&node.connection.manager().0), error })
    }

    /// Returns the master of a slot. If it did not serve the last operation, the other nodes are asked for
    /// the slots first.
    async fn owner(&self, slot: Slot) -> Result<Arc<Node>, ServerError> {
        let is_due = {
            let mut map = self.map();
            let is_failing = map.owners.get(&slot).is_none_or(|node| node.connection.is_failing());
            let is_due = is_failing && map.refreshed.elapsed() >= REFRESH_INTERVAL_MIN;
            if is_due {
                map.refreshed = Instant::now();
            }
            is_due
        };
        // A failure is not reported: the operation that follows shows it.
        if is_due && let Err(error) = self.refresh().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                hint = "check that the nodes of the cluster are reachable",
                "slots of the Redis Cluster unknown",
            );
        }
        let unknown = (ErrorKind::ClusterConnectionNotFound, "no node of the cluster serves this key");
        let unknown = || ServerError { server: "the Redis Cluster".into(), error: unknown.into() };
        self.map().owners.get(&slot).cloned().ok_or_else(unknown)
    }

    /// Asks all nodes at once that do not fail, and takes the first reply: the caller may not wait until a
    /// silent node times out, and a failed master may not know that it was replaced. Keeps the connections of
    /// the nodes that are still masters.
    async fn refresh(&self) -> Result<(), ServerError> {
        let nodes: Vec<_> = self.map().nodes.values().cloned().collect();
        let healthy: Vec<_> = nodes.iter().filter(|node| !node.connection.is_failing()).cloned().collect();
        let asked = if healthy.is_empty() { nodes } else { healthy };
        let (ranges, _) = select_ok(asked.iter().map(|node| Box::pin(node.read_slots()))).await?;
        let mut map = self.map();
        let mut owners = HashMap::new();
        for (first, last, address) in &ranges {
            let node = self.node(&mut map, address)?;
            owners.extend((*first..=*last).filter_map(Slot::new).map(|slot| (slot, Arc::clone(&node))));
        }
        map.owners = owners;
        map.nodes
            .retain(|address, node| node.is_seed || ranges.iter().any(|(_, _, master)| master == address));
        Ok(())
    }

    /// Returns the node with this address, which stays in the map until the next refresh at least.
    fn node(&self, map: &mut SlotMap, address: &str) -> Result<Arc<Node>, ServerError> {
        if let Some(node) = map.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let endpoint = self.endpoint(address, self.certificate_host.as_deref())?;
        let node = Node::new(endpoint, address.to_owned(), self.timeout, false)?;
        map.nodes.insert(address.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    fn map(&self) -> MutexGuard<'_, SlotMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn new(
        endpoint: Endpoint,
        address: String,
        timeout: Duration,
        is_seed: bool,
    ) -> Result<Arc<Self>, ServerError> {
        let connection = Connection::to_server(endpoint, timeout)?;
        Ok(Arc::new(Self { address, connection, is_seed }))
    }

    /// The address of a node that this node named. A node that does not know a name says nothing or `?`,
    /// which means the host where it was asked itself.
    fn address_of(&self, host: &str, port: &str) -> String {
        let own_host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        format!("{}:{port}", if matches!(host, "" | "?") { own_host } else { host })
    }

    /// Reads which master owns which slots.
    async fn read_slots(&self) -> Result<Vec<SlotRange>, ServerError> {
        let (server, manager) = self.connection.manager();
        self.try_read_slots(manager).await.map_err(|error| ServerError { server, error })
    }

    async fn try_read_slots(&self, mut manager: Manager) -> Result<Vec<SlotRange>, RedisError> {
        let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut manager).await?;
        let mut ranges = Vec::new();
        for row in &rows {
            // Each row is the first slot, the last slot, the master, and its replicas.
            let [first, last, Value::Array(master), ..] = row.as_slice() else { continue };
            let [host, port, ..] = master.as_slice() else { continue };
            let host: Option<String> = from_redis_value_ref(host)?;
            let port: String = from_redis_value_ref(port)?;
            let address = self.address_of(host.as_deref().unwrap_or_default(), &port);
            ranges.push((from_redis_value_ref(first)?, from_redis_value_ref(last)?, address));
        }
        if ranges.is_empty() {
            return Err((ErrorKind::ClusterConnectionNotFound, "no node of the cluster has slots").into());
        }
        Ok(ranges)
    }
}
