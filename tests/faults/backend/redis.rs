use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use roomz_tests::{Server, left_out};

use super::{Backend, Trouble};

/// A Redis server that writes everything to its disk before it answers.
pub(crate) struct Redis(Server);

impl Redis {
    fn set(&self, command: &str) {
        assert_eq!(self.0.redis_command(command), "+OK", "{command}");
    }
}

impl Backend for Redis {
    const NAME: &'static str = "redis";

    fn start() -> Option<Self> {
        let server = Server::redis(&["--appendonly", "yes", "--appendfsync", "always"]);
        if server.is_none() {
            static SAID: Once = Once::new();
            SAID.call_once(|| left_out("faults with Redis", "there is no `redis-server` on the PATH"));
        }
        server.map(Self)
    }

    fn url(&self, address: Option<SocketAddr>) -> String {
        format!("redis://{}", address.unwrap_or(self.0.address()))
    }

    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn begin(&mut self, trouble: Trouble, time: Duration) {
        match trouble {
            Trouble::Killed => self.0.kill(),
            Trouble::Stopped => self.0.signal("STOP"),
            Trouble::Paused => self.set(&format!("CLIENT PAUSE {} ALL", time.as_millis())),
            Trouble::Full => self.set("CONFIG SET maxmemory 1"),
            Trouble::ReadOnly => self.set("REPLICAOF 127.0.0.1 1"),
            Trouble::LacksReplica => self.set("CONFIG SET min-replicas-to-write 1"),
        }
    }

    fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed => self.0.restart(),
            Trouble::Stopped => self.0.signal("CONT"),
            // Its time is over.
            Trouble::Paused => {}
            Trouble::Full => self.set("CONFIG SET maxmemory 0"),
            Trouble::ReadOnly => self.set("REPLICAOF NO ONE"),
            Trouble::LacksReplica => self.set("CONFIG SET min-replicas-to-write 0"),
        }
    }
}
