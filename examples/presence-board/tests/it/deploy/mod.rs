//! Two instances behind a real nginx with `deploy/nginx.conf`.

#![cfg(unix)] // the tests stop the program with a signal

mod hung_instance;
mod rolling_restart;
mod routes;
mod sender;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::program::Program;
use roomz_tests::{Server, redis_url_or_skip};
use tempfile::NamedTempFile;

/// Two instances on one store, and nginx in front of them.
struct Deployment {
    instances: Vec<Program>,
    store: String,
    /// The address on which nginx listens.
    address: String,
    _nginx: Server,
    _users: NamedTempFile,
}

impl Deployment {
    /// Returns `None` and reports it if a server is not installed.
    fn start() -> Option<Self> {
        let store = redis_url_or_skip()?;
        let instances: Vec<_> = (0..2).map(|_| start_instance("127.0.0.1:0", &store)).collect();
        let address = free_address();
        let users = NamedTempFile::new().unwrap();
        std::fs::write(&users, "visitor:{PLAIN}password\n").unwrap();
        // The workers of nginx have another user.
        std::fs::set_permissions(&users, Permissions::from_mode(0o644)).unwrap();
        let configuration = configuration(&address, &instances, users.path().to_str().unwrap());
        let nginx = Server::nginx_or_skip(&configuration, "")?;
        Some(Self { instances, store, address, _nginx: nginx, _users: users })
    }
}

/// `deploy/nginx.conf` with other addresses, without TLS, and with a limit above the rate of the test.
fn configuration(address: &str, instances: &[Program], users: &str) -> String {
    let mut text = include_str!("../../../deploy/nginx.conf").to_owned();
    let replacements = [
        ("127.0.0.1:3001", instances[0].address()),
        ("127.0.0.1:3002", instances[1].address()),
        ("listen 80;", &format!("listen {};", free_address())),
        ("listen [::]:80;", ""),
        ("listen 443 ssl http2;", &format!("listen {address};")),
        ("listen [::]:443 ssl http2;", ""),
        // A test cannot wait for 14 s.
        ("proxy_read_timeout 14s;", "proxy_read_timeout 1s;"),
        ("ssl_certificate /etc/ssl/certs/floors.example.com.pem;", ""),
        ("ssl_certificate_key /etc/ssl/private/floors.example.com.key;", ""),
        ("/etc/nginx/presence-board.htpasswd", users),
        ("rate=500r/s", "rate=5000r/s"),
    ];
    for (from, to) in replacements {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    text
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn start_instance(address: &str, store: &str) -> Program {
    Program::start(&["--listen", address, "--store", store, "--shutdown-delay", "1"])
}
