//! When the certificate files are checked, and what is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fixture::Fixture;
use https::certificate::CertificateFiles;
use tokio::time::Instant;

fn load(fixture: &Fixture) -> CertificateFiles {
    CertificateFiles::load(&fixture.certificate(), &fixture.key()).unwrap()
}

/// Runs on paused time: the clock moves to the end of each sleep.
#[tokio::test(start_paused = true)]
async fn checks_files_every_minute() {
    let fixture = Fixture::new();
    fixture.write_new();
    let files = load(&fixture);
    let tls = files.tls();
    let start = Instant::now();
    tokio::spawn(files.watch());
    for check in 1..=2 {
        let old = tls.get_inner();
        fixture.write_new();
        while Arc::ptr_eq(&old, &tls.get_inner()) {
            assert!(start.elapsed().as_secs() < 600, "check {check} is missing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(start.elapsed().as_secs(), 60 * check);
    }
}

#[test]
fn unchanged_files_are_not_reloaded() {
    let fixture = Fixture::new();
    fixture.write_new();
    let mut files = load(&fixture);
    let old = files.tls().get_inner();
    files.reload_if_changed();
    assert!(Arc::ptr_eq(&old, &files.tls().get_inner()));
}

#[test]
fn files_are_read_without_byte_order_mark() {
    let fixture = Fixture::new();
    let pair = fixture.issue();
    fixture.write(&format!("\u{feff}{}", pair.certificate), &format!("\u{feff}{}", pair.key));
    load(&fixture);
}

#[test]
fn logs_each_reload_error_once() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let mut files = load(&fixture);
    let new = fixture.issue();
    for (certificate, part) in
        [("nothing", "contains no certificate"), (new.certificate.as_str(), "is not the key of")]
    {
        fixture.write(certificate, &old.key);
        let lines = logged(|| {
            files.reload_if_changed();
            files.reload_if_changed();
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("cannot reload the certificate") && lines[0].contains(part), "{lines:?}");
    }
    std::fs::remove_file(fixture.key()).unwrap();
    let lines = logged(|| {
        files.reload_if_changed();
        files.reload_if_changed();
    });
    assert!(lines.len() == 1 && lines[0].contains("cannot read"), "{lines:?}");
}

/// Runs a function and returns the lines that it logged.
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
