use std::net::TcpStream;
use std::path::Path;

use super::postgres::{command, give_to_server_user};
use super::{Program, Server, directory, free_port};
use crate::skipped;

const PGBOUNCER: Program = Program {
    name: "pgbouncer",
    command: || command("pgbouncer"),
    is_ready: |directory, id| {
        let read = |file| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        let config = read("pgbouncer.ini");
        let port = config.lines().find_map(|line| line.strip_prefix("listen_port = ")?.parse().ok());
        read("pgbouncer.pid").trim() == id.to_string()
            && port.is_some_and(|port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok())
    },
};

impl Server {
    /// Starts a PgBouncer in front of a PostgreSQL server, with the default settings and this `pool_mode`,
    /// which lines with further settings may follow. If it cannot start, reports that the tests are skipped.
    pub fn pgbouncer_or_skip(postgres: &Self, pool_mode: &str) -> Option<Self> {
        let port = free_port();
        let directory = directory("pgbouncer", port);
        give_to_server_user(&directory);
        let config = directory.join("pgbouncer.ini");
        std::fs::write(&config, configuration(&directory, postgres.port(), port, pool_mode)).unwrap();
        let server = Self::spawn(PGBOUNCER, directory, port, vec![config.to_str().unwrap().to_owned()]);
        let Some(mut server) = server else {
            skipped("tests with PgBouncer", "there is no `pgbouncer` on the PATH");
            return None;
        };
        server.wait_until_ready();
        Some(server)
    }
}

fn configuration(directory: &Path, server_port: u16, port: u16, pool_mode: &str) -> String {
    format!(
        "[databases]\n\
         * = host=127.0.0.1 port={server_port} user=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pidfile = {}\n\
         pool_mode = {pool_mode}\n",
        directory.join("pgbouncer.pid").display()
    )
}
