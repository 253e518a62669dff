use roomz_protocol::Uuid;

/// Distinct version 4 UUIDs for the events of one run: random, except for 62 bits computed from a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventIds(u128);

impl EventIds {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// Returns a different UUID for each number below 2⁶².
    pub(super) fn get(self, number: u64) -> Uuid {
        const LOW_BITS: u128 = (1 << 62) - 1;
        // Multiplication by an odd number is a permutation modulo a power of two, so the ids stay distinct while
        // consecutive numbers give ids that look unrelated.
        let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Uuid::from_u128((self.0 & !LOW_BITS) | (self.0.wrapping_add(spread) & LOW_BITS))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_distinct_version_4_uuids() {
        let ids = EventIds::random();
        let all: BTreeSet<_> = (0..100_000).map(|number| ids.get(number)).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(|id| id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122));
        assert_ne!(ids.get(0), EventIds::random().get(0));
    }
}
