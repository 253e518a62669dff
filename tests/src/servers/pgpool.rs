use std::net::TcpStream;
use std::path::Path;

use super::postgres::{command, give_to_server_user};
use super::{Program, Server, directory, free_port};
use crate::skipped;

const PGPOOL: Program = Program {
    name: "pgpool",
    command: || command("pgpool"),
    is_ready: |directory, id| {
        let read = |file| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        let config = read("pgpool.conf");
        let port = config.lines().find_map(|line| line.strip_prefix("port = ")?.parse().ok());
        read("pgpool.pid").trim_end_matches('\0').trim() == id.to_string()
            && port.is_some_and(|port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok())
    },
};

impl Server {
    /// Starts a Pgpool-II in front of a PostgreSQL server and its standby. It sends every statement to the
    /// standby that it takes for a mere read. If it cannot start, reports that the tests are skipped.
    pub fn pgpool_or_skip(primary: &Self, standby: &Self) -> Option<Self> {
        let port = free_port();
        let directory = directory("pgpool", port);
        give_to_server_user(&directory);
        let config = directory.join("pgpool.conf");
        std::fs::write(&config, configuration(&directory, primary.port(), standby.port(), port)).unwrap();
        let arguments = vec!["-n".to_owned(), "-f".to_owned(), config.to_str().unwrap().to_owned()];
        let Some(mut server) = Self::spawn(PGPOOL, directory, port, arguments) else {
            skipped("tests with Pgpool-II", "there is no `pgpool` on the PATH");
            return None;
        };
        server.wait_until_ready();
        Some(server)
    }
}

fn configuration(directory: &Path, primary: u16, standby: u16, port: u16) -> String {
    let directory = directory.display();
    format!(
        "backend_clustering_mode = 'streaming_replication'\n\
         listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         socket_dir = '{directory}'\n\
         pcp_listen_addresses = ''\n\
         pcp_socket_dir = '{directory}'\n\
         pcp_port = {pcp_port}\n\
         pid_file_name = '{directory}/pgpool.pid'\n\
         logdir = '{directory}'\n\
         work_dir = '{directory}'\n\
         sr_check_user = 'postgres'\n\
         load_balance_mode = on\n\
         backend_hostname0 = '127.0.0.1'\n\
         backend_port0 = {primary}\n\
         backend_weight0 = 0\n\
         backend_hostname1 = '127.0.0.1'\n\
         backend_port1 = {standby}\n\
         backend_weight1 = 1\n",
        pcp_port = free_port()
    )
}
