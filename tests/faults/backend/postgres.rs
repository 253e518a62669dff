use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use roomz_sql::sqlx::{Connection as _, Executor as _, PgConnection};
use roomz_tests::{Server, left_out};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::{Backend, Trouble};

/// A PostgreSQL server as it comes.
pub(crate) struct Postgres {
    server: Server,
    /// Holds a lock on the table.
    locking: Option<PgConnection>,
}

impl Postgres {
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

    fn set(&self, setting: &'static str) {
        drop(self.run(&[setting, "SELECT pg_reload_conf()"]));
    }
}

impl Backend for Postgres {
    const NAME: &'static str = "postgres";

    fn start() -> Option<Self> {
        let server = Server::postgres(&[]);
        if server.is_none() {
            static SAID: Once = Once::new();
            SAID.call_once(|| left_out("faults with PostgreSQL", "there is no `postgres` on the PATH"));
        }
        Some(Self { server: server?, locking: None })
    }

    fn url(&self, address: Option<SocketAddr>) -> String {
        format!("postgres://postgres@{}/postgres", address.unwrap_or(self.server.address()))
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn begin(&mut self, trouble: Trouble, _: Duration) {
        match trouble {
            Trouble::Killed => self.server.kill(),
            Trouble::Stopped => self.server.signal("STOP"),
            Trouble::Paused => self.locking = Some(self.run(&["BEGIN", "LOCK TABLE roomz_claims"])),
            Trouble::ReadOnly => self.set("ALTER SYSTEM SET default_transaction_read_only = on"),
            Trouble::LacksReplica => self.set("ALTER SYSTEM SET synchronous_standby_names = 'missing'"),
            Trouble::Full => panic!("its disk cannot be filled here"),
        }
    }

    fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Killed => self.server.restart(),
            Trouble::Stopped => self.server.signal("CONT"),
            Trouble::Paused => self.locking = None,
            Trouble::ReadOnly => self.set("ALTER SYSTEM RESET default_transaction_read_only"),
            Trouble::LacksReplica => self.set("ALTER SYSTEM RESET synchronous_standby_names"),
            Trouble::Full => unreachable!("it did not begin"),
        }
    }
}
