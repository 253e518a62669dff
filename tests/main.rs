//! The whole stack: faults of real servers, the inbox under load, mounts, and the list of promises.

mod faults;
mod hostile;
mod inbox;
mod model;
mod mounts;
mod promises;
mod secret_memory;
mod soak;
