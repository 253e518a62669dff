//! `https`, with a self-signed certificate.

use std::process::Command;
use std::sync::Arc;

use http::StatusCode;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{TestDir, command_with_secret, path_text, run_command, skip};

/// Creates a certificate and its key. `None` when `openssl` is not installed.
fn create_certificate(directory: &TestDir) -> Option<(String, String)> {
    let (key, certificate) =
        (path_text(&directory.path("key.pem")), path_text(&directory.path("certificate.pem")));
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout {key} -out {certificate}"
    );
    let created = Command::new("openssl").args(arguments.split_whitespace()).output().ok()?;
    created.status.success().then_some((certificate, key))
}

#[test]
fn https_requires_trusted_certificate() {
    let directory = TestDir::new();
    let Some((certificate, key)) = create_certificate(&directory) else {
        return skip("https", "openssl is not installed");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let port = runtime.block_on(serve(&certificate, &key));
    let url = format!("https://localhost:{port}/hook");

    let send = |authorities: Option<&str>, url: &str| {
        let mut program = command_with_secret();
        program.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
        program.args(["send", url, "--count", "20", "--connections", "4"]);
        if let Some(file) = authorities {
            program.env("SSL_CERT_FILE", file);
        }
        run_command(&mut program, b"")
    };
    let output = send(Some(&certificate), &url);
    assert_eq!(output.assert_succeeds().row("2xx"), 20);
    send(Some(&directory.write("empty.pem", "")), &url).assert_fails(1, &["SSL_CERT_FILE"]);
    let untrusted = send(None, &url);
    assert_eq!(
        (untrusted.code, untrusted.stderr.lines().count(), untrusted.stdout.as_str()),
        (1, 1, ""),
        "{untrusted:?}"
    );
    let other_name = url.replace("localhost", "127.0.0.1");
    send(Some(&certificate), &other_name).assert_fails(1, &["cannot connect", "certificate"]);
    send(Some(&certificate), &url.replace("https", "http")).assert_fails(1, &["20 of 20 deliveries"]);
}

async fn serve(certificate: &str, key: &str) -> u16 {
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(async |_| {
                    let mut response = http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    Ok::<_, std::convert::Infallible>(response)
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}
