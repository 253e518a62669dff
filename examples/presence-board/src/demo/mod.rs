//! A building that is not there: its deliveries come through a socket, as those of ROOMZ would.

mod building;
mod client;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::{Secret, roomz_webhook};

use crate::demo::building::Building;
use crate::names::Names;

/// The names of the building that is not there.
pub fn names() -> serde_json::Result<Names> {
    serde_json::from_str(include_str!("../../demo-names.json"))
}

/// A secret that nobody knows but this process.
pub fn secret() -> Result<Secret, roomz_webhook::roomz_protocol::SecretError> {
    Secret::new(Uuid::from_u128(rand::random()).to_string())
}

/// Delivers to the board at this address until it is aborted.
pub async fn run(board: SocketAddr, secret: Secret, forger: Secret, names: Names) {
    let mut building = Building::new(&names, secret, forger);
    let board = reachable(board);
    // What happened before the board was looked at comes quickly, then things take their time.
    let mut first = names.ids().count().saturating_sub(2);
    loop {
        let pause = if first > 0 { 40 } else { rand::random_range(600..1600) };
        let delivery = if first > 0 { building.first() } else { building.next() };
        first = first.saturating_sub(1);
        if let Some(delivery) = delivery {
            match client::post(board, &delivery).await {
                Ok(status) => tracing::debug!(status, "the demo delivered"),
                Err(error) => tracing::debug!("the demo could not deliver: {error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// One cannot connect to "any address" everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
