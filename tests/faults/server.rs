//! The store's server fails.

use std::time::Duration;

use roomz_tests::fleet::Settings;
use tokio::time::sleep;

use crate::backend::{Backend, Trouble};
use crate::outcome::Reruns;
use crate::scenario::{FAULT, Scenario, settings};

/// It fails for less than a lease: everything runs once.
pub(crate) async fn fails<B: Backend>(name: &'static str, trouble: Trouble) {
    run::<B>(name, trouble, FAULT, settings(), Reruns::Never).await;
}

/// A process cannot say in time that it has handled an event; another one, or its successor, runs it again.
pub(crate) async fn fails_for_longer_than_a_lease<B: Backend>(name: &'static str, trouble: Trouble) {
    let settings = Settings { lease: settings().store_timeout * 3, ..settings() };
    run::<B>(name, trouble, settings.lease * 2, settings, Reruns::WhenALeaseEnded).await;
}

async fn run<B: Backend>(
    name: &'static str,
    trouble: Trouble,
    time: Duration,
    settings: Settings,
    allowed: Reruns,
) {
    let Some(mut backend) = B::start() else { return };
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), 2, settings).await;
    backend.begin(trouble, time);
    sleep(time).await;
    backend.end(trouble);
    scenario.goes_on().await;
    scenario.finish(allowed).await;
}
