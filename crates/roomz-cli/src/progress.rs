use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::args::DeliverArgs;

/// Fewer deliveries are done before a bar is read, unless they are paced.
const MANY: u64 = 2_000;

/// A bar on standard error, for long work on a terminal.
pub(crate) struct Progress(Option<(ProgressBar, JoinHandle<()>)>);

impl Progress {
    pub(crate) fn begin(total: u64, args: &DeliverArgs, done: Arc<AtomicU64>) -> Self {
        let long = total >= MANY || (total > 1 && (args.rate.is_some() || args.retry.is_some()));
        if !long || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta} left")
        {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let ticker = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                shown.set_position(done.load(Ordering::Relaxed));
            }
        });
        Self(Some((bar, ticker)))
    }

    pub(crate) fn end(self) {
        if let Some((bar, ticker)) = self.0 {
            ticker.abort();
            bar.finish_and_clear();
        }
    }
}
