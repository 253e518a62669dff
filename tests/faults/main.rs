//! Real servers and several receivers under load, while the server, the network between them, or a receiver fails.
//!
//! Each test writes one row of a report to the standard error. They use real time and a whole machine, and so run one
//! after the other.

#![allow(clippy::unwrap_used, clippy::panic)] // in helpers; a test may

mod backend;
mod network;
mod outcome;
mod receivers;
mod scenario;
mod server;

use std::time::Duration;

use roomz_tests::proxy::Network::*;

use crate::backend::Trouble::*;
use crate::backend::{Postgres, Redis, Sqlite};

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

/// What every store must survive.
macro_rules! receivers {
    ($backend:ty) => {
        tests! { $backend:
            two_receivers_and_nothing_fails: receivers::work(2);
            three_receivers_and_nothing_fails: receivers::work(3);
            one_of_two_receivers_is_killed_again_and_again: receivers::are_killed((2, 100));
            the_only_receiver_is_killed_again_and_again: receivers::are_killed((1, 40));
            one_of_two_receivers_sleeps_for_longer_than_a_lease: receivers::sleep_for_longer_than_a_lease();
            the_server_lets_its_clients_wait: server::fails(Paused);
        }
    };
}

/// What comes with a server, and a network on the way to it.
macro_rules! server {
    ($backend:ty) => {
        tests! { $backend:
            the_server_is_killed_and_comes_back: server::fails(Killed);
            the_server_is_stopped_and_goes_on: server::fails(Stopped);
            the_server_is_read_only: server::fails(ReadOnly);
            the_server_lacks_its_replica: server::fails(LacksReplica);
            the_server_fails_for_longer_than_a_lease: server::fails_for_longer_than_a_lease(Killed);
            the_network_is_slower_than_the_store_may_be: network::fails(Delays(Duration::from_millis(600)));
            the_network_is_cut: network::fails(Cuts);
            the_network_closes_one_direction: network::fails(HalfCloses);
            the_network_loses_the_replies: network::fails(LosesReplies);
            the_network_holds_everything_back: network::fails(Holds);
            the_network_forgets_connections: network::fails(Forgets);
        }
    };
}

mod redis {
    use super::*;

    receivers!(Redis);
    server!(Redis);
    tests! { Redis: the_server_is_full: server::fails(Full); }
}

mod postgres {
    use super::*;

    receivers!(Postgres);
    server!(Postgres);
}

mod sqlite {
    use super::*;

    receivers!(Sqlite);
}
