use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::{STARTUP_TIMEOUT, Server};
use crate::skipped;

const SLOTS: u16 = 16_384;
const MASTERS: usize = 3;
/// A failed master is replaced after this time and an election.
const NODE_TIMEOUT: &str = "1000";
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A Redis Cluster of three masters, with one replica each.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters come first. A failover exchanges the roles of a master and its replica.
    pub nodes: Vec<Server>,
}

impl RedisCluster {
    /// Starts a cluster whose nodes have these additional arguments. If it cannot start, reports that the
    /// tests are skipped.
    pub fn start_or_skip(arguments: &[&str]) -> Option<Self> {
        let arguments =
            [&["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT], arguments].concat();
        let nodes: Option<Vec<_>> = (0..MASTERS * 2).map(|_| Server::redis_or_skip(&arguments)).collect();
        let cluster = Self { nodes: nodes? };
        cluster.create();
        Some(cluster)
    }

    fn create(&self) {
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        let size = SLOTS.div_ceil(MASTERS.try_into().unwrap());
        for (index, master) in (0..).zip(masters) {
            let (first, last) = (index * size, ((index + 1) * size).min(SLOTS) - 1);
            master.add_cluster_slots(first..=last);
            assert_eq!(master.redis_text(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), "OK\n");
        }
        let first = masters.first().unwrap();
        for node in &self.nodes {
            assert_eq!(first.redis_text(&format!("CLUSTER MEET 127.0.0.1 {}", node.port())), "OK\n");
        }
        for (master, replica) in masters.iter().zip(replicas) {
            let id = Self::id(master);
            // A node does not know the others until they have met.
            poll("a replica", || replica.redis_text(&format!("CLUSTER REPLICATE {id}")) == "OK\n");
        }
        self.wait_until_ready();
        poll("replication", || replicas.iter().all(Server::is_synchronised_replica));
        poll("the replicas", || {
            masters.iter().all(|node| Self::lines(node, "CLUSTER NODES", "slave") == MASTERS)
        });
    }

    /// Waits until each node accepts commands for its slots: a master that restarts does so after 2 s.
    pub fn wait_until_ready(&self) {
        let is_ready = |node: &Server| {
            let info = Self::info(node);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
        };
        poll("the cluster", || self.nodes.iter().all(is_ready));
    }

    /// The URL of the cluster, with the addresses of all nodes.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The id of a node.
    pub fn id(node: &Server) -> String {
        node.redis_text("CLUSTER MYID").trim().to_owned()
    }

    fn info(node: &Server) -> String {
        node.redis_text("CLUSTER INFO")
    }

    fn lines(node: &Server, command: &str, word: &str) -> usize {
        node.redis_text(command).lines().filter(|line| line.contains(word)).count()
    }

    /// Moves a range of slots with their keys from one node to another, as `redis-cli --cluster reshard`
    /// does. Returns the number of moved keys.
    pub fn move_slots(&self, from: usize, to: usize, slots: std::ops::Range<u16>) -> usize {
        let (source, target) = (self.nodes.get(from).unwrap(), self.nodes.get(to).unwrap());
        let (source_id, target_id) = (Self::id(source), Self::id(target));
        let mut moved = 0;
        for slot in slots {
            let set = |node: &Server, state: &str| {
                assert_eq!(node.redis_command(&format!("CLUSTER SETSLOT {slot} {state}")), "+OK");
            };
            set(target, &format!("IMPORTING {source_id}"));
            set(source, &format!("MIGRATING {target_id}"));
            while source.redis_command(&format!("CLUSTER COUNTKEYSINSLOT {slot}")) != ":0" {
                let keys = source.redis_text(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
                let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
                moved += keys.len();
                let port = target.port().to_string();
                let arguments = [&["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"], keys.as_slice()];
                let reply = source.redis_cli(&arguments.concat());
                assert!(reply.starts_with("OK") || reply.starts_with("NOKEY"), "{reply}");
            }
            set(target, &format!("NODE {target_id}"));
            set(source, &format!("NODE {target_id}"));
        }
        moved
    }
}

/// A Redis master with a replica, and three sentinels that monitor it with the name `claims`.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The first master, and its replica.
    pub nodes: [Server; 2],
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl RedisSentinels {
    /// Starts the servers. If they cannot start, reports that the tests are skipped.
    pub fn start_or_skip(arguments: &[&str]) -> Option<Self> {
        let master = Server::redis_or_skip(arguments)?;
        let port = master.port().to_string();
        let replica = Server::redis_or_skip(&[&["--replicaof", "127.0.0.1", &port], arguments].concat())?;
        poll("the replica", || replica.is_synchronised_replica());
        let sentinels: Option<Vec<_>> = (0..3).map(|_| Server::sentinel_or_skip(&master)).collect();
        let sentinels = sentinels?;
        let knows_all = |sentinel: &Server| {
            let info = sentinel.redis_text("INFO sentinel");
            info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
        };
        poll("the sentinels", || sentinels.iter().all(knows_all));
        Some(Self { nodes: [master, replica], sentinels })
    }

    /// The URL of the master.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|node| node.address().to_string()).collect();
        format!("redis+sentinel://{}/claims", addresses.join(","))
    }
}

impl Server {
    /// Assigns slots to a node of a cluster that has none yet.
    pub fn add_cluster_slots(&self, slots: std::ops::RangeInclusive<u16>) {
        // `ADDSLOTSRANGE` needs Redis 7.
        let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
        assert_eq!(self.redis_text(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))), "OK\n");
    }

