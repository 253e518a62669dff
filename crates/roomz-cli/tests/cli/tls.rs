//! `https`, with certificates that `openssl` creates.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::Runtime;

use crate::support::{RunOutput, TestDir, command_with_secret, path_text, run_command, skip};

const EXAMPLE_README: &str = include_str!("../../../../examples/https/README.md");

/// Runs a shell command in the directory. False when it fails, such as when `openssl` is not installed.
fn run_shell(directory: &TestDir, script: &str) -> bool {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory.path("")).output();
    output.is_ok_and(|output| output.status.success())
}

/// The command in the README of `examples/https` that creates a self-signed certificate: `key.pem` and
/// `chain.pem`.
fn readme_command() -> String {
    let start = EXAMPLE_README.find("openssl req").unwrap();
    let end = EXAMPLE_README[start..].find("export").unwrap();
    EXAMPLE_README[start..start + end].to_owned()
}

const LEAF: &str = "-addext basicConstraints=critical,CA:FALSE";

/// A script that creates `chain.pem` and `key.pem` with these options.
fn create(options: &str) -> String {
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
         -keyout key.pem -out chain.pem {options}"
    )
}

/// A script that creates a self-signed certificate that has expired. `openssl req` cannot do it.
const CREATE_EXPIRED: &str = "
    printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\n\
        x509_extensions=e\\n[p]\\ncommonName=supplied\\n[e]\\nsubjectAltName=DNS:localhost\\n' > ca.conf
    : > index; echo 01 > serial
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
    openssl ca -batch -config ca.conf -selfsign -keyfile key.pem -in request.pem -out chain.pem -notext \
        -startdate 20200101000000Z -enddate 20200201000000Z";

/// An HTTPS server with `chain.pem` and `key.pem` of the directory; it stops when dropped.
struct TlsServer {
    port: u16,
    _runtime: Runtime,
}

impl TlsServer {
    fn start(directory: &TestDir) -> Self {
        Self::with_protocols(directory, &[], StatusCode::NO_CONTENT)
    }

    /// Offers these protocols (ALPN), and answers HTTP/2 with a status of its own.
    fn with_protocols(directory: &TestDir, protocols: &[&[u8]], http2: StatusCode) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (chain, key) = (directory.path("chain.pem"), directory.path("key.pem"));
        let port = runtime.block_on(serve(&chain, &key, protocols, http2));
        Self { port, _runtime: runtime }
    }
}

fn send(url: &str, options: &[&str]) -> RunOutput {
    let mut program = command_with_secret();
    program.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
    run_command(program.args(["send", url, "--count", "20", "--connections", "4"]).args(options), b"")
}

#[test]
fn certificate_of_example_works() {
    let directory = TestDir::new();
    if !run_shell(&directory, &readme_command()) {
        return skip("https", "openssl is not installed");
    }
    let server = TlsServer::start(&directory);
    let chain = path_text(&directory.path("chain.pem"));
    let pem = std::fs::read_to_string(&chain).unwrap();
    let marked = directory.write("marked.pem", format!("\u{feff}# joined\n\u{feff}{pem}"));
    for (host, file) in [("localhost", chain), ("127.0.0.1", marked)] {
        let url = format!("https://{host}:{}/hook", server.port);
        assert_eq!(send(&url, &["--cacert", &file]).assert_succeeds().row("accepted"), 20);
        let untrusted = send(&url, &[]);
        // On a machine without authorities, the message is another one, which also names the option.
        untrusted.assert_fails(1, &["--cacert FILE"]);
        assert_eq!(untrusted.stdout, "");
    }
}

#[test]
fn certificate_signed_by_authority_works() {
    let directory = TestDir::new();
    let authority = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
                     -keyout ca.key -out ca.pem";
    let leaf = create(&format!("-CA ca.pem -CAkey ca.key -addext subjectAltName=DNS:localhost {LEAF}"));
    if !run_shell(&directory, &format!("{authority}\n{leaf}")) {
        return skip("https", "openssl is not installed, or older than 3.0");
    }
    let server = TlsServer::start(&directory);
    let url = format!("https://localhost:{}/hook", server.port);
    let authority = path_text(&directory.path("ca.pem"));
    send(&url, &["--cacert", &authority]).assert_succeeds();
    let checked = crate::support::run_with_secret(&["doctor", &url, "--cacert", &authority]);
    let line = "TLS           ok          trusted chain, valid now\n";
    assert!(checked.stdout.contains(line), "{checked:?}");
    send(&url, &["--cacert", &path_text(&directory.path("chain.pem"))])
        .assert_fails(1, &["UnknownIssuer", "--cacert FILE"]);
    if cfg!(target_os = "linux") {
        // The variable of OpenSSL replaces the authorities of the system.
        let mut program = command_with_secret();
        program.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", directory.path("ca.pem"));
        run_command(program.args(["send", &url]), b"").assert_succeeds();
    }
    assert!(run_shell(&directory, &create(&format!("-addext subjectAltName=DNS:localhost {LEAF}"))));
    let other = path_text(&directory.path("chain.pem"));
    send(&url, &["--cacert", &other]).assert_fails(1, &["UnknownIssuer", "--cacert FILE"]);
}

