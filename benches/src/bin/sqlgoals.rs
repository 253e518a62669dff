#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]
use std::sync::Arc;
use std::time::{Duration, Instant};
use roomz_sql::SqlStore;
use roomz_tests::Server;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore, Owner};
type Store = Arc<dyn IdempotencyStore>;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
fn new_key() -> ClaimKey {
    ClaimKey::new("bench".into(), format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes())).parse().unwrap())
}
async fn pair(store: &Store) {
    let (key, owner) = (new_key(), Owner::random());
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), Duration::from_secs(60), WEEK);
    let _ = store.claim(&key, &request).await.unwrap();
    let _ = store.complete(&key, owner, WEEK).await.unwrap();
}
async fn repeat(store: &Store, concurrency: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..concurrency).map(|_| { let store = Arc::clone(store); tokio::spawn(async move {
        let mut count = 0_u32;
        while start.elapsed() < Duration::from_secs(3) { pair(&store).await; count += 1; }
        count }) }).collect();
    let mut total = 0.0;
    for task in tasks { total += f64::from(task.await.unwrap()); }
    total / start.elapsed().as_secs_f64()
}
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args[0] == "sqlite" {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/claims.db", directory.path().display());
        let store: Store = Arc::new(SqlStore::connect(url).await.unwrap());
        for c in [1, 32] { println!("sqlite {c}: {:.0}", repeat(&store, c).await); }
        return;
    }
    let server = Server::postgres(&[]).unwrap();
    for workers in &args[1..] {
        let store: Store = Arc::new(SqlStore::builder(server.postgres_url()).with_max_connections(workers.parse().unwrap()).connect().await.unwrap());
        for c in [1, 32, 128] { println!("postgres workers={workers} {c}: {:.0}", repeat(&store, c).await); }
    }
}
