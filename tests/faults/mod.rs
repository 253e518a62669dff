//! Several receivers under load, while the server of their store, the network, or a receiver fails.
//!
//! Each test prints one line of a report to standard error. The tests use real time, so few of them run at
//! once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub(crate) mod backend;
mod evidence;
mod failover;
mod network;
mod outcome;
mod receivers;
mod scenario;
mod server;
mod transaction;

use std::time::Duration;

use roomz_tests::proxy::Network::*;
use roomz_tests::rounds;

use crate::faults::backend::ServerFault::*;
use crate::faults::backend::{Postgres, Redis, Sessions, Sqlite, Transactions};
use crate::faults::failover::MasterFault;

macro_rules! tests {
    ($backend:ty: $($name:ident: $module:ident::$scenario:ident($($argument:expr)?);)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$scenario::<$backend>(stringify!($name) $(, $argument)?).await;
            }
        )*
    };
}

/// Scenarios for every store.
macro_rules! receivers {
    ($backend:ty) => {
        tests! { $backend:
            two_receivers_without_fault: receivers::run_without_fault(2);
            three_receivers_without_fault: receivers::run_without_fault(3);
            one_of_two_receivers_is_killed: receivers::kill_repeatedly((2, rounds(30, 100)));
            only_receiver_is_killed: receivers::kill_repeatedly((1, rounds(20, 40)));
            receiver_pauses_longer_than_lease: receivers::pause_longer_than_lease();
            server_stalls_clients: server::fail(StallsClients);
        }
    };
}

/// Scenarios for a store with a server and a network.
macro_rules! server {
    ($backend:ty) => {
        tests! { $backend:
            server_is_killed: server::fail(Killed);
            server_is_stopped: server::fail(Stopped);
            server_is_read_only: server::fail(ReadOnly);
            server_lacks_replica: server::fail(LacksReplica);
            server_is_down_longer_than_lease: server::fail_longer_than_lease(Killed);
            network_is_slower_than_store_timeout: network::fail(Delays(Duration::from_millis(600)));
            network_is_cut: network::fail(Closes);
            network_closes_one_direction: network::fail(HalfCloses);
            network_drops_replies: network::fail(DropsReplies);
            network_stalls: network::fail(Stalls);
            network_blackholes_connections: network::fail(Blackholes);
        }
    };
}

/// Scenarios for a database in which a handler completes its event in its own transaction.
macro_rules! transactions {
    ($backend:ty) => {
        tests! { $backend:
            transaction_is_killed_before_each_step: transaction::kill_before_each_step();
            transaction_is_killed_during_commit: transaction::kill_during_commit();
            transaction_pauses_before_each_step: transaction::pause_before_each_step();
        }
    };
}

mod redis {
    use super::*;

    receivers!(Redis);
    server!(Redis);
    tests! { Redis:
        server_is_full: server::fail(Full);
    }
}

/// Scenarios with several Redis servers, which need no backend.
macro_rules! failovers {
    ($($name:ident: $module:ident::$scenario:ident($($argument:expr)?);)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$scenario(stringify!($name) $(, $argument)?).await;
            }
        )*
    };
}

mod redis_topologies {
    use super::*;

    failovers! {
        cluster_master_is_killed: failover::fail_cluster_master(MasterFault::Killed);
        cluster_master_is_stopped: failover::fail_cluster_master(MasterFault::Stopped);
        cluster_master_is_handed_over: failover::hand_over_cluster_master();
        cluster_slots_move: failover::move_slots();
        sentinel_master_is_killed: failover::fail_sentinel_master(MasterFault::Killed);
        sentinel_master_is_stopped: failover::fail_sentinel_master(MasterFault::Stopped);
    }
}

mod postgres {
    use super::*;

    receivers!(Postgres);
    server!(Postgres);
    transactions!(Postgres);
}

mod pgbouncer_transactions {
    use super::*;

    receivers!(Transactions);
    tests! { Transactions:
        server_is_killed: server::fail(Killed);
        server_is_stopped: server::fail(Stopped);
        server_is_read_only: server::fail(ReadOnly);
        pooler_is_killed: server::fail(PoolerKilled);
        network_drops_replies: network::fail(DropsReplies);
        network_blackholes_connections: network::fail(Blackholes);
    }
}

mod pgbouncer_sessions {
    use super::*;

    tests! { Sessions:
        two_receivers_without_fault: receivers::run_without_fault(2);
        server_is_killed: server::fail(Killed);
        pooler_is_killed: server::fail(PoolerKilled);
        network_blackholes_connections: network::fail(Blackholes);
    }
}

mod sqlite {
    use super::*;

    receivers!(Sqlite);
    transactions!(Sqlite);
}
