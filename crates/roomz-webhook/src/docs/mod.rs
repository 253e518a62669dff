//! Documentation without code: [other layers](composing), [logs](logs), [metrics](metrics).

pub mod composing;
pub mod logs;
pub mod metrics;
