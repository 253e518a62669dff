//! Runs one way of a request so many times, for counting instructions: `one-path layer 1000`.

#![allow(clippy::unwrap_used, clippy::panic)]

use roomz_benches::{App, Deliveries, bare, by_hand, layer};
use tower::ServiceExt as _;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let times: usize = arguments.next().unwrap().parse().unwrap();
    let mut deliveries = Deliveries::new();
    let app: App = match path.as_str() {
        "make" | "bare" => bare(),
        "by_hand" => by_hand(),
        "layer" | "duplicate" | "forged" => layer(),
        other => panic!("no way {other:?}: make, bare, by_hand, layer, duplicate, forged"),
    };
    let requests: Vec<_> = (0..times)
        .map(|_| match path.as_str() {
            "duplicate" => deliveries.same(),
            "forged" => deliveries.forged(),
            _ => deliveries.fresh(),
        })
        .collect();
    if path == "make" {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for request in requests {
            app.clone().oneshot(request).await.unwrap();
        }
    });
}
