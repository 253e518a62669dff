//! Several inbox processes under load, while processes are killed or suspended, the database server is
//! killed, or the disk is full.
//!
//! Each test prints one line of a report to standard error. The tests use real time and the whole machine, so
//! they run one after the other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod database;
mod disk;
mod history;
mod kills;
mod outages;
mod outcome;
mod scenario;
mod suspension;

use crate::inbox::database::{Postgres, Sqlite};

macro_rules! tests {
    ($($name:ident: $module:ident::$scenario:ident$(::<$database:ty>)?();)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$scenario$(::<$database>)?(stringify!($name)).await;
            }
        )*
    };
}

mod postgres {
    use super::*;

    tests! {
        processes_are_killed: kills::kill_at_random::<Postgres>();
        server_is_killed_under_load: outages::kill_server();
        suspended_worker_loses_lease: suspension::suspend_longer_than_lease::<Postgres>();
    }
}

mod sqlite {
    use super::*;

    tests! {
        processes_are_killed: kills::kill_at_random::<Sqlite>();
        disk_is_full_under_load: outages::fill_disk();
        suspended_worker_loses_lease: suspension::suspend_longer_than_lease::<Sqlite>();
    }
}
