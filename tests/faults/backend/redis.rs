use std::net::SocketAddr;
use std::time::Duration;

use roomz_tests::Server;

use super::{Backend, ServerFault};

/// A Redis server that writes every command to disk before it replies.
pub(crate) struct Redis(Server);

impl Redis {
    fn set(&self, command: &str) {
        assert_eq!(self.0.redis_command(command), "+OK", "{command}");
    }
}

impl Backend for Redis {
    const NAME: &'static str = "redis";

    fn start() -> Option<Self> {
        Server::redis_or_skip(&["--appendonly", "yes", "--appendfsync", "always"]).map(Self)
    }

    fn url(&self, address: Option<SocketAddr>) -> String {
        format!("redis://{}", address.unwrap_or(self.0.address()))
    }

    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn begin(&mut self, fault: ServerFault, duration: Duration) {
        match fault {
            ServerFault::Killed => self.0.kill(),
            ServerFault::Stopped => self.0.signal("STOP"),
            ServerFault::StallsClients => self.set(&format!("CLIENT PAUSE {} ALL", duration.as_millis())),
            ServerFault::Full => self.set("CONFIG SET maxmemory 1"),
            ServerFault::ReadOnly => self.set("REPLICAOF 127.0.0.1 1"),
            ServerFault::LacksReplica => self.set("CONFIG SET min-replicas-to-write 1"),
            ServerFault::PoolerKilled => panic!("Redis has no pooler"),
        }
    }

    fn end(&mut self, fault: ServerFault) {
        match fault {
            ServerFault::Killed => self.0.restart(),
            ServerFault::Stopped => self.0.signal("CONT"),
            // The server ends the pause after its duration.
            ServerFault::StallsClients | ServerFault::PoolerKilled => {}
            ServerFault::Full => self.set("CONFIG SET maxmemory 0"),
            ServerFault::ReadOnly => self.set("REPLICAOF NO ONE"),
            ServerFault::LacksReplica => self.set("CONFIG SET min-replicas-to-write 0"),
        }
    }
}
