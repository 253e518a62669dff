use std::net::SocketAddr;
use std::time::Duration;

use roomz_tests::{RedisCluster, Server};

use super::{Backend, ServerFault};

/// A Redis Cluster whose nodes write every command to disk before they reply. No replica takes over. A fault
/// is that of one master, each time of the next.
pub(crate) struct Cluster {
    servers: RedisCluster,
    faults: usize,
}

impl Cluster {
    fn master(&mut self) -> &mut Server {
        self.servers.nodes.get_mut(self.faults % 3).unwrap()
    }
}

impl Backend for Cluster {
    const NAME: &'static str = "redis-cluster";

    fn start() -> Option<Self> {
        let arguments =
            ["--appendonly", "yes", "--appendfsync", "always", "--cluster-replica-no-failover", "yes"];
        Some(Self { servers: RedisCluster::start_or_skip(&arguments)?, faults: 0 })
    }

    fn url(&self, _: Option<SocketAddr>) -> String {
        self.servers.url()
    }

    fn address(&self) -> SocketAddr {
        panic!("a cluster has several addresses")
    }

    fn begin(&mut self, fault: ServerFault, duration: Duration) {
        self.faults += 1;
        match fault {
            ServerFault::Killed => self.master().kill(),
            ServerFault::Stopped => self.master().signal("STOP"),
            ServerFault::StallsClients => {
                let pause = format!("CLIENT PAUSE {} ALL", duration.as_millis());
                assert_eq!(self.master().redis_command(&pause), "+OK");
            }
            other => panic!("a cluster does not support {other:?}"),
        }
    }

    fn end(&mut self, fault: ServerFault) {
        match fault {
            ServerFault::Killed => self.master().restart(),
            ServerFault::Stopped => self.master().signal("CONT"),
            // The server ends the pause after its duration.
            _ => {}
        }
        self.servers.wait_until_ready();
    }
}
