use std::net::SocketAddr;
use std::time::Duration;

use roomz_tests::Server;

use super::{Backend, Postgres, ServerFault};

/// PostgreSQL behind PgBouncer in transaction mode, with the default settings of both.
pub(crate) struct Transactions(Pooler);

/// PostgreSQL behind PgBouncer in session mode, with the default settings of both.
pub(crate) struct Sessions(Pooler);

struct Pooler {
    postgres: Postgres,
    pgbouncer: Server,
}

impl Pooler {
    fn start(pool_mode: &str) -> Option<Self> {
        let postgres = Postgres::start()?;
        let pgbouncer = Server::pgbouncer_or_skip(postgres.server(), pool_mode)?;
        Some(Self { postgres, pgbouncer })
    }

    fn url(&self, address: Option<SocketAddr>) -> String {
        self.postgres.url(Some(address.unwrap_or(self.pgbouncer.address())))
    }

    fn begin(&mut self, fault: ServerFault, duration: Duration) {
        match fault {
            ServerFault::PoolerKilled => self.pgbouncer.kill(),
            fault => self.postgres.begin(fault, duration),
        }
    }

    fn end(&mut self, fault: ServerFault) {
        match fault {
            ServerFault::PoolerKilled => self.pgbouncer.restart(),
            fault => self.postgres.end(fault),
        }
    }
}

macro_rules! backend {
    ($type:ty, $name:literal, $pool_mode:literal) => {
        impl Backend for $type {
            const NAME: &'static str = $name;

            fn start() -> Option<Self> {
                Pooler::start($pool_mode).map(Self)
            }

            fn url(&self, address: Option<SocketAddr>) -> String {
                self.0.url(address)
            }

            fn address(&self) -> SocketAddr {
                self.0.pgbouncer.address()
            }

            fn begin(&mut self, fault: ServerFault, duration: Duration) {
                self.0.begin(fault, duration);
            }

            fn end(&mut self, fault: ServerFault) {
                self.0.end(fault);
            }
        }
    };
}

backend!(Transactions, "pgbouncer, transaction mode", "transaction");
backend!(Sessions, "pgbouncer, session mode", "session");
