use std::sync::atomic::{AtomicUsize, Ordering};

/// Below this, a shard has no share of its own. With a smaller share, one shard could reach the limit while others do not
/// use theirs.
const MIN_SHARE: usize = 64;

/// Limits the claims in flight in all shards of a memory store.
///
/// Each shard may hold its share of a quarter of the limit without counting. The claims above these shares are counted
/// here, so that cores rarely write to the same counter. It is aligned, so that a change does not slow down reads of the
/// fields beside it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct InFlightLimit {
    share: usize,
    max_counted: usize,
    counted: AtomicUsize,
}

impl InFlightLimit {
    pub(super) const fn new(max: usize, shards: usize) -> Self {
        let share = max / shards / 4;
        let share = if share < MIN_SHARE { 0 } else { share };
        Self { share, max_counted: max - share * shards, counted: AtomicUsize::new(0) }
    }

    /// Adds a claim to a shard with `claims` other ones, unless the limit is reached.
    ///
    /// The counter protects no other memory, so its operations are relaxed.
    pub(super) fn acquire(&self, claims: usize) -> bool {
        if claims < self.share || self.counted.fetch_add(1, Ordering::Relaxed) < self.max_counted {
            return true;
        }
        self.counted.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Adds a claim whose lease had ended and whose owner renewed it. It is not refused, so it may exceed the limit.
    pub(super) fn exceed(&self, claims: usize) {
        if claims >= self.share {
            self.counted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes a claim from a shard that holds `claims` other ones.
    pub(super) fn release(&self, claims: usize) {
        if claims >= self.share {
            self.counted.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_claims_above_shares() {
        let limit = InFlightLimit::new(1_000, 2);
        for claims in 0..125 {
            assert!(limit.acquire(claims), "the share of the first shard");
        }
        for claims in 125..875 {
            assert!(limit.acquire(claims), "{claims}");
        }
        assert!(!limit.acquire(875), "the rest is the share of the second shard");
        assert!(limit.acquire(124));
        limit.release(874);
        assert!(limit.acquire(125));
        assert!(!limit.acquire(126));
    }

    #[test]
    fn small_limit_has_no_shares() {
        let limit = InFlightLimit::new(2, 64);
        assert!(limit.acquire(0));
        assert!(limit.acquire(0));
        assert!(!limit.acquire(0));
    }
}
