//! The log lines of the layer.
//!
//! Logs go through [`tracing`] with the target `roomz_webhook`. From the claim on, they are in the span
//! `roomz_webhook` with the fields `event.id`, `event.type` and, for a layer with tenants, `tenant`. Messages
//! are constant; the variable part is in fields, and `hint` says what follows or what to do.
//!
//! | level | messages |
//! |---|---|
//! | ERROR | `store operation failed`, `settlement abandoned`, `tenant lookup failed` (at most once a minute) |
//! | WARN | `event released for a redelivery`, `event has unknown data`, `event has unknown status`, `event id received with another body`, `claim lost`, `claim taken over`, `claim restored`, `lease ceiling reached`, `handler cancelled`, `memory store full` (once per store), `webhook secret looks copied with the syntax of a file`, `path never matched` (once per layer), `readiness check failed` (at most once a minute), and `delivery rejected` for signed deliveries |
//! | INFO | `unsigned requests rejected` (at most once a minute, with their number), `event handled`, `event skipped` (for example duplicates), and `delivery rejected` when the event is in flight, the store failed, the handler panicked, or `drain` runs |
//! | DEBUG | `delivery rejected` for unsigned requests, which anybody can send, with `body not readable`, `tenant unknown` and further `tenant lookup failed` for their causes; `event accepted` (passed to the service); `store retry failed`; `unconfirmed claim not released` |
//! | TRACE | `signature verified` |
//!
//! No log line, answer, `Debug` or error contains a secret, a signature or a body. `roomz-axum`, the stores
//! and the inbox list their own lines.
