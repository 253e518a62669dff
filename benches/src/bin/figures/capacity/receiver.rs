//! A receiver, which the parent starts as a process. It ends when its standard input closes.

use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::routing::{post, post_service};
use roomz_axum::WebhookEvent;
use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_webhook::WebhookLayer;
use roomz_webhook::store::IdempotencyStore;
use tokio::net::TcpListener;
use tower::service_fn;

use crate::services::secret;

/// Serves one kind of receiver on this address, and prints the address with its port.
pub(crate) async fn serve(kind: &str, url: &str, address: &str) {
    drop(std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    }));
    let listener = TcpListener::bind(address).await.unwrap();
    let mut _worker = None;
    let app = if kind == "claims" {
        let store: Arc<dyn IdempotencyStore> = if url.starts_with("redis") {
            Arc::new(RedisStore::connect(url).await.unwrap())
        } else {
            Arc::new(SqlStore::connect(url).await.unwrap())
        };
        let layer = WebhookLayer::builder(secret()).with_store(store).build().unwrap();
        let handle = async |WebhookEvent(event): WebhookEvent| drop(event);
        Router::new().route("/", post(handle).layer(layer))
    } else {
        let inbox = Inbox::connect(url).await.unwrap();
        _worker = Some(if kind == "inbox-transaction" {
            inbox.worker(service_fn(handle)).start()
        } else {
            inbox.worker(service_fn(async |_: Job<WorkspacePresenceChanged>| Ok::<_, BoxError>(()))).start()
        });
        let layer = WebhookLayer::builder(secret()).build().unwrap();
        Router::new().route("/", post_service(inbox.endpoint()).layer(layer))
    };
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

/// Inserts one row in the transaction of the event.
async fn handle(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    let insert = sqlx::query("INSERT INTO presence_log (event_id) VALUES ($1)");
    let insert = insert.bind(job.event().id.to_string());
    let _ = insert.execute(job.postgres().await?).await?;
    Ok(())
}
