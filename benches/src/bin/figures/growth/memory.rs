//! Services in this process.

use crate::services::{App, Deliveries, by_hand, layer, secret, with_layer, with_store};
use roomz_protocol::{Secret, Secrets};
use roomz_webhook::store::{CompactStore, IdempotencyStore, MokaStore};
use roomz_webhook::{Tenant, TenantMap, WebhookLayer};

use super::{Curve, Line, powers};
use crate::report::{Report, median};
use crate::requests::{micros_each, runtime};
use crate::stores::{FIRST_OLD_ID, pairs};

const REQUESTS: usize = 5_000;

/// The median time of a request.
fn micros(
    report: &Report,
    app: &App,
    mut next: impl FnMut() -> http::Request<axum::body::Body>,
    count: usize,
) -> f64 {
    let runtime = runtime();
    let times = (0..=report.rounds).map(|_| micros_each(&runtime, app, (0..count).map(|_| next()).collect()));
    // The first round fills caches and allocators.
    median(&mut times.skip(1).collect::<Vec<_>>())
}

pub(super) fn ids(report: &Report) -> Result<Curve, String> {
    fn full(store: impl IdempotencyStore + Clone, ids: usize) -> App {
        runtime().block_on(pairs(&store, FIRST_OLD_ID..FIRST_OLD_ID + ids as u128));
        with_store(store)
    }
    let mut lines: Vec<Line> =
        ["`MokaStore`, µs", "`CompactStore`, µs"].map(|name| (name.to_owned(), Vec::new())).into();
    for ids in powers(3, report.max_rows) {
        for (index, (_, points)) in lines.iter_mut().enumerate() {
            let app = match index {
                0 => full(MokaStore::builder().with_capacity(ids as u64).build(), ids),
                _ => full(CompactStore::builder().with_capacity(ids as u64).build(), ids),
            };
            let mut deliveries = Deliveries::new();
            points.push((ids as f64, micros(report, &app, || deliveries.next_event(), REQUESTS)));
        }
    }
    Ok(Curve { title: "A new event, full store", unit_x: "remembered ids", lines })
}

pub(super) fn body(report: &Report) -> Result<Curve, String> {
    let mut lines: Vec<Line> = ["by hand, µs", "layer, µs"].map(|name| (name.to_owned(), Vec::new())).into();
    for bytes in [256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18] {
        for ((_, points), app) in lines.iter_mut().zip([by_hand(), layer()]) {
            // All but the padding takes at most 248 bytes.
            let mut deliveries = Deliveries::with_padding(bytes - 248);
            let count = (REQUESTS * 256 / bytes).max(50);
            points.push((bytes as f64, micros(report, &app, || deliveries.next_event(), count)));
        }
    }
    Ok(Curve { title: "A new event", unit_x: "bytes of the body", lines })
}

pub(super) fn secrets(report: &Report) -> Result<Curve, String> {
    let mut lines: Vec<Line> =
        ["new event, µs", "forged, µs"].map(|name| (name.to_owned(), Vec::new())).into();
    for count in [1, 2, 4, 8] {
        // The last one signs.
        let others = (1..count).map(|number| Secret::new(format!("the webhook secret {number}")).unwrap());
        let secrets = Secrets::new(others.chain([secret()])).unwrap();
        let app = with_layer(&WebhookLayer::builder(secrets).build().unwrap());
        let mut deliveries = Deliveries::new();
        lines[0].1.push((f64::from(count), micros(report, &app, || deliveries.next_event(), REQUESTS)));
        lines[1].1.push((f64::from(count), micros(report, &app, || deliveries.forged(), REQUESTS)));
    }
    Ok(Curve { title: "A delivery", unit_x: "secrets", lines })
}

pub(super) fn tenants(report: &Report) -> Result<Curve, String> {
    let mut points = Vec::new();
    for count in powers(0, 100_000) {
        let tenants = TenantMap::new();
        for number in 0..count {
            let tenant = Tenant::new(&format!("tenant {number}"), secret()).unwrap();
            tenants.insert(&format!("/hooks/{number}"), tenant).unwrap();
        }
        let app = with_layer(&WebhookLayer::builder_for_tenants(tenants).build().unwrap());
        let mut deliveries = Deliveries::new();
        let next = || deliveries.next_event_to(&format!("/hooks/{}", rand::random_range(0..count)));
        points.push((count as f64, micros(report, &app, next, REQUESTS)));
    }
    let lines = vec![("new event, µs".to_owned(), points)];
    Ok(Curve { title: "A new event of any tenant", unit_x: "tenants", lines })
}
