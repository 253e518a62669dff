use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::postgres::give_to_server_user;
use crate::skipped;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A private certificate authority, and a certificate of it for `127.0.0.1`. `Drop` deletes the files.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    redis_arguments: Vec<String>,
}

impl Authority {
    /// Like [`create_or_skip`](Self::create_or_skip), also if `redis-server` is built without TLS.
    pub fn for_redis_or_skip() -> Option<Self> {
        Self::for_redis_with_names_or_skip("IP:127.0.0.1")
    }

    /// Like [`for_redis_or_skip`](Self::for_redis_or_skip), with a certificate for these names, such as
    /// `DNS:localhost`.
    pub fn for_redis_with_names_or_skip(names: &str) -> Option<Self> {
        if !redis_has_tls() {
            skipped(
                "tests with a private certificate authority",
                "there is no `redis-server` with TLS on the PATH",
            );
            return None;
        }
        Self::with_names_or_skip(names)
    }

    /// Creates an authority with `openssl`. If it is not installed, reports that the tests are skipped.
    pub fn create_or_skip() -> Option<Self> {
        Self::with_names_or_skip("IP:127.0.0.1")
    }

    fn with_names_or_skip(names: &str) -> Option<Self> {
        static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("roomz-authority-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name).display().to_string();
        let redis_arguments = [
            ("--tls-cert-file", path("server.pem")),
            ("--tls-key-file", path("server.key")),
            ("--tls-ca-cert-file", path("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
            ("--tls-replication", "yes".to_owned()),
            ("--tls-cluster", "yes".to_owned()),
        ];
        let redis_arguments = redis_arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let authority = Self { redis_arguments: redis_arguments.collect(), directory };
        let number = format!("/CN=authority-{number}");
        let has_openssl = authority
            .openssl(&format!("req -x509 {NEW_KEY} -days 2 -subj {number} -keyout ca.key -out ca.pem"));
        if !has_openssl {
            skipped("tests with a private certificate authority", "there is no `openssl` on the PATH");
            return None;
        }
        authority.issue("server", names);
        Some(authority)
    }

    /// Creates a certificate and its key, `FILE.pem` and `FILE.key`, and returns their paths.
    pub fn issue(&self, file: &str, names: &str) -> [String; 2] {
        std::fs::write(self.directory.join("names"), format!("subjectAltName={names}")).unwrap();
        for command in [
            format!("req {NEW_KEY} -subj /CN=server -keyout {file}.key -out {file}.csr"),
            format!(
                "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {file}.pem"
            ),
        ] {
            assert!(self.openssl(&command));
        }
        ["pem", "key"].map(|kind| self.directory.join(format!("{file}.{kind}")).display().to_string())
    }

    /// Runs `openssl`. False if it is not installed.
    fn openssl(&self, arguments: &str) -> bool {
        let command =
            Command::new("openssl").args(arguments.split(' ')).current_dir(&self.directory).output();
        let Ok(output) = command else { return false };
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        true
    }

    /// The certificate of the authority, in PEM format.
    pub fn certificate(&self) -> Vec<u8> {
        std::fs::read(self.directory.join("ca.pem")).unwrap()
    }

    /// The file with the certificate of the authority.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The settings of a PostgreSQL server that offers TLS.
    pub fn postgres_settings(&self) -> Vec<String> {
        let (certificate, key) = (self.directory.join("server.pem"), self.directory.join("server.key"));
        // PostgreSQL rejects a key that others can read.
        give_to_server_user(&key);
        vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ]
    }

    /// The arguments of a Redis server that accepts only TLS.
    pub fn redis_arguments(&self) -> Vec<&str> {
        self.redis_arguments.iter().map(String::as_str).collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A server with TLS exits because it has no certificate.
fn redis_has_tls() -> bool {
    let output = Command::new("redis-server").args(["--port", "0", "--tls-port", "1"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("tls-cert-file"))
}
