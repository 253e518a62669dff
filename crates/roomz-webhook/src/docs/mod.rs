//! Documentation without code: [other layers](composing), [logs], [metrics].

pub mod composing;
pub mod logs;
pub mod metrics;
