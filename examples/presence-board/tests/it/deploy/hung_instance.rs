use roomz_axum::testing::TestEvent;

use crate::deploy::Deployment;
use crate::support::program::secret;

/// A process that hangs keeps its connections open. nginx sends its deliveries to the other instance after a
/// timeout.
#[tokio::test]
async fn hung_instance_loses_no_delivery() {
    let Some(deployment) = Deployment::start() else { return };
    let hung = &deployment.instances[0];
    hung.signal("STOP");
    for _ in 0..4 {
        assert_eq!(deployment.deliver(&TestEvent::busy(), &secret()).await.status(), 200);
    }
    hung.signal("CONT");
}
