use std::collections::HashMap;
use std::iter::repeat_with;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt as _;
use futures_util::future::{FutureExt as _, select_ok};
use redis::cluster_routing::Slot;
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, from_redis_value_ref};

use crate::connection::{Call, Connection};
use crate::endpoint::Endpoint;
use crate::errors::ServerError;

/// The role of a server in messages.
pub(crate) const NODE: &str = "the Redis Cluster node";
/// The minimum time between two requests for the slots.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// An operation is sent this many times. A slot that moves needs three: `MOVED`, then `ASK`.
const MAX_REDIRECTIONS: u32 = 4;

/// The masters of a Redis Cluster, with one connection each.
///
/// The cluster client of redis stops all operations while it waits for a silent node.
pub(crate) struct Cluster {
    map: Mutex<SlotMap>,
}

struct SlotMap {
    owners: HashMap<Slot, Arc<Node>>,
    /// The masters, the nodes of the URL, and nodes that a redirection named since the last refresh.
    nodes: HashMap<String, Arc<Node>>,
    refreshed: Instant,
}

struct Node {
    endpoint: Endpoint,
    connection: Arc<Connection>,
    /// The URL names it, so it is also asked for the slots when it is not a master.
    is_seed: bool,
}

/// The first slot, the last slot, and their master.
type SlotRange = (u16, u16, Endpoint);

impl Cluster {
    /// Asks these nodes for the masters. There must be one at least.
    pub(crate) async fn connect(seeds: Vec<Endpoint>) -> Result<Self, ServerError> {
        let nodes = seeds.into_iter().map(|seed| (seed.address(), Node::new(seed, true))).collect();
        let map = SlotMap { owners: HashMap::new(), nodes, refreshed: Instant::now() };
        let cluster = Self { map: Mutex::new(map) };
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// The masters that have slots, each with a key of its own.
    pub(crate) fn masters(&self, new_key: impl Fn() -> String) -> Vec<(String, Arc<Connection>)> {
        let SlotMap { owners, nodes, .. } = &*self.map();
        let with_key = |node: &Arc<Node>| {
            let is_own =
                |key: &String| owners.get(&Slot::for_key(key)).is_some_and(|owner| Arc::ptr_eq(owner, node));
            // All keys of a prefix with a hash tag have the same slot: other masters have none.
            Some((repeat_with(&new_key).take(1 << 16).find(is_own)?, Arc::clone(&node.connection)))
        };
        nodes.values().filter(|node| has_slots(owners, node)).filter_map(with_key).collect()
    }

    /// Executes a call on the node that owns the key. Follows redirections: the node that redirects has not
    /// executed it.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        key: &str,
        mut call: Call,
    ) -> Result<T, ServerError> {
        let slot = Slot::for_key(key);
        let mut node = self.owner(slot).await?;
        for _ in 0..MAX_REDIRECTIONS {
            let reply = node.connection.invoke(&call).await;
            let Some(error) = reply.as_ref().err() else { return reply };
            let Some((address, _)) = error.error.redirect_node() else { return reply };
            call.asking = error.error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            let target = node.announced(host, port).map_err(|error| node.endpoint.error(error))?;
            let mut map = self.map();
            node = map.node(target);
            if !call.asking {
                map.owners.insert(slot, Arc::clone(&node));
            }
        }
        let error = (ErrorKind::Io, "the nodes of the cluster redirect in a circle").into();
        Err(node.endpoint.error(error))
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
        let replies =
            asked.iter().map(|node| node.read_slots().map_err(|error| node.endpoint.error(error)).boxed());
        let (ranges, _) = select_ok(replies).await?;
        let mut map = self.map();
        let mut owners = HashMap::new();
        for (first, last, master) in ranges {
            let node = map.node(master);
            owners.extend((first..=last).filter_map(Slot::new).map(|slot| (slot, Arc::clone(&node))));
        }
        map.nodes.retain(|_, node| node.is_seed || has_slots(&owners, node));
        map.owners = owners;
        Ok(())
    }

    fn map(&self) -> MutexGuard<'_, SlotMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotMap {
    /// Returns the node at this endpoint, which stays in the map until the next refresh at least.
    fn node(&mut self, endpoint: Endpoint) -> Arc<Node> {
        let node = self.nodes.entry(endpoint.address()).or_insert_with(|| Node::new(endpoint, false));
        Arc::clone(node)
    }
}

fn has_slots(owners: &HashMap<Slot, Arc<Node>>, node: &Arc<Node>) -> bool {
    owners.values().any(|owner| Arc::ptr_eq(owner, node))
}

impl Node {
    fn new(endpoint: Endpoint, is_seed: bool) -> Arc<Self> {
        let connection = Arc::new(Connection::to_server(endpoint.clone()));
        Arc::new(Self { endpoint, connection, is_seed })
    }

    /// A node that this node named. A node that does not know a name says nothing or `?`, which means the
    /// host where it was asked itself.
    fn announced(&self, host: &str, port: &str) -> Result<Endpoint, RedisError> {
        let own_address = self.endpoint.address();
        let own_host = own_address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = if matches!(host, "" | "?") { own_host } else { host };
        self.endpoint.announced(NODE, &format!("{host}:{port}"))
    }

    /// Reads which master owns which slots.
    async fn read_slots(&self) -> Result<Vec<SlotRange>, RedisError> {
        // On a connection of its own: that of a node without slots is idle for so long that it may be gone.
        let mut connection = self.endpoint.connect().await?;
        let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
        let mut ranges = Vec::new();
        for row in &rows {
            // Each row is the first slot, the last slot, the master, and its replicas.
            let [first, last, Value::Array(master), ..] = row.as_slice() else { continue };
            let [host, port, ..] = master.as_slice() else { continue };
            let host: Option<String> = from_redis_value_ref(host)?;
            let port: String = from_redis_value_ref(port)?;
            let master = self.announced(host.as_deref().unwrap_or_default(), &port)?;
            ranges.push((from_redis_value_ref(first)?, from_redis_value_ref(last)?, master));
        }
        if ranges.is_empty() {
            return Err((ErrorKind::ClusterConnectionNotFound, "no node of the cluster has slots").into());
        }
        Ok(ranges)
    }
}
