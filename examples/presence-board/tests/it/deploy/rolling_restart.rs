use std::collections::BTreeMap;

use roomz_tests::rounds;

use crate::deploy::sender::Sender;
use crate::deploy::{Deployment, start_instance};
use crate::support::program::Program;

/// The number of rolling restarts.
fn restarts() -> usize {
    rounds(2, 10)
}

/// No delivery gets another answer than 200 while the instances are restarted, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_answers_every_delivery_200() {
    let Some(mut deployment) = Deployment::start() else { return };
    let sender = Sender::start(&deployment.address);
    for _ in 0..restarts() {
        let (instances, store) = (std::mem::take(&mut deployment.instances), deployment.store.clone());
        let restarted = tokio::task::spawn_blocking(move || {
            let restart = |instance: Program| {
                let address = instance.address().to_owned();
                assert!(instance.stop().0.success(), "a graceful stop");
                start_instance(&address, &store)
            };
            instances.into_iter().map(restart).collect()
        });
        deployment.instances = restarted.await.unwrap();
    }
    let results = sender.stop().await;
    let sent: usize = results.values().sum();
    assert!(sent > 1_000, "{results:?}");
    assert_eq!(results, BTreeMap::from([("200 OK".to_owned(), sent)]));
}
