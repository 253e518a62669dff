//! A master of a Redis Cluster, or with Redis Sentinels, is replaced by its replica; slots move between
//! masters.

use std::time::Duration;

use roomz_tests::{RedisCluster, RedisSentinels, Server};
use tokio::time::sleep;

use crate::faults::evidence::Evidence;
use crate::faults::outcome::Reruns;
use crate::faults::scenario::{CONNECTIONS, Scenario, settings};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
const RECEIVERS: usize = 2;

/// How a master fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MasterFault {
    /// Killed with `SIGKILL`.
    Killed,
    /// Stopped with `SIGSTOP` until its replica is the master. It then becomes a replica.
    Stopped,
}

/// A replica takes over from a failed master of a cluster.
pub(crate) async fn fail_cluster_master(name: &'static str, fault: MasterFault) {
    let Some(mut cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let scenario = Scenario::start((name, "redis-cluster"), &cluster.url(), RECEIVERS, settings()).await;
    let (masters, replicas) = cluster.nodes.split_at_mut(3);
    fail(scenario, fault, masters.first_mut().unwrap(), replicas.first().unwrap()).await;
}

/// The sentinels replace a failed master.
pub(crate) async fn fail_sentinel_master(name: &'static str, fault: MasterFault) {
    let Some(mut servers) = RedisSentinels::start_or_skip(&[]) else { return };
    let scenario = Scenario::start((name, "redis-sentinel"), &servers.url(), RECEIVERS, settings()).await;
    let [master, replica] = &mut servers.nodes;
    fail(scenario, fault, master, replica).await;
}

async fn fail(mut scenario: Scenario, fault: MasterFault, master: &mut Server, replica: &Server) {
    assert!(master.is_redis_master() && !replica.is_redis_master(), "the roles before the fault");
    match fault {
        MasterFault::Killed => master.kill(),
        MasterFault::Stopped => master.signal("STOP"),
    }
    wait_until(|| replica.is_redis_master()).await;
    scenario.recover().await;
    match fault {
        MasterFault::Killed => master.restart(),
        MasterFault::Stopped => master.signal("CONT"),
    }
    wait_until(|| !master.is_redis_master()).await;
    scenario.sender.wait_for_accepted(500).await;
    // Each connection of the sender has one event at a time.
    scenario.finish(Reruns::LostByFailover { at_most: 2 * CONNECTIONS }, &[Evidence::FailedClaim]).await;
}

/// An operator exchanges the roles of a master and its replica. The master first sends everything to the
/// replica.
pub(crate) async fn hand_over_cluster_master(name: &'static str) {
    let Some(cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let scenario = Scenario::start((name, "redis-cluster"), &cluster.url(), RECEIVERS, settings()).await;
    let replicas = cluster.nodes.iter().skip(3);
    for replica in replicas {
        assert!(!replica.is_redis_master(), "the role before the handover");
        assert_eq!(replica.redis_command("CLUSTER FAILOVER"), "+OK");
        wait_until(|| replica.is_redis_master()).await;
        scenario.sender.wait_for_accepted(300).await;
    }
    scenario.finish(Reruns::None, &[]).await;
}

/// Slots move to another master, so receivers are redirected with `ASK` and `MOVED`.
pub(crate) async fn move_slots(name: &'static str) {
    const MOVED: std::ops::Range<u16> = 0..400;
    let Some(cluster) = RedisCluster::start_or_skip(&[]) else { return };
    let scenario = Scenario::start((name, "redis-cluster"), &cluster.url(), RECEIVERS, settings()).await;
    let (cluster, keys) = tokio::task::spawn_blocking(move || {
        let keys = cluster.move_slots(0, 1, MOVED);
        (cluster, keys)
    })
    .await
    .unwrap();
    assert!(keys > 0, "no key moved");
    scenario.sender.wait_for_accepted(500).await;
    let target = cluster.nodes.get(1).unwrap();
    let slots = format!("{}-{}", MOVED.start, MOVED.end - 1);
    assert!(
        target
            .redis_text("CLUSTER NODES")
            .lines()
            .any(|line| line.contains("myself") && line.contains(&slots))
    );
    scenario.finish(Reruns::None, &[]).await;
}

async fn wait_until(is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}
