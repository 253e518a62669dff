//! The newest value stays, whatever the order of arrival and however often events come.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use proptest::collection::vec;
use proptest::prelude::*;
use roomz_protocol::{EventId, Latest, LatestOutcome, Timestamp, Uuid};

fn id(number: u128) -> EventId {
    EventId::from_uuid(Uuid::from_u128(number))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn before_the_first_event_nothing_is_known() {
    let latest = Latest::<String>::default();
    assert_eq!((latest.value(), latest.timestamp(), latest.id()), (None, None, None));
    assert_eq!(latest, Latest::new());
}

#[test]
fn a_newer_event_replaces_and_a_late_one_does_not() {
    let mut latest = Latest::new();
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(2), at(30), "free"), LatestOutcome::Newest);
    assert_eq!(latest.apply(id(3), at(20), "busy"), LatestOutcome::Late);
    assert_eq!((latest.value(), latest.timestamp(), latest.id()), (Some(&"free"), Some(at(30)), Some(id(2))));
}

#[test]
fn the_id_does_not_outweigh_the_time() {
    let mut latest = Latest::new();
    latest.apply(id(u128::MAX), at(10), "busy");
    assert_eq!(latest.apply(id(0), at(11), "free"), LatestOutcome::Newest);
    assert_eq!(latest.value(), Some(&"free"));
}

#[test]
fn at_the_same_time_the_higher_id_stays_in_either_order() {
    for order in [[1, 2], [2, 1]] {
        let mut latest = Latest::new();
        for number in order {
            latest.apply(id(number), at(10), number);
        }
        assert_eq!(latest.value(), Some(&2), "{order:?}");
    }
}

#[test]
fn times_that_differ_by_a_nanosecond_are_two() {
    let mut latest = Latest::new();
    latest.apply(id(2), Timestamp::from_nanosecond(7).unwrap(), "older");
    assert_eq!(latest.apply(id(1), Timestamp::from_nanosecond(8).unwrap(), "newer"), LatestOutcome::Newest);
}

#[test]
fn the_repetition_of_the_newest_is_a_duplicate_and_that_of_an_older_one_is_late() {
    let mut latest = Latest::new();
    latest.apply(id(1), at(10), "busy");
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Duplicate);
    latest.apply(id(2), at(20), "free");
    assert_eq!(latest.apply(id(1), at(10), "busy"), LatestOutcome::Late);
    assert_eq!(latest.value(), Some(&"free"));
}

/// Few times, so that many events share one; the ids are the positions, so no two events share one.
fn events() -> impl Strategy<Value = Vec<(EventId, Timestamp, u128)>> {
    vec(-3_i64..3, 1..20).prop_map(|seconds| {
        seconds.into_iter().zip(0..).map(|(second, number)| (id(number), at(second), number)).collect()
    })
}

proptest! {
    #[test]
    fn any_order_with_any_repetition_ends_in_the_same_state(
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
            let applied = latest.apply(id, timestamp, value);
            prop_assert_eq!(applied == LatestOutcome::Newest, latest != before);
            prop_assert_eq!(applied == LatestOutcome::Duplicate, before.id() == Some(id));
        }
        prop_assert_eq!((latest.id(), latest.timestamp(), latest.value()), (Some(newest.0), Some(newest.1), Some(&newest.2)));
    }
}
