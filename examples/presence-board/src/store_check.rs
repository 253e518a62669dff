//! Shows an outage of the store, which a page with a working connection would not notice.

use std::time::Duration;

use roomz_axum::{NotReady, WebhookLayer};

use crate::board::Board;

const INTERVAL: Duration = Duration::from_secs(2);

/// Shows whether the store of the layer is available, without an end.
pub async fn follow(webhook: WebhookLayer, board: Board) {
    loop {
        board.show_store(webhook.check_ready().await != Err(NotReady::StoreUnavailable));
        tokio::time::sleep(INTERVAL).await;
    }
}
