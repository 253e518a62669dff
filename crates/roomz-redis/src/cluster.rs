use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::select_ok;
use redis::cluster_routing::Slot;
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, from_redis_value_ref};

use crate::connection::{Call, Connection, Timeouts};
use crate::url::{self, NodeUrl};

/// The minimum time between two requests for the slots.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// An operation follows this many redirections. A slot that moves needs two: `MOVED`, then `ASK`.
const MAX_REDIRECTIONS: u32 = 4;

/// The masters of a Redis Cluster, with one connection each.
///
/// The cluster client of redis sends an operation again when its connection breaks, which is not safe for a release. It
/// also stops all operations while it waits for a silent node.
pub(crate) struct Cluster {
    nodes: NodeUrl,
    timeouts: Timeouts,
    /// The nodes of the URL.
    seeds: Vec<Arc<Node>>,
    map: Mutex<SlotMap>,
}

pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) connection: Connection,
}

struct SlotMap {
    owners: HashMap<Slot, Arc<Node>>,
    /// The masters, and nodes that a redirection named since the last refresh.
    nodes: HashMap<String, Arc<Node>>,
    /// The address of a node that did not reply or does not serve its slots any more. The next operation asks the
    /// other nodes for the slots.
    suspect: Option<String>,
    refreshed: Instant,
}

/// The first slot, the last slot, and the address of their master.
type SlotRange = (u16, u16, String);

impl Cluster {
    /// Asks the nodes with these addresses for the masters.
    pub(crate) async fn connect(
        addresses: &[String],
        nodes: NodeUrl,
        timeouts: Timeouts,
    ) -> Result<Self, RedisError> {
        let seeds = addresses.iter().map(|address| Node::new(address, &nodes, timeouts));
        let seeds = seeds.collect::<Result<_, _>>()?;
        let map = SlotMap {
            owners: HashMap::new(),
            nodes: HashMap::new(),
            suspect: None,
            refreshed: Instant::now(),
        };
        let cluster = Self { nodes, timeouts, seeds, map: Mutex::new(map) };
        cluster.refresh(None).await?;
        Ok(cluster)
    }

    /// The masters that have slots.
    pub(crate) fn masters(&self) -> Vec<Arc<Node>> {
        let mut addresses = HashSet::new();
        let map = self.map();
        map.owners.values().filter(|node| addresses.insert(node.address.clone())).cloned().collect()
    }

    /// Creates keys until each master has one.
    pub(crate) fn one_key_per_master(&self, new_key: impl Fn() -> String) -> Vec<String> {
        let mut untested: HashSet<_> = self.masters().iter().map(|node| node.address.clone()).collect();
        let mut keys = Vec::new();
        while !untested.is_empty() {
            let key = new_key();
            if self.owner(Slot::for_key(&key)).is_ok_and(|node| untested.remove(&node.address)) {
                keys.push(key);
            }
        }
        keys
    }

    /// Executes a call on the node that owns the key. Follows redirections: the node that redirects has not executed it.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        key: &str,
        call: &Call<'_>,
    ) -> Result<T, RedisError> {
        self.refresh_if_suspect().await;
        let slot = Slot::for_key(key);
        let (mut node, mut asking) = (self.owner(slot)?, false);
        for _ in 0..MAX_REDIRECTIONS {
            let mut watch = Watch { cluster: self, address: &node.address, is_healthy: false };
            let reply = node.connection.invoke(call, asking).await;
            watch.is_healthy = reply.as_ref().err().is_none_or(is_healthy);
            drop(watch);
            let Some(error) = reply.as_ref().err() else { return reply };
            asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            let Some((address, _)) = error.redirect_node() else { return reply };
            let target = self.node(&redirect_address(address, &node.address))?;
            if !asking {
                self.map().owners.insert(slot, Arc::clone(&target));
            }
            node = target;
        }
        Err((ErrorKind::Io, "the nodes of the cluster redirect in a circle").into())
    }

    fn owner(&self, slot: Slot) -> Result<Arc<Node>, RedisError> {
        let mut map = self.map();
        if let Some(node) = map.owners.get(&slot) {
            return Ok(Arc::clone(node));
        }
        map.suspect.get_or_insert_default();
        Err((ErrorKind::ClusterConnectionNotFound, "no node of the cluster serves this key").into())
    }

    /// The node with this address, which the map keeps until the next refresh at least.
    fn node(&self, address: &str) -> Result<Arc<Node>, RedisError> {
        self.map().node(address, &self.nodes, self.timeouts)
    }

    /// Asks for the slots if a node is suspect. A failure is not reported: the operation that follows shows it.
    async fn refresh_if_suspect(&self) {
        let suspect = {
            let mut map = self.map();
            if map.suspect.is_none() || map.refreshed.elapsed() < REFRESH_INTERVAL_MIN {
                return;
            }
            map.refreshed = Instant::now();
            map.suspect.take()
        };
        if let Err(error) = self.refresh(suspect.as_deref()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                hint = "check that the nodes of the cluster are reachable",
                "slots of the Redis Cluster unknown",
            );
            self.map().suspect = suspect;
        }
    }

    /// Asks all nodes at once except the suspect one, and takes the first reply: the caller may not wait until a silent
    /// node times out, and a failed master may not know that it was replaced.
    async fn refresh(&self, suspect: Option<&str>) -> Result<(), RedisError> {
        let mut nodes: Vec<_> = self.map().nodes.values().cloned().collect();
        let unknown_seeds = |seed: &&Arc<Node>| nodes.iter().all(|node| node.address != seed.address);
        nodes.extend(self.seeds.iter().filter(unknown_seeds).cloned().collect::<Vec<_>>());
        let others: Vec<_> =
            nodes.iter().filter(|node| Some(node.address.as_str()) != suspect).cloned().collect();
        let asked = if others.is_empty() { nodes } else { others };
        let requests = asked.iter().map(|node| Box::pin(read_slots(node)));
        let (ranges, _) = select_ok(requests).await?;
        self.map().replace(&ranges, &self.nodes, self.timeouts)
    }

    fn map(&self) -> MutexGuard<'_, SlotMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn new(address: &str, nodes: &NodeUrl, timeouts: Timeouts) -> Result<Arc<Self>, RedisError> {
        let connection = Connection::lazy(nodes.client(address)?, timeouts)?;
        Ok(Arc::new(Self { address: address.to_owned(), connection }))
    }
}

