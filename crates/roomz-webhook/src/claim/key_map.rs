use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::ClaimKey;

/// A value for each event that somebody holds. The value goes with the last holder.
#[derive(Debug)]
pub(crate) struct KeyMap<T> {
    max_per_key: usize,
    max: usize,
    /// The number of all holders. While it is 0, nearly always, a look-up takes no lock.
    holders: AtomicUsize,
    /// Each value with the number of its holders.
    entries: Mutex<HashMap<ClaimKey, (T, usize)>>,
}

impl<T: Clone> KeyMap<T> {
    pub(crate) fn new(max_per_key: usize, max: usize) -> Self {
        Self { max_per_key, max, holders: AtomicUsize::new(0), entries: Mutex::default() }
    }

    /// Returns the value that is held for this event.
    pub(crate) fn get(&self, key: &ClaimKey) -> Option<T> {
        if self.holders.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.lock().get(key).map(|(value, _)| value.clone())
    }

    /// Adds a holder, and returns the value: that of the first holder. Returns `None` when there are too many
    /// holders.
    pub(crate) fn hold(&self, key: &ClaimKey, value: T) -> Option<T> {
        let mut entries = self.lock();
        let of_key = entries.get(key).map_or(0, |(_, holders)| *holders);
        if of_key >= self.max_per_key || self.holders.load(Ordering::SeqCst) >= self.max {
            return None;
        }
        self.holders.fetch_add(1, Ordering::SeqCst);
        let (value, holders) = entries.entry(key.clone()).or_insert((value, 0));
        *holders += 1;
        Some(value.clone())
    }

    /// Removes a holder.
    pub(crate) fn release(&self, key: &ClaimKey) {
        let mut entries = self.lock();
        if let hash_map::Entry::Occupied(mut entry) = entries.entry(key.clone()) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        self.holders.fetch_sub(1, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimKey, (T, usize)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two deliveries of one event can be handled, for example after failing open.
    #[test]
    fn keeps_value_until_last_holder_ends() {
        let map = KeyMap::new(2, 3);
        let [key, other] = [
            ClaimKey::new("roomz".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap()),
            ClaimKey::new("other".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap()),
        ];
        assert_eq!((map.hold(&key, "first"), map.hold(&key, "second")), (Some("first"), Some("first")));
        assert_eq!(map.hold(&key, "third"), None, "two for one event");
        assert_eq!(
            (map.hold(&other, "other"), map.hold(&other, "fourth")),
            (Some("other"), None),
            "three in all"
        );
        map.release(&key);
        assert_eq!(map.get(&key), Some("first"));
        map.release(&key);
        assert_eq!((map.get(&key), map.get(&other)), (None, Some("other")));
        map.release(&other);
        assert_eq!(map.get(&other), None);
        assert_eq!(
            [&key, &other].map(|key| map.hold(key, "again")),
            [Some("again"); 2],
            "nobody holds any more"
        );
    }
}
