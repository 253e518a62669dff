//! The record of an event: a string, and the time to live of its key.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | state: `R` running, `F` free after a release, `D` done |
//! | 16 | owner of the last claim |
//! | 16 | fingerprint of the first body |
//! | 4 | attempt, little-endian; missing when done |
//! | 8 | time to live of the key at the end of the lease, in ms, as a little-endian double; missing when done |
//!
//! It contains no time of day, and the server deletes it at the end of the retention. Redis stores a value of
//! at most 44 bytes, such as a done record, without a second allocation.

/// The record of the first claim of an event. `after_lease`: from the end of the lease to that of the
/// retention, in ms.
pub(crate) fn first_claim(owner: [u8; 16], fingerprint: [u8; 16], after_lease: u64) -> Vec<u8> {
    // Exact, because a duration is at most 2^50 ms.
    let after_lease = (after_lease as f64).to_le_bytes();
    [b"R".as_slice(), &owner, &fingerprint, &1_u32.to_le_bytes(), &after_lease].concat()
}
