use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::args::DeliverArgs;

/// Fewer deliveries finish too fast for a progress bar, unless a rate or retries slow them down.
const MIN_DELIVERIES: u64 = 2_000;

/// A progress bar on standard error, shown only on a terminal and only for long runs.
pub(crate) struct Progress(Option<(ProgressBar, JoinHandle<()>)>);

impl Progress {
    pub(crate) fn start(total: u64, args: &DeliverArgs, done: Arc<AtomicU64>) -> Self {
        let slow = args.rate.is_some() || args.retry.is_some();
        let long = total >= MIN_DELIVERIES || (total > 1 && slow);
        if !long || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta} left")
        {
            bar.set_style(style);
        }
        let updated = bar.clone();
        let ticker = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                updated.set_position(done.load(Ordering::Relaxed));
            }
        });
        Self(Some((bar, ticker)))
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Some((bar, ticker)) = self.0 {
            ticker.abort();
            bar.finish_and_clear();
        }
    }
}
