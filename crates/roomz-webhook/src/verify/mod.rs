//! Checks 1 to 8, cheap before expensive, in the order in which `service.rs` calls them. None of them calls
//! the store.
//!
//! | # | check | file |
//! |---|---|---|
//! | 1–4 | method, encoding, signature header, length | `head.rs` |
//! | | the secrets for this request | `secrets.rs` |
//! | 5–6 | reading the body, signature | `body.rs` |
//! | 7 | the event | `roomz_protocol::Event::parse` |
//! | 8 | age | `freshness.rs` |

pub(crate) mod body;
pub(crate) mod freshness;
pub(crate) mod head;
pub(crate) mod secrets;
