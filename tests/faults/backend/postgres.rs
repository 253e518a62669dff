use std::net::SocketAddr;
use std::time::Duration;

use roomz_tests::Server;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::{Backend, ServerFault};

/// A PostgreSQL server that waits for the disk, as by default.
pub(crate) struct Postgres {
    server: Server,
    /// Holds a lock on the table of claims.
    lock: Option<PgConnection>,
}

impl Postgres {
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    fn run(&self, statements: &[&'static str]) -> PgConnection {
        let url = self.url(None);
        block_in_place(|| {
            Handle::current().block_on(async {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                for statement in statements {
                    connection.execute(*statement).await.unwrap();
                }
                connection
            })
        })
    }

    fn set(&self, setting: &str) {
        block_in_place(|| Handle::current().block_on(self.server.alter_system(setting)));
    }
}

impl Backend for Postgres {
    const NAME: &'static str = "postgres";

    fn start() -> Option<Self> {
        Some(Self { server: Server::postgres_or_skip(&["fsync=on"])?, lock: None })
    }

    fn url(&self, address: Option<SocketAddr>) -> String {
        format!("postgres://postgres@{}/postgres", address.unwrap_or(self.server.address()))
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn begin(&mut self, fault: ServerFault, _: Duration) {
        match fault {
            ServerFault::Killed => self.server.kill(),
            ServerFault::Stopped => self.server.signal("STOP"),
            ServerFault::StallsClients => self.lock = Some(self.run(&["BEGIN", "LOCK TABLE roomz_claims"])),
            ServerFault::ReadOnly => self.set("SET default_transaction_read_only = on"),
            ServerFault::LacksReplica => self.set("SET synchronous_standby_names = 'missing'"),
            ServerFault::Full | ServerFault::PoolerKilled => panic!("PostgreSQL does not support {fault:?}"),
        }
    }

    fn end(&mut self, fault: ServerFault) {
        match fault {
            ServerFault::Killed => self.server.restart(),
            ServerFault::Stopped => self.server.signal("CONT"),
            ServerFault::StallsClients => self.lock = None,
            ServerFault::ReadOnly => self.set("RESET default_transaction_read_only"),
            ServerFault::LacksReplica => self.set("RESET synchronous_standby_names"),
            ServerFault::Full | ServerFault::PoolerKilled => {}
        }
    }
}
