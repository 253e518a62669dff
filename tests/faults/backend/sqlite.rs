use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::{Backend, ServerFault};

/// An SQLite file that all receivers use.
pub(crate) struct Sqlite {
    directory: PathBuf,
    /// Holds the write lock.
    lock: Option<SqliteConnection>,
}

impl Backend for Sqlite {
    const NAME: &'static str = "sqlite";

    fn start() -> Option<Self> {
        let name = format!("roomz-sqlite-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Some(Self { directory, lock: None })
    }

    fn url(&self, _: Option<SocketAddr>) -> String {
        format!("sqlite://{}", self.directory.join("claims.db").display())
    }

    fn address(&self) -> SocketAddr {
        panic!("an SQLite file has no address")
    }

    fn begin(&mut self, fault: ServerFault, _: Duration) {
        assert_eq!(fault, ServerFault::StallsClients, "SQLite supports no other fault");
        let url = self.url(None);
        self.lock = Some(block_in_place(|| {
            Handle::current().block_on(async {
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                connection
            })
        }));
    }

    fn end(&mut self, _: ServerFault) {
        self.lock = None;
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
