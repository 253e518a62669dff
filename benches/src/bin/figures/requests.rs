//! The time of whole requests in memory, without a socket: the CPU time of the thread, so that other load
//! changes it less.

use std::time::Duration;

use crate::services::{App, Deliveries, bare, by_hand, by_hand_moka, layer, with_store, without_kit};
use axum::body::Body;
use http::Request;
use roomz_webhook::store::CompactStore;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::report::Goal::AtMost;
use crate::report::Report;

const REQUESTS: usize = 20_000;
const NAMES: [&str; 8] = [
    "reading the body only",
    "verify and parse by hand",
    "new event by hand with moka",
    "new event without this project",
    "new event, `MokaStore`",
    "new event, `CompactStore`",
    "duplicate",
    "forged",
];

pub(crate) fn measure(report: &mut Report) {
    let runtime = runtime();
    let mut deliveries = Deliveries::new();
    let apps = [
        bare(),
        by_hand(),
        by_hand_moka(),
        without_kit(),
        layer(),
        with_store(CompactStore::new()),
        layer(),
        layer(),
    ];
    // The first round fills caches and allocators.
    for round in 0..=report.rounds {
        let mut micros = [0.0; NAMES.len()];
        for ((name, app), micros) in NAMES.iter().zip(&apps).zip(&mut micros) {
            let next = || match *name {
                "duplicate" => deliveries.duplicate(),
                "forged" => deliveries.forged(),
                _ => deliveries.next_event(),
            };
            *micros = micros_each(&runtime, app, std::iter::repeat_with(next).take(REQUESTS).collect());
        }
        if round == 0 {
            continue;
        }
        let [_, by_hand, by_hand_moka, without_kit, moka, compact, duplicate, forged] = micros;
        let by_hand_name = "new event ÷ by hand with moka";
        report.add_goal(
            format!("in process, {by_hand_name}: `MokaStore`"),
            AtMost(0.95),
            moka / by_hand_moka,
        );
        report.add_goal(
            format!("in process, {by_hand_name}: `CompactStore`"),
            AtMost(0.7),
            compact / by_hand_moka,
        );
        report.add_goal("in process, forged ÷ verify and parse by hand", AtMost(1.1), forged / by_hand);
        report.add_goal("in process, duplicate ÷ verify and parse by hand", AtMost(1.3), duplicate / by_hand);
        report.add("in process, new event ÷ without this project: `MokaStore`", moka / without_kit);
        for (name, micros) in NAMES.iter().zip(micros) {
            report.add(format!("in process, {name}, µs"), micros);
        }
    }
}

/// The runtime of the services in this process.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends the requests, and returns the microseconds of each.
pub(crate) fn micros_each(runtime: &Runtime, app: &App, requests: Vec<Request<Body>>) -> f64 {
    let (app, count) = (app.clone(), requests.len() as f64);
    // In a task, as in a server: waking the future of `block_on` costs more than waking a task.
    let sent = runtime.spawn(async move {
        let start = cpu_time();
        for request in requests {
            app.clone().oneshot(request).await.unwrap();
        }
        cpu_time() - start
    });
    runtime.block_on(sent).unwrap().as_secs_f64() * 1e6 / count
}

/// The CPU time of this thread, which is the only one of the runtime.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}
