use std::sync::Arc;

use redis::FromRedisValue;

use crate::cluster::Cluster;
use crate::connection::{Call, Connection};
use crate::endpoint::Manager;
use crate::errors::ServerError;

/// What the store talks to.
pub(crate) enum Backend {
    /// One server, or the current master of sentinels.
    Server(Connection),
    Cluster(Cluster),
}

impl Backend {
    /// Executes a call on the server of this key.
    pub(crate) async fn invoke<T: FromRedisValue>(&self, key: &str, call: Call) -> Result<T, ServerError> {
        match self {
            Self::Server(connection) => connection.invoke(&call, false).await,
            Self::Cluster(cluster) => cluster.invoke(key, &call).await,
        }
    }

    /// The servers that accept writes, with their names in messages.
    pub(crate) fn masters(&self) -> Vec<(Arc<str>, Manager)> {
        match self {
            Self::Server(connection) => vec![connection.manager()],
            Self::Cluster(cluster) => {
                cluster.masters().iter().map(|node| node.connection.manager()).collect()
            }
        }
    }

    /// Creates keys until each server that accepts writes has one.
    pub(crate) fn one_key_per_master(&self, new_key: impl Fn() -> String) -> Vec<String> {
        match self {
            Self::Server(_) => vec![new_key()],
            Self::Cluster(cluster) => cluster.one_key_per_master(new_key),
        }
    }
}
