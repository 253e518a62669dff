//! A simulated building, which delivers events to the board over HTTP, as ROOMZ does.

mod building;
mod client;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use roomz_axum::Secret;
use roomz_axum::roomz_webhook::roomz_protocol::{SecretError, Uuid};

use crate::demo::building::Building;
use crate::names::Names;

/// The pauses between the initial deliveries, in all.
const INITIAL_DURATION_MS: u64 = 1_000;

/// The names of the simulated workspaces.
pub fn names() -> serde_json::Result<Names> {
    serde_json::from_str(include_str!("../../demo-names.json"))
}

/// A secret that only this process knows.
pub fn random_secret() -> Result<Secret, SecretError> {
    Secret::new(Uuid::from_u128(rand::random()).to_string())
}

/// Delivers events to the board at `address` until the task is aborted. Forged deliveries use `wrong_secret`.
pub async fn run(address: SocketAddr, secret: Secret, wrong_secret: Secret, names: Names) {
    let mut building = Building::new(&names, secret, wrong_secret);
    let address = connectable(address);
    // The initial deliveries fill the board within a few seconds. Two workspaces stay without data.
    let mut initial = names.ids().count().saturating_sub(2);
    let initial_pause = INITIAL_DURATION_MS / u64::try_from(initial.max(1)).unwrap_or(u64::MAX);
    loop {
        let pause = if initial > 0 { initial_pause } else { rand::random_range(600..1600) };
        let delivery = if initial > 0 { building.initial_delivery() } else { building.next_delivery() };
        initial = initial.saturating_sub(1);
        if let Some(delivery) = delivery {
            match client::post(address, &delivery).await {
                Ok(status) => tracing::debug!(status, "demo delivery answered"),
                Err(error) => tracing::debug!(%error, "demo delivery failed"),
            }
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Replaces an unspecified address such as `0.0.0.0`, to which not every system can connect.
fn connectable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
