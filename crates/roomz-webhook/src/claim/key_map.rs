use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

    /// Adds a holder with the value of the first holder. Returns `None` when there are too many holders.
    pub(crate) fn hold(self: &Arc<Self>, key: &ClaimKey, value: T) -> Option<Holder<T>> {
        let mut entries = self.lock();
        let of_key = entries.get(key).map_or(0, |(_, holders)| *holders);
        if of_key >= self.max_per_key || self.holders.load(Ordering::SeqCst) >= self.max {
            return None;
        }
        self.holders.fetch_add(1, Ordering::SeqCst);
        let (value, holders) = entries.entry(key.clone()).or_insert((value, 0));
        *holders += 1;
        Some(Holder { map: Arc::clone(self), key: key.clone(), value: value.clone() })
    }
}

impl<T> KeyMap<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimKey, (T, usize)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A holder of a value, until it is dropped.
#[derive(Debug)]
pub(crate) struct Holder<T> {
    map: Arc<KeyMap<T>>,
    key: ClaimKey,
    pub(crate) value: T,
}

impl<T> Drop for Holder<T> {
    fn drop(&mut self) {
        let mut entries = self.map.lock();
        if let Some((_, holders)) = entries.get_mut(&self.key) {
            *holders -= 1;
            if *holders == 0 {
                entries.remove(&self.key);
            }
        }
        self.map.holders.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two deliveries of one event can be handled, for example after failing open.
    #[test]
    fn keeps_value_until_last_holder_ends() {
        let map = Arc::new(KeyMap::new(2, 3));
        let [key, other] = ["roomz", "other"].map(|namespace| {
            ClaimKey::new(namespace.into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap())
        });
        let (first, second) = (map.hold(&key, "first").unwrap(), map.hold(&key, "second").unwrap());
        assert_eq!((first.value, second.value), ("first", "first"));
        assert!(map.hold(&key, "third").is_none(), "two for one event");
        let third = map.hold(&other, "other").unwrap();
        assert!(map.hold(&other, "fourth").is_none(), "three in all");
        drop(second);
        assert_eq!(map.get(&key), Some("first"));
        drop(first);
        assert_eq!((map.get(&key), map.get(&other)), (None, Some("other")));
        drop(third);
        assert_eq!(map.get(&other), None);
        for key in [&key, &other] {
            assert_eq!(map.hold(key, "again").unwrap().value, "again", "nobody holds any more");
        }
    }
}