#[test]
fn doctor_compares_http_versions() {
    let directory = TestDir::new();
    if !run_shell(&directory, &readme_command()) {
        return skip("https", "openssl is not installed");
    }
    let chain = path_text(&directory.path("chain.pem"));
    for (protocols, status, line) in [
        (&[b"h2" as &[u8], b"http/1.1"][..], StatusCode::NO_CONTENT, "ok          204; over HTTP/1.1 204"),
        (&[b"h2", b"http/1.1"], StatusCode::FORBIDDEN, "failed      403; over HTTP/1.1 204; make both"),
        (&[b"http/1.1"], StatusCode::FORBIDDEN, "ok          not offered: a sender uses HTTP/1.1"),
        (&[], StatusCode::FORBIDDEN, "ok          not offered: a sender uses HTTP/1.1"),
    ] {
        let server = TlsServer::with_protocols(&directory, protocols, status);
        let url = format!("https://localhost:{}/hook", server.port);
        let doctor = |options: &[&str]| {
            let arguments = ["doctor", &url, "--cacert", &chain];
            crate::support::run_with_secret(&[&arguments, options].concat())
        };
        let output = doctor(&[]);
        assert!(output.stdout.contains(&format!("\nHTTP/2        {line}")), "{output:?}");
        assert_eq!(output.stderr.contains("HTTP/2"), line.starts_with("failed"), "{output:?}");
        let checks = doctor(&["--json"]).json()["checks"].clone();
        let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "HTTP/2").unwrap();
        assert!(line.starts_with(check["verdict"].as_str().unwrap()), "{check}");
        let output = doctor(&["--header", "Host: roomz.example"]);
        assert!(output.stdout.contains("\nHTTP/2        not tested  needs https://"), "{output:?}");
    }
}

#[test]
fn rejected_certificate_is_explained() {
    for (script, parts) in [
        (
            &create(&format!("-addext subjectAltName=DNS:roomz.example,IP:192.0.2.7 {LEAF}")) as &str,
            &["\"localhost\"", "roomz.example", "192.0.2.7", "use a host of the certificate"][..],
        ),
        (CREATE_EXPIRED, &["certificate expired", "renew it"]),
        // What `openssl req -x509` makes by default.
        (
            &create("-addext subjectAltName=DNS:localhost"),
            &["the certificate of an authority", "-addext basicConstraints=critical,CA:FALSE"],
        ),
    ] {
        let directory = TestDir::new();
        if !run_shell(&directory, script) {
            return skip("https", "openssl is not installed");
        }
        let server = TlsServer::start(&directory);
        let url = format!("https://localhost:{}/hook", server.port);
        let output = send(&url, &["--cacert", &path_text(&directory.path("chain.pem"))]);
        output.assert_fails(1, parts);
        assert!(output.stderr.contains(&format!("cannot connect to localhost:{}: ", server.port)));
    }
}

#[test]
fn wrong_scheme_is_explained() {
    let directory = TestDir::new();
    if !run_shell(&directory, &readme_command()) {
        return skip("https", "openssl is not installed");
    }
    let chain = path_text(&directory.path("chain.pem"));
    let server = TlsServer::start(&directory);
    send(&format!("http://localhost:{}/hook", server.port), &[])
        .assert_fails(1, &["20 × invalid HTTP version", "use https://"]);
    let plain = crate::support::TestReceiver::responding(|_, _| StatusCode::OK);
    send(&plain.url.replace("http://", "https://"), &["--cacert", &chain])
        .assert_fails(1, &["the port does not speak TLS", "use http://"]);
    send(&plain.url, &["--cacert", &chain]).assert_succeeds();
}

#[test]
fn wrong_certificate_file_is_explained() {
    let directory = TestDir::new();
    let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    for (bytes, part) in [
        (&b""[..], "contains no certificate in PEM"),
        (b"hello\n", "contains no certificate in PEM"),
        (b"\x30\x82\x01\x00", "contains no certificate in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", "contains no certificate in PEM"),
        (b"# mine\n\n-----BEGIN CERTIFICATE-----\nAAAA\n", "is damaged"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END KEY-----\n", "is damaged"),
        (pem("AAAA").as_bytes(), "is damaged"),
        (pem("canary!").as_bytes(), "is damaged"),
    ] {
        let file = directory.write("ca.pem", bytes);
        // Nothing listens there: the file is read before the connection is opened.
        let output = send("http://127.0.0.1:1/", &["--cacert", &file]);
        output.assert_fails(1, &["cannot use --cacert", &file, part]);
        assert!(!output.stderr.contains("canary"));
    }
    for missing in ["none.pem", "."] {
        let file = path_text(&directory.path(missing));
        send("https://127.0.0.1:1/", &["--cacert", &file])
            .assert_fails(1, &["cannot use --cacert", &file, "check that it exists"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn machine_without_authorities_is_explained() {
    let directory = TestDir::new();
    let empty = directory.write("empty.pem", "");
    let send = |url: &str| {
        let mut program = command_with_secret();
        program.env("SSL_CERT_FILE", &empty).env_remove("SSL_CERT_DIR");
        run_command(program.args(["send", url]), b"")
    };
    send("https://127.0.0.1:1/")
        .assert_fails(1, &["no certificate authorities", "install ca-certificates", "--cacert FILE"]);
    let plain = crate::support::TestReceiver::responding(|_, _| StatusCode::OK);
    send(&plain.url).assert_succeeds();
}

async fn serve(certificate: &Path, key: &Path, protocols: &[&[u8]], http2: StatusCode) -> u16 {
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let respond = move |request: http::Request<hyper::body::Incoming>| {
                    let is_http2 = request.version() == http::Version::HTTP_2;
                    let mut response = http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
                    *response.status_mut() = if is_http2 { http2 } else { StatusCode::NO_CONTENT };
                    std::future::ready(Ok::<_, std::convert::Infallible>(response))
                };
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(respond))
                    .await;
            });
        }
    });
    port
}
