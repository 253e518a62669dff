use jiff::Timestamp;

use crate::id::EventId;

/// The newest value of something whose events come in any order: a late, older event never overwrites a newer one.
///
/// ROOMZ promises neither an order nor a single delivery. What is kept here depends on neither: the event with the
/// highest [`timestamp`](crate::Event::timestamp) stays, whatever came before or after it and however often. Of two
/// events with the same timestamp the one with the higher id stays, which is arbitrary, but the same in every process
/// that saw both.
///
/// The presence of a whole building, at start nothing:
///
/// ```
/// use std::collections::HashMap;
/// use roomz_protocol::{LatestOutcome, Event, Latest, PresenceStatus, WorkspaceId, WorkspacePresenceChanged};
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
/// let (sat_down, left) =
///     (event("03435d7afde4", "08:22:32", "Busy"), event("61c0ffee1234", "09:05:00", "Free"));
/// let workspace = left.data.workspace_id;
/// assert_eq!(apply(&mut building, left), LatestOutcome::Newest);
/// assert_eq!(apply(&mut building, sat_down), LatestOutcome::Late);
/// assert_eq!(building[&workspace].value(), Some(&PresenceStatus::Free));
/// ```
///
/// The sender's word for the time is taken. An event that is dated a year ahead stays for a year; where that can happen,
/// refuse it before, with the maximum age and the clock skew of `roomz-webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Latest<T> {
    newest: Option<Entry<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry<T> {
    timestamp: Timestamp,
    id: EventId,
    value: T,
}

/// What [`Latest::apply`] did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "an event is newer, older, or the same")]
pub enum LatestOutcome {
    /// It is the newest so far: its value is the one kept now.
    Newest,
    /// A newer event is known already: nothing changed.
    Late,
    /// It is the very event whose value is kept: nothing changed.
    Duplicate,
}

impl<T> Latest<T> {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: None }
    }

    /// Keeps the value if its event is newer than what is known.
    ///
    /// The repetition of an event that is not the newest any more is [`LatestOutcome::Late`]: older ids are not remembered.
    ///
    /// ```
    /// use roomz_protocol::{LatestOutcome, EventId, Latest, Timestamp, Uuid};
    ///
    /// let [first, second] = [1, 2].map(|id| EventId::from_uuid(Uuid::from_u128(id)));
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
                std::cmp::Ordering::Less => return LatestOutcome::Late,
                std::cmp::Ordering::Equal => return LatestOutcome::Duplicate,
                std::cmp::Ordering::Greater => {}
            }
        }
        self.newest = Some(Entry { timestamp, id, value });
        LatestOutcome::Newest
    }

    /// The value of the newest event; `None` before the first.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        self.newest.as_ref().map(|newest| &newest.value)
    }

    /// When the newest event happened, as its sender says; `None` before the first.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.newest.as_ref().map(|newest| newest.timestamp)
    }

    /// The id of the newest event; `None` before the first.
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        self.newest.as_ref().map(|newest| newest.id)
    }
}

/// Nothing known yet, whatever the type.
impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
}
