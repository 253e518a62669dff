//! The server of the store fails.

use std::time::Duration;

use roomz_tests::fleet::Settings;
use tokio::time::sleep;

use crate::faults::backend::{Backend, ServerFault};
use crate::faults::evidence::Evidence;
use crate::faults::outcome::Reruns;
use crate::faults::scenario::{FAULT_DURATION, FAULTS_MAX, Scenario, settings};

/// The server fails for less than a lease. Every event runs once.
pub(crate) async fn fail<B: Backend>(name: &'static str, fault: ServerFault) {
    let expected: &[_] = match fault {
        // A settlement needs no space.
        ServerFault::Full => &[Evidence::FailedClaim],
        ServerFault::Stopped | ServerFault::StallsClients => {
            &[Evidence::FailedClaim, Evidence::TimedOutCall, Evidence::RetriedCompletion]
        }
        _ => &[Evidence::FailedClaim, Evidence::RetriedCompletion],
    };
    run::<B>(name, fault, FAULT_DURATION, settings(), (Reruns::None, expected)).await;
}

/// A receiver cannot record a completion before the lease ends. The event may run again.
pub(crate) async fn fail_longer_than_lease<B: Backend>(name: &'static str, fault: ServerFault) {
    let settings = Settings { lease: settings().store_timeout * 3, ..settings() };
    let expected = &[Evidence::RetriedCompletion, Evidence::CompletionAfterLease];
    run::<B>(name, fault, settings.lease * 2, settings, (Reruns::AfterLeaseEnd, expected)).await;
}

async fn run<B: Backend>(
    name: &'static str,
    fault: ServerFault,
    duration: Duration,
    settings: Settings,
    (allowed, expected): (Reruns, &[Evidence]),
) {
    let Some(mut backend) = B::start() else { return };
    let mut scenario = Scenario::start((name, B::NAME), &backend.url(None), 2, settings).await;
    for _ in 0..FAULTS_MAX {
        backend.begin(fault, duration);
        sleep(duration).await;
        backend.end(fault);
        scenario.recover().await;
        if scenario.shows(expected) {
            break;
        }
    }
    scenario.finish(allowed, expected).await;
}
