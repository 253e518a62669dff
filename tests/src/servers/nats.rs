use std::process::Command;

use super::postgres::{command, give_to_server_user};
use super::{Program, Server, directory, free_port};
use crate::skipped;

const NATS: Program = Program {
    name: "nats-server",
    command: nats_server,
    // The server writes this file once it accepts connections. It exits if the port is in use.
    is_ready: |directory, id| directory.join(format!("nats-server_{id}.ports")).exists(),
};

impl Server {
    /// Starts a NATS server with JetStream and these additional settings (lines of its configuration). If it
    /// cannot start, reports that the tests are skipped.
    ///
    /// The server syncs each message to disk before it acknowledges it. Versions before 2.10 cannot, and sync
    /// every two minutes.
    pub fn nats_or_skip(settings: &str) -> Option<Self> {
        let Some(syncs) = nats_can_always_sync() else {
            skipped("tests that start NATS", "there is no `nats-server` on the PATH");
            return None;
        };
        for _ in 0..10 {
            let port = free_port();
            let directory = directory("nats", port);
            let config = directory.join("nats.conf");
            let sync = if syncs { "sync_interval: always" } else { "" };
            let text = format!(
                "listen: \"127.0.0.1:{port}\"\n\
                 ports_file_dir: \"{0}\"\n\
                 jetstream {{ store_dir: \"{0}/jetstream\"\n{sync} }}\n\
                 {settings}\n",
                directory.display()
            );
            std::fs::write(&config, text).unwrap();
            give_to_server_user(&directory);
            let arguments = vec!["-c".to_owned(), config.to_str().unwrap().to_owned()];
            let mut server = Self::spawn(NATS, directory, port, arguments)?;
            // Another process may have bound the port in the meantime.
            if server.is_ready_or_exited() {
                return Some(server);
            }
        }
        panic!("nats-server did not start on any of 10 ports");
    }

    /// The URL of a NATS server.
    pub fn nats_url(&self) -> String {
        format!("nats://{}", self.address())
    }
}

/// Debian installs the server in `/usr/sbin`.
fn nats_server() -> Option<Command> {
    command("nats-server")
}

/// Whether the installed server knows `sync_interval`, which version 2.10 added. `None` if no server is
/// installed.
fn nats_can_always_sync() -> Option<bool> {
    let output = nats_server()?.arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut version = text.trim().strip_prefix("nats-server: v")?.split('.');
    let mut number = || version.next()?.parse::<u32>().ok();
    Some((number()?, number()?) >= (2, 10))
}
