use std::time::Duration;

/// What a store in memory remembers of an id. With its key it takes 40 bytes; a million of them are kept.
///
/// Times are milliseconds of the store's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// A hash of the owner. 0 after a release.
    pub(super) owner: u64,
    /// A hash of the fingerprint.
    pub(super) fingerprint: u64,
    /// The expiry above 20 bits for the attempt. The attempt of a done id is 0.
    expiry_and_attempt: u64,
}

impl Record {
    const ATTEMPT_BITS: u32 = 20;
    const ATTEMPT_MAX: u32 = (1 << Self::ATTEMPT_BITS) - 1;

    /// An attempt above a million counts as a million.
    pub(super) fn new(owner: u64, fingerprint: u64, expiry: u64, attempt: u32) -> Self {
        let expiry = expiry.min(u64::MAX >> Self::ATTEMPT_BITS);
        let attempt = u64::from(attempt.min(Self::ATTEMPT_MAX));
        Self { owner, fingerprint, expiry_and_attempt: expiry << Self::ATTEMPT_BITS | attempt }
    }

    pub(super) fn done(self, expiry: u64) -> Self {
        Self::new(self.owner, self.fingerprint, expiry, 0)
    }

    pub(super) const fn released(self) -> Self {
        Self { owner: 0, ..self }
    }

    pub(super) const fn expiry(self) -> u64 {
        self.expiry_and_attempt >> Self::ATTEMPT_BITS
    }

    pub(super) const fn attempt(self) -> u32 {
        self.expiry_and_attempt as u32 & Self::ATTEMPT_MAX
    }

    pub(super) const fn is_done(self) -> bool {
        self.attempt() == 0
    }
}

/// Adds a duration to a time in milliseconds.
pub(super) fn after(millis: u64, duration: Duration) -> u64 {
    millis.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory per id in the documentation depends on it.
    #[test]
    fn record_takes_24_bytes() {
        assert_eq!(size_of::<Record>(), 24);
    }

    #[test]
    fn attempt_and_expiry_saturate() {
        let record = Record::new(1, 2, u64::MAX, u32::MAX);
        assert_eq!(record.attempt(), 1_048_575);
        assert!(record.expiry() > 500 * 365 * 24 * 60 * 60 * 1_000);
        assert!(!record.is_done() && record.done(7).is_done());
        assert_eq!((record.done(7).expiry(), record.done(7).fingerprint), (7, 2));
        assert_eq!(Record::new(1, 2, 5, u32::MAX).expiry(), 5);
    }
}
