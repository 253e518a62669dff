//! The metrics of the feature `metrics`, and how Prometheus reads them.
//!
//! They go through the [`metrics`](https://docs.rs/metrics) facade. All names start with `roomz_webhook_`.
//! Install the recorder before you build the layer: then every series exists with 0 from the start, except
//! those with the label `tenant`, and `increase()` of Prometheus counts the first event.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `verified_total` | counter | `secret`: `0`, `1`, `2`, `3+`; with tenants also `tenant` | deliveries with a valid signature, by the secret's position and the tenant's namespace |
//! | `accepted_total` | counter | | events passed to the service |
//! | `handled_total` | counter | | of these, answered 2xx by a handler that ran |
//! | `released_total` | counter | | of these, released for a redelivery |
//! | `skipped_total` | counter | `reason`: `duplicate`, `stale`, `ignored` | answered 200 without the handler; `ignored` ones were accepted |
//! | `rejected_total` | counter | `reason` | rejections |
//! | `unknown_total` | counter | | accepted events of an unknown type, or with an unreadable timestamp or data: alert on it to notice when ROOMZ changes something |
//! | `unknown_status_total` | counter | | accepted presence events whose status is neither `Free` nor `Busy`: alert on it as well |
//! | `future_timestamps_total` | counter | | deliveries whose timestamp is more than 5 min in the future; [`Latest`](crate::Latest) lets later arrivals replace such an event |
//! | `id_reused_total` | counter | | known ids with another body |
//! | `claims_lost_total` | counter | | claims that the owner no longer held when its handler had succeeded: the event may have been handled twice |
//! | `claims_restored_total` | counter | | claims that the store lost while the handler ran, and that were claimed again: alert on it to notice a store that loses data |
//! | `pending_settlements` | gauge | | settlements that are retried in the background |
//! | `settlements_abandoned_total` | counter | `operation`: `complete`, `release` | settlements that were never recorded |
//! | `tenant_lookup_errors_total` | counter | | tenant lookups that failed |
//! | `store_errors_total` | counter | `operation`: `claim`, `renew`, `complete`, `release` | failed store operations |
//! | `evicted_early_total` | counter | | ids that the memory store evicted before their retention ended |
//! | `in_flight` | gauge | | running handlers |
//! | `event_age_seconds` | histogram | | arrival minus the event's timestamp; 0 for a timestamp in the future; none for an unreadable one |
//! | `store_seconds` | histogram | `operation` | time of a store operation, up to the store timeout; readiness checks are renewals |
//! | `handling_seconds` | histogram | | time in the service, including the wait until it is ready |
//!
//! # Prometheus
//!
//! `metrics-exporter-prometheus` makes summaries by default. Quantiles of several instances, the alerts and
//! the dashboard need buckets: pass it the crate's `HISTOGRAM_BUCKETS`, which `roomz-axum` has, too.
//!
//! ```
//! # #[cfg(feature = "metrics")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! let mut exporter = PrometheusBuilder::new();
//! for &(name, buckets) in roomz_webhook::HISTOGRAM_BUCKETS {
//!     exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
//! }
//! let handle = exporter.install_recorder()?; // answer `GET /metrics` with handle.render()
//! # drop(handle);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "metrics"))]
//! # fn main() {}
//! ```
//!
//! The alert rules are in the repository:
//! [`alerts.yml`][alerts]. `RoomzBucketsMissing` fires when the buckets are missing.
//!
//! [alerts]: https://github.com/roomz-webhook/roomz-webhook/tree/main/examples/presence-board/monitoring
