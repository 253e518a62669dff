//! `Latest` keeps the newest value for any order of arrival and any number of duplicates.

use proptest::collection::vec;
use proptest::prelude::*;
use roomz_protocol::{EventId, Latest, LatestOutcome, Timestamp, Uuid};

fn id(number: u128) -> EventId {
    EventId::from(Uuid::from_u128(number))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn starts_without_value() {
    let latest = Latest::<String>::default();
    assert_eq!((latest.value(), latest.timestamp(), latest.id()), (None, None, None));
    assert_eq!(latest, Latest::new());
}

#[test]
fn ignores_late_event() {
    let mut latest = Latest::new();
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(2), at(30), "free"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(3), at(20), "busy"), LatestOutcome::Late);
    assert_eq!((latest.value(), latest.timestamp(), latest.id()), (Some(&"free"), Some(at(30)), Some(id(2))));
}

#[test]
fn orders_by_timestamp_before_id() {
    let mut latest = Latest::new();
    latest.apply(id(u128::MAX), at(10), "busy");
    assert_eq!(latest.apply(id(0), at(11), "free"), LatestOutcome::Newest);
    assert_eq!(latest.value(), Some(&"free"));
}

/// Also a kept value that another program stored. A duplicate is still a duplicate.
#[test]
fn event_from_future_hides_no_later_arrival() {
    let (now, minute) = (Timestamp::now(), std::time::Duration::from_secs(60));
    let future: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
    let mut latest = Latest::new();
    assert_eq!(latest.apply(id(9), future, "busy"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(9), future, "busy"), LatestOutcome::Duplicate);
    assert_eq!(latest.apply(id(8), future - minute, "still busy"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(1), now - 60 * minute, "free"), LatestOutcome::Newest);
    assert_eq!((latest.value(), latest.timestamp()), (Some(&"free"), Some(now - 60 * minute)));
    // Clocks may differ by some minutes.
    assert_eq!(latest.apply(id(2), now + 3 * minute, "busy"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(3), now, "free"), LatestOutcome::Late);
}

#[test]
fn higher_id_wins_at_same_timestamp() {
    for order in [[1, 2], [2, 1]] {
        let mut latest = Latest::new();
        for number in order {
            latest.apply(id(number), at(10), number);
        }
        assert_eq!(latest.value(), Some(&2), "{order:?}");
    }
}

#[test]
fn compares_nanoseconds() {
    let mut latest = Latest::new();
    latest.apply(id(2), Timestamp::from_nanosecond(7).unwrap(), "older");
    assert_eq!(latest.apply(id(1), Timestamp::from_nanosecond(8).unwrap(), "newer"), LatestOutcome::Newest);
}

/// A repeated event is a duplicate if it is the kept one, and late if a newer one replaced it.
#[test]
fn tells_duplicate_from_late_event() {
    let mut latest = Latest::new();
    latest.apply(id(1), at(10), "busy");
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Duplicate);
    latest.apply(id(2), at(20), "free");
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Late);
    assert_eq!(latest.value(), Some(&"free"));
}

/// Events with unique ids and few different timestamps, so that many events share a timestamp.
fn events() -> impl Strategy<Value = Vec<(EventId, Timestamp, u128)>> {
    vec(-3_i64..3, 1..20).prop_map(|seconds| {
        seconds.into_iter().zip(0..).map(|(second, number)| (id(number), at(second), number)).collect()
    })
}

proptest! {
    #[test]
    fn any_order_gives_same_state(
        (events, arrivals) in events().prop_flat_map(|events| {
            let repeated = vec(0..events.len(), 0..20);
            let all: Vec<_> = (0..events.len()).collect();
            let arrivals = repeated.prop_map(move |more| [all.clone(), more].concat()).prop_shuffle();
            (Just(events), arrivals)
        })
    ) {
        let newest = events.iter().max_by_key(|(id, timestamp, _)| (*timestamp, *id)).unwrap();
        let mut latest = Latest::new();
        for arrival in arrivals {
            let (id, timestamp, value) = events[arrival];
            let before = latest.clone();
            let outcome = latest.apply(id, timestamp, value);
            prop_assert_eq!(outcome == LatestOutcome::Newest, latest != before);
            prop_assert_eq!(outcome == LatestOutcome::Duplicate, before.id() == Some(id));
        }
        prop_assert_eq!((latest.id(), latest.timestamp(), latest.value()), (Some(newest.0), Some(newest.1), Some(&newest.2)));
    }
}
