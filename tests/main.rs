//! The whole stack: faults of real servers, the inbox under load, mounts, and the list of promises.

mod faults;
mod inbox;
mod mounts;
mod promises;
