//! TLS to PostgreSQL with the certificate of a private authority.

#![cfg(feature = "tls")]

use std::time::Duration;

use crate::support::random_hex;
use roomz_sql::{ConnectErrorKind, SqlStore};
use roomz_tests::{Authority, Server};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use sqlx::{Connection as _, PgConnection};

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test]
async fn postgres_needs_its_authority() {
    let Some(authority) = Authority::create_or_skip() else { return };
    let settings = authority.postgres_settings();
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let Some(server) = Server::postgres_or_skip(&settings) else { return };
    let url = server.postgres_url();
    let with_authority = |authority: &Authority| {
        format!("{url}?sslmode=verify-full&sslrootcert={}", authority.certificate_file().display())
    };
    let store = SqlStore::connect(with_authority(&authority)).await.unwrap();
    let key = ClaimKey::new("tls".into(), random_hex().parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    assert_eq!(store.claim(&key, &request).await.unwrap().state, ClaimState::claimed(1));
    let encrypted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'roomz'",
    )
    .fetch_one(&mut PgConnection::connect(&url).await.unwrap())
    .await
    .unwrap();
    assert!(encrypted >= 1);

    let other = Authority::create_or_skip().unwrap();
    for url in [format!("{url}?sslmode=verify-full"), with_authority(&other)] {
        let error = SqlStore::connect(url.as_str()).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Tls, "{url}: {error:?}");
        assert!(error.to_string().contains("`sslrootcert`"), "{error:?}");
    }
}