impl SlotMap {
    fn node(&mut self, address: &str, nodes: &NodeUrl, timeouts: Timeouts) -> Result<Arc<Node>, RedisError> {
        if let Some(node) = self.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Node::new(address, nodes, timeouts)?;
        self.nodes.insert(address.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// Keeps the connections of the nodes that are still masters.
    fn replace(
        &mut self,
        ranges: &[SlotRange],
        nodes: &NodeUrl,
        timeouts: Timeouts,
    ) -> Result<(), RedisError> {
        let mut owners = HashMap::new();
        for (first, last, address) in ranges {
            let node = self.node(address, nodes, timeouts)?;
            owners.extend((*first..=*last).filter_map(Slot::new).map(|slot| (slot, Arc::clone(&node))));
        }
        self.owners = owners;
        self.nodes.retain(|address, _| ranges.iter().any(|(_, _, master)| master == address));
        Ok(())
    }
}

/// An operation on a node. `Drop` makes the node suspect unless it replied, also when the caller gave up.
struct Watch<'a> {
    cluster: &'a Cluster,
    address: &'a str,
    is_healthy: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.is_healthy {
            self.cluster.map().suspect = Some(self.address.to_owned());
        }
    }
}

/// Whether a node that replied with this error still serves its slots, so that the map is correct.
fn is_healthy(error: &RedisError) -> bool {
    let kind = error.kind();
    let is_cluster_error = error.is_cluster_error() && kind != ErrorKind::Server(ServerErrorKind::Ask);
    let is_down = matches!(
        kind,
        ErrorKind::Io
            | ErrorKind::AuthenticationFailed
            | ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
            )
    );
    !is_cluster_error && !is_down
}

/// The address of a redirection. An empty host means the host of the node that redirected.
fn redirect_address(address: &str, redirecting_node: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    match port.parse() {
        Ok(port) if host.is_empty() => url::address(url::host(redirecting_node), port),
        Ok(port) => url::address(host, port),
        Err(_) => address.to_owned(),
    }
}

/// Reads which master owns which slots, from one node.
async fn read_slots(node: &Node) -> Result<Vec<SlotRange>, RedisError> {
    let mut manager = node.connection.manager();
    let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut manager).await?;
    let mut ranges = Vec::new();
    for row in &rows {
        // Each row is the first slot, the last slot, the master, and its replicas.
        let [first, last, master, ..] = row.as_slice() else { continue };
        let Value::Array(master) = master else { continue };
        let [host, port, ..] = master.as_slice() else { continue };
        let host: Option<String> = from_redis_value_ref(host)?;
        // A node that does not know its own name replies with nothing or `?`. It can be reached where it was asked.
        let host = match host.as_deref() {
            None | Some("" | "?") => url::host(&node.address),
            Some(host) => host,
        };
        let address = url::address(host, from_redis_value_ref(port)?);
        ranges.push((from_redis_value_ref(first)?, from_redis_value_ref(last)?, address));
    }
    if ranges.is_empty() {
        return Err((ErrorKind::ClusterConnectionNotFound, "no node of the cluster has slots").into());
    }
    Ok(ranges)
}
