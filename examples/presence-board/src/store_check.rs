//! Shows an outage of the store, which a page with a working connection would not notice.

use std::time::Duration;

use roomz_axum::{RejectionKind, WebhookLayer};

use crate::board::Board;

const INTERVAL: Duration = Duration::from_secs(2);

/// Shows whether the store of the layer is available, without an end.
pub async fn follow(webhook: WebhookLayer, board: Board) {
    loop {
        let ready = webhook.check_ready().await;
        board.show_store(!ready.is_err_and(|rejection| rejection.kind() == RejectionKind::StoreUnavailable));
        tokio::time::sleep(INTERVAL).await;
    }
}
