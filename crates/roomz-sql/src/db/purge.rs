use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The shortest pause between two batches.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The pause after a batch is this many times as long as the batch.
const PAUSE_FACTOR: u32 = 9;

/// Deletes rows in batches with pauses, until a batch is empty. Returns how many it deleted.
pub async fn purge<E, F>(delete_batch: impl Fn() -> F) -> Result<u64, E>
where
    F: Future<Output = Result<usize, E>>,
{
    let mut deleted = 0;
    loop {
        let start = Instant::now();
        let rows = delete_batch().await?;
        if rows == 0 {
            return Ok(deleted);
        }
        deleted += rows as u64;
        sleep(PAUSE_MIN.max(start.elapsed() * PAUSE_FACTOR)).await;
    }
}
