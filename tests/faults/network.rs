//! The network between the receivers and the server fails.

use roomz_tests::proxy::{Network, Proxy};
use tokio::time::sleep;

use crate::faults::backend::Backend;
use crate::faults::evidence::Evidence;
use crate::faults::outcome::Reruns;
use crate::faults::scenario::{FAULT_DURATION, FAULTS_MAX, Scenario, settings};

pub(crate) async fn fail<B: Backend>(name: &'static str, network: Network) {
    let Some(backend) = B::start() else { return };
    let proxy = Proxy::start(backend.address()).await;
    let url = backend.url(Some(proxy.address()));
    let mut scenario = Scenario::start((name, B::NAME), &url, 2, settings()).await;
    let calls_end = match network {
        Network::Delays(_) | Network::DropsReplies | Network::Stalls | Network::Blackholes => {
            Evidence::TimedOutCall
        }
        Network::Forwards | Network::Closes | Network::HalfCloses => Evidence::FailedClaim,
    };
    let expected = [Evidence::FailedClaim, Evidence::RetriedCompletion, calls_end];
    for _ in 0..FAULTS_MAX {
        proxy.set(network);
        sleep(FAULT_DURATION).await;
        proxy.set(Network::Forwards);
        scenario.recover().await;
        if scenario.shows(&expected) {
            break;
        }
    }
    assert_eq!(proxy.lost_replies() > 0, network == Network::DropsReplies, "lost replies");
    scenario.finish(Reruns::None, &expected).await;
}
