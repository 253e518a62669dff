//! The builder of [`WebhookLayer`](crate::WebhookLayer): `durations.rs` has the timeouts, `layer_builder.rs` the rest.

mod durations;
mod layer_builder;

pub use self::layer_builder::WebhookLayerBuilder;
