//! Sends requests to one service, to count instructions with valgrind: `one-path layer 1000`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that may end with a panic")]

use roomz_benches::{App, Deliveries, bare, by_hand, by_hand_moka, layer, with_store};
use roomz_webhook::store::CompactStore;
use tower::ServiceExt as _;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let count: usize = arguments.next().unwrap().parse().unwrap();
    let mut deliveries = Deliveries::new();
    let app: App = match path.as_str() {
        "make" | "bare" => bare(),
        "by_hand" => by_hand(),
        "by_hand_moka" => by_hand_moka(),
        "compact" => with_store(CompactStore::new()),
        "layer" | "duplicate" | "forged" => layer(),
        other => panic!(
            "unknown path {other:?}; use make, bare, by_hand, by_hand_moka, layer, compact, duplicate or forged"
        ),
    };
    let requests: Vec<_> = (0..count)
        .map(|_| match path.as_str() {
            "duplicate" => deliveries.duplicate(),
            "forged" => deliveries.forged(),
            _ => deliveries.next_event(),
        })
        .collect();
    if path == "make" {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // In a task, as in a server: waking the future of `block_on` costs more than waking a task.
    let requests = async move {
        for request in requests {
            app.clone().oneshot(request).await.unwrap();
        }
    };
    runtime.block_on(runtime.spawn(requests)).unwrap();
}