    /// Whether a server is a master: the reply to `ROLE`.
    pub fn is_redis_master(&self) -> bool {
        self.redis_text("ROLE").starts_with("master")
    }

    /// Whether a server is a replica that has received all data of its master.
    pub fn is_synchronised_replica(&self) -> bool {
        self.redis_text("INFO replication").contains("master_link_status:up")
    }

    fn sentinel_or_skip(master: &Self) -> Option<Self> {
        let mut config = format!(
            "sentinel monitor claims 127.0.0.1 {} 2\nsentinel down-after-milliseconds claims 1000\n\
             sentinel failover-timeout claims 3000\n",
            master.port()
        );
        if let Some(password) = master.argument("--requirepass") {
            config += &format!("sentinel auth-pass claims {password}\n");
        }
        let files = [("sentinel.conf", config.as_bytes())];
        let tls = master.arguments.chunks(2).filter(|pair| {
            pair.first().is_some_and(|name| {
                name.starts_with("--tls-") && name != "--tls-port" && name != "--tls-cluster"
            })
        });
        let tls: Vec<_> = tls.flatten().map(String::as_str).collect();
        let server =
            Self::redis_with_files(&files, &[&["sentinel.conf", "--sentinel"], tls.as_slice()].concat());
        if server.is_none() {
            skipped("tests that start Redis", "there is no `redis-server` on the PATH");
        }
        server
    }
}

/// The URL of a Redis Cluster that is started once per process. If it cannot start, reports that the tests
/// are skipped and returns `None`.
pub fn redis_cluster_url_or_skip() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        let cluster = RedisCluster::start_or_skip(&[])?;
        let url = cluster.url();
        cluster.nodes.into_iter().for_each(Server::kill_with_this_process);
        Some(url)
    })
    .clone()
}

/// Like [`redis_cluster_url_or_skip`], for a master with sentinels.
pub fn redis_sentinel_url_or_skip() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        let servers = RedisSentinels::start_or_skip(&[])?;
        let url = servers.url();
        servers.nodes.into_iter().chain(servers.sentinels).for_each(Server::kill_with_this_process);
        Some(url)
    })
    .clone()
}

/// Waits until a condition is true.
pub fn poll(what: &str, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < STARTUP_TIMEOUT, "{what} is not ready after {STARTUP_TIMEOUT:?}");
        std::thread::sleep(POLL_INTERVAL);
    }
}
