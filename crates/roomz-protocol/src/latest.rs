use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::EventId;

/// The newest value of something whose events arrive in any order.
///
/// ROOMZ promises neither order nor a single delivery, and `Latest` needs neither: it keeps the value of the
/// event with the highest [`timestamp`](crate::Event::timestamp), for any order of arrival and any number of
/// duplicates. If two events have the same timestamp, the higher id wins. That choice is arbitrary, but every
/// process that saw both events makes the same choice.
///
/// The presence of a building, empty at the start:
///
/// ```
/// use std::collections::HashMap;
/// use roomz_protocol::{Event, Latest, LatestOutcome, PresenceStatus, WorkspaceId, WorkspacePresenceChanged};
///
/// type Building = HashMap<WorkspaceId, Latest<PresenceStatus>>;
///
/// fn apply(building: &mut Building, event: Event<WorkspacePresenceChanged>) -> LatestOutcome {
///     let workspace = building.entry(event.data.workspace_id).or_default();
///     workspace.apply(event.id, event.timestamp, event.data.presence_status)
/// }
/// # fn event(id: &str, timestamp: &str, status: &str) -> Event<WorkspacePresenceChanged> {
/// #     let json = format!(r#"{{"id":"e6ae112e-2af3-4d72-894b-{id}","type":"workspace.presence.changed",
/// #         "timestamp":"2024-05-21T{timestamp}Z","data":{{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5",
/// #         "presenceStatus":"{status}"}}}}"#);
/// #     Event::parse(json.as_bytes()).unwrap().typed().unwrap()
/// # }
///
/// let mut building = Building::new();
/// let (busy, free) = (event("03435d7afde4", "08:22:32", "Busy"), event("61c0ffee1234", "09:05:00", "Free"));
/// let workspace = free.data.workspace_id;
/// assert_eq!(apply(&mut building, free), LatestOutcome::Newest);
/// assert_eq!(apply(&mut building, busy), LatestOutcome::Late);
/// assert_eq!(building[&workspace].value(), Some(&PresenceStatus::Free));
/// ```
///
/// A timestamp more than 5 min in the future is a mistake of a clock, so a kept event with such a timestamp
/// is replaced by the next event that arrives. This also repairs a stored value. The clock is that of the
/// system; on `wasm32-unknown-unknown`, which has none, such an event hides those with a lower timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Latest<T> {
    newest: Option<Entry<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Entry<T> {
    timestamp: Timestamp,
    id: EventId,
    value: T,
}

/// What [`Latest::apply`] did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "an event is newer than, older than, or the same as the kept one")]
pub enum LatestOutcome {
    /// The event is newer than the kept one: its value is kept now.
    Newest,
    /// The event is older than the kept one: nothing changed.
    Late,
    /// The event is the kept one: nothing changed.
    Duplicate,
}

/// How far in the future a timestamp may be: the clocks of ROOMZ and this machine differ. For the crates of
/// this project.
#[doc(hidden)]
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Returns whether a kept timestamp is too far in the future to hide later arrivals.
fn is_from_future(timestamp: Timestamp) -> bool {
    // `now` panics on a platform without a clock.
    let has_clock = !cfg!(all(target_family = "wasm", target_os = "unknown"));
    has_clock && timestamp > Timestamp::now() + CLOCK_SKEW
}

impl<T> Latest<T> {
    /// Creates a `Latest` without a value.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: None }
    }

    /// Keeps the value if its event is newer than the kept one.
    ///
    /// A duplicate of an event that is no longer the newest is [`LatestOutcome::Late`], because older ids are
    /// not kept.
    ///
    /// ```
    /// use roomz_protocol::{EventId, Latest, LatestOutcome, Timestamp, Uuid};
    ///
    /// let [first, second] = [1, 2].map(|id| EventId::from(Uuid::from_u128(id)));
    /// let [eight, nine] = [8, 9].map(|hour| Timestamp::from_second(hour * 60 * 60).unwrap());
    ///
    /// let mut desk = Latest::new();
    /// assert_eq!(desk.apply(second, nine, "free"), LatestOutcome::Newest);
    /// assert_eq!(desk.apply(second, nine, "free"), LatestOutcome::Duplicate);
    /// assert_eq!(desk.apply(first, eight, "busy"), LatestOutcome::Late);
    /// assert_eq!((desk.value(), desk.timestamp()), (Some(&"free"), Some(nine)));
    /// ```
    pub fn apply(&mut self, id: EventId, timestamp: Timestamp, value: T) -> LatestOutcome {
        if let Some(newest) = &self.newest {
            match (timestamp, id).cmp(&(newest.timestamp, newest.id)) {
                Ordering::Less if !is_from_future(newest.timestamp) => return LatestOutcome::Late,
                Ordering::Equal => return LatestOutcome::Duplicate,
                Ordering::Less | Ordering::Greater => {}
            }
        }
        self.newest = Some(Entry { timestamp, id, value });
        LatestOutcome::Newest
    }

    /// Returns the value of the newest event, or `None` before the first event.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        self.newest.as_ref().map(|newest| &newest.value)
    }

    /// Returns the timestamp of the newest event, or `None` before the first event.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.newest.as_ref().map(|newest| newest.timestamp)
    }

    /// Returns the id of the newest event, or `None` before the first event.
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        self.newest.as_ref().map(|newest| newest.id)
    }
}

/// Creates a `Latest` without a value. `T` needs no default.
impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
}
