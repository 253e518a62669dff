//! Checks 7 and 8: the event, and its age.

use std::time::Duration;

use http::StatusCode;
use roomz_webhook::testing::{ManualClock, TestEvent};
use roomz_webhook::{Clock as _, EventData, Skipped, StalePolicy};

use crate::support::TestReceiver;

#[tokio::test]
async fn rejects_malformed_event() {
    let receiver = TestReceiver::new();
    let valid = String::from_utf8(TestEvent::busy().body()).unwrap();
    let mut invalid_utf8 = valid.replacen('{', r#"{"ignored":"?","#, 1).into_bytes();
    invalid_utf8[12] = 0xff;
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        b"null".to_vec(),
        b"[]".to_vec(),
        format!("[{valid}]").into_bytes(),
        format!("\u{feff}{valid}").into_bytes(),
        format!("{valid}x").into_bytes(),
        format!("{valid}{valid}").into_bytes(),
        format!("{valid}\0").into_bytes(),
        valid.replacen('{', r#"{"\u0069d":"e6ae112e-2af3-4d72-894b-03435d7afde4","#, 1).into_bytes(),
        TestEvent::busy().without("id").body(),
        TestEvent::busy().without("type").body(),
        TestEvent::busy().with("id", 7).body(),
        invalid_utf8,
    ];
    for body in bodies {
        let response = receiver.deliver_body(&body).await;
        assert_eq!(
            response.outcome(),
            (400, "event-malformed".into()),
            "{:?}",
            String::from_utf8_lossy(&body)
        );
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

/// A change of the format loses no event: it is accepted, and never typed.
#[tokio::test]
async fn accepts_unreadable_event_as_unknown() {
    let receiver = TestReceiver::with_handler(async |delivery| {
        assert!(matches!(delivery.event().data, EventData::Unknown(_)));
        Ok(StatusCode::OK)
    });
    let unreadable = || {
        [
            TestEvent::busy().with("timestamp", "2024-05-21T08:22:32"),
            TestEvent::busy().with("timestamp", 1_716_279_752),
            TestEvent::busy().without("timestamp"),
            TestEvent::busy().without("data"),
            TestEvent::busy().with("data", 7),
        ]
    };
    for event in unreadable() {
        assert_eq!(receiver.deliver(&event).await.outcome(), (200, String::new()));
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    }
    assert_eq!(receiver.runs(), unreadable().len());
}

/// With a maximum age, an event whose age is unknown never reaches the store.
#[tokio::test]
async fn maximum_age_refuses_unreadable_timestamp() {
    let unreadable = [
        TestEvent::busy().without("timestamp"),
        TestEvent::busy().with("timestamp", "2024-05-21T08:22:32"),
        TestEvent::busy().with_type("workspace.booked").with("timestamp", 1_716_279_752),
    ];
    let max_age = Duration::from_secs(60);
    for event in unreadable {
        for (policy, status, skipped) in
            [(StalePolicy::Reject, 400, None), (StalePolicy::Acknowledge, 200, Some(Skipped::Stale))]
        {
            let receiver = TestReceiver::with(
                |builder| builder.with_max_age(max_age, policy),
                async |_| Ok(StatusCode::OK),
            );
            let response = receiver.deliver(&event).await;
            assert_eq!((response.status.as_u16(), response.skipped), (status, skipped));
            assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
            if policy == StalePolicy::Reject {
                assert_eq!(response.outcome(), (400, "event-malformed".into()));
                assert!(response.body.contains("age is unknown"), "{}", response.body);
            }
        }
    }
}

/// Only a known type requires `data`.
#[tokio::test]
async fn accepts_unknown_type_without_data() {
    let receiver = TestReceiver::with_handler(async |delivery| {
        assert!(matches!(delivery.event().data, EventData::Unknown(_)));
        Ok(StatusCode::OK)
    });
    let event =
        TestEvent::busy().with_type("workspace.status.updated").without("data").with("workspaceId", "7");
    assert_eq!(receiver.deliver(&event).await.outcome(), (200, String::new()));
    assert_eq!(receiver.runs(), 1);
}

#[tokio::test]
async fn accepts_deeply_nested_json() {
    let receiver = TestReceiver::new();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let valid = String::from_utf8(TestEvent::busy().body()).unwrap();
    let body = valid.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert_eq!(receiver.deliver_body(body.as_bytes()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn ignores_event_age_by_default() {
    let receiver = TestReceiver::new();
    for timestamp in ["0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
        assert_eq!(receiver.deliver(&TestEvent::busy().with("timestamp", timestamp)).await.status, 200);
    }
}

/// With `max_age`, events that are too old or too new never reach the store.
#[tokio::test(start_paused = true)]
async fn applies_stale_policy_before_claim() {
    const MAX_AGE: Duration = Duration::from_secs(60);
    const SKEW: Duration = Duration::from_secs(5 * 60);
    let clock = ManualClock::new();
    let now = clock.now();
    let with_policy = |policy| {
        let clock = clock.clone();
        TestReceiver::with(
            move |builder| builder.with_max_age(MAX_AGE, policy).with_clock(clock),
            async |_| Ok(StatusCode::OK),
        )
    };
    let nanosecond = Duration::from_nanos(1);
    let cases = [
        (now - MAX_AGE, None),
        (now - MAX_AGE - nanosecond, Some("event-too-old")),
        (now + SKEW, None),
        (now + SKEW + nanosecond, Some("event-too-new")),
        ("0001-01-01T00:00:00Z".parse().unwrap(), Some("event-too-old")),
        ("9999-12-30T22:00:00Z".parse().unwrap(), Some("event-too-new")),
    ];
    for (timestamp, rejected) in cases {
        let event = TestEvent::busy().with_timestamp(timestamp);
        let receiver = with_policy(StalePolicy::Reject);
        let expected = rejected.map_or((200, String::new()), |reason| (400, reason.to_owned()));
        let response = receiver.deliver(&event).await;
        let outcome = if response.status == 200 { (200, String::new()) } else { response.outcome() };
        assert_eq!(outcome, expected, "{timestamp}");
        assert_eq!(receiver.store.total_calls() > 0, rejected.is_none());

        let receiver = with_policy(StalePolicy::Acknowledge);
        let response = receiver.deliver(&event).await;
        assert_eq!((response.status, response.skipped), (StatusCode::OK, rejected.map(|_| Skipped::Stale)));
        assert_eq!(receiver.runs(), usize::from(rejected.is_none()));
    }
}
