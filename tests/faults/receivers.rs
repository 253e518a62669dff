//! The store is well; the receivers work, or are killed.

use std::time::Duration;

use roomz_tests::fleet::Settings;
use tokio::time::sleep;

use crate::backend::Backend;
use crate::outcome::Reruns;
use crate::scenario::{Scenario, settings};

/// So short that one that is not renewed is noticed, and a dead one's soon ends; and yet longer than a busy machine may
/// keep a receiver from its work.
fn short_lease() -> Settings {
    Settings { lease: Duration::from_millis(1_500), ..settings() }
}

/// How long a receiver that is killed again and again lives at most.
const LIFE: Duration = Duration::from_millis(80);

/// Nothing fails, and some handlers take longer than a lease.
pub(crate) async fn work<B: Backend>(name: &'static str, receivers: usize) {
    let Some(backend) = B::start() else { return };
    let settings = Settings { long_time: short_lease().lease * 3 / 2, ..short_lease() };
    let scenario = Scenario::start((name, B::NAME), &backend.url(None), receivers, settings).await;
    scenario.sender.accepts(1_000).await;
    scenario.finish(Reruns::Never).await;
}

/// The first receiver is killed at any point of what it does, so many times.
pub(crate) async fn are_killed<B: Backend>(name: &'static str, (receivers, times): (usize, usize)) {
    let Some(backend) = B::start() else { return };
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), receivers, short_lease()).await;
    for _ in 0..times {
        sleep(LIFE.mul_f64(rand::random())).await;
        scenario.fleet.kill(0);
        scenario.fleet.restart(0);
    }
    scenario.goes_on().await;
    scenario.finish(Reruns::OfTheKilled).await;
}

/// The first receiver stops, and goes on with what others have meanwhile taken over. Nobody can keep it from that.
pub(crate) async fn sleep_for_longer_than_a_lease<B: Backend>(name: &'static str) {
    let Some(backend) = B::start() else { return };
    let settings = short_lease();
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), 2, settings).await;
    scenario.fleet.signal(0, "STOP");
    sleep(settings.lease * 3 / 2).await;
    scenario.fleet.signal(0, "CONT");
    scenario.goes_on().await;
    scenario.finish(Reruns::OfASleeper).await;
}
