//! The store works. A receiver runs long, is killed, or pauses.

use std::time::Duration;

use roomz_tests::fleet::Settings;
use tokio::time::sleep;

use crate::faults::backend::Backend;
use crate::faults::evidence::Evidence;
use crate::faults::outcome::Reruns;
use crate::faults::scenario::{FAULTS_MAX, Scenario, settings};

/// A lease that is short enough to notice a missing renewal and to be taken over soon, and longer than a busy
/// machine may delay a receiver.
fn short_lease() -> Settings {
    Settings { lease: Duration::from_millis(1_500), ..settings() }
}

/// The maximum time between two kills.
const KILL_INTERVAL_MAX: Duration = Duration::from_millis(80);

/// Nothing fails, and some handlers run longer than a lease.
pub(crate) async fn run_without_fault<B: Backend>(name: &'static str, receivers: usize) {
    let Some(backend) = B::start() else { return };
    let settings = Settings { long_handler_time: short_lease().lease * 3 / 2, ..short_lease() };
    let scenario = Scenario::start((name, B::NAME), &backend.url(None), receivers, settings).await;
    scenario.sender.wait_for_accepted(300).await;
    scenario.finish(Reruns::None, &[Evidence::RenewedLease]).await;
}

/// The first receiver is killed this many times, at random points.
pub(crate) async fn kill_repeatedly<B: Backend>(name: &'static str, (receivers, times): (usize, usize)) {
    let Some(backend) = B::start() else { return };
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), receivers, short_lease()).await;
    for _ in 0..times {
        sleep(KILL_INTERVAL_MAX.mul_f64(rand::random())).await;
        scenario.fleet.kill(0);
        scenario.fleet.restart(0);
    }
    scenario.recover().await;
    scenario.finish(Reruns::OfKilled, &[Evidence::Takeover]).await;
}

/// The first receiver pauses, and then continues with events that another one has taken over. Nothing can
/// prevent that. A receiver that pauses while it writes to an SQLite file blocks the other one, and no claim
/// is taken over.
///
/// The handlers take long enough for some to run when it pauses. The sender closes its connections to it, and
/// sends the events to the other receiver, which waits until the lease ends.
pub(crate) async fn pause_longer_than_lease<B: Backend>(name: &'static str) {
    let Some(backend) = B::start() else { return };
    let short_lease = short_lease();
    let settings = Settings {
        handler_time: Duration::from_millis(150),
        request_timeout: short_lease.lease * 2 / 3,
        ..short_lease
    };
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), 2, settings).await;
    let expected = [Evidence::Takeover, Evidence::LostSettlement];
    for _ in 0..FAULTS_MAX {
        scenario.fleet.signal(0, "STOP");
        sleep(settings.lease * 2).await;
        scenario.fleet.signal(0, "CONT");
        scenario.sender.wait_for_accepted(100).await;
        if scenario.shows(&expected) {
            break;
        }
    }
    scenario.recover().await;
    scenario.finish(Reruns::OfPaused, &expected).await;
}
