//! When the files are looked at, and what is said.

mod fixture;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixture::Fixture;
use https::certificate::Renewal;
use tokio::time::{Instant, timeout};

/// In a paused runtime the clock jumps to the end of each pause.
#[tokio::test(start_paused = true)]
async fn the_files_are_looked_at_every_minute() {
    let fixture = Fixture::new();
    fixture.write_new();
    let (renewal, mut current) = Renewal::load(&fixture.certificate(), &fixture.key()).unwrap();
    tokio::spawn(renewal.watch());
    for _ in 0..2 {
        let start = Instant::now();
        fixture.write_new();
        timeout(Duration::from_secs(600), current.changed()).await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}

#[test]
fn files_that_did_not_change_are_not_read_into_a_new_certificate() {
    let fixture = Fixture::new();
    fixture.write_new();
    let (mut renewal, current) = Renewal::load(&fixture.certificate(), &fixture.key()).unwrap();
    renewal.look_again();
    assert!(!current.has_changed().unwrap());
}

#[test]
fn what_is_wrong_with_a_new_pair_is_said_in_one_line_and_once() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let (mut renewal, _current) = Renewal::load(&fixture.certificate(), &fixture.key()).unwrap();
    let new = fixture.issue();
    for (certificate, part) in
        [("nothing", "there is no certificate in"), (new.certificate.as_str(), "is not the key of")]
    {
        fixture.write(certificate, &old.key);
        let lines = logged(|| {
            renewal.look_again();
            renewal.look_again();
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("the old certificate is kept") && lines[0].contains(part), "{lines:?}");
    }
    std::fs::remove_file(fixture.key()).unwrap();
    let lines = logged(|| {
        renewal.look_again();
        renewal.look_again();
    });
    assert!(lines.len() == 1 && lines[0].contains("cannot read"), "{lines:?}");
}

/// The lines that are logged by this thread meanwhile.
fn logged(run: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}
