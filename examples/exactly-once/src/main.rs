//! `ROOMZ_WEBHOOK_SECRET=… DATABASE_URL=postgres://… cargo run -p exactly-once`

use exactly_once::BoxError;
use roomz_axum::Secret;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let (app, webhook) = exactly_once::app(secret, &std::env::var("DATABASE_URL")?).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    roomz_axum::serve(listener, app, webhook).await?;
    Ok(())
}
