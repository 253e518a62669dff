//! The task tracker of tokio-util on Shuttle.

pub mod task {
    use std::sync::Arc;

    use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    #[derive(Clone, Debug, Default)]
    pub struct TaskTracker(Arc<Tasks>);

    #[derive(Debug, Default)]
    struct Tasks {
        count: AtomicUsize,
        is_closed: AtomicBool,
        ended: Notify,
    }

    /// A task that is counted, until it is dropped.
    #[derive(Debug)]
    pub struct TaskTrackerToken(Arc<Tasks>);

    impl TaskTracker {
        pub fn new() -> Self {
            Self::default()
        }

        pub fn close(&self) {
            self.0.is_closed.store(true, SeqCst);
            self.0.ended.notify_waiters();
        }

        pub fn token(&self) -> TaskTrackerToken {
            self.0.count.fetch_add(1, SeqCst);
            TaskTrackerToken(Arc::clone(&self.0))
        }

        pub fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
            let token = self.token();
            tokio::spawn(async move {
                let output = future.await;
                drop(token);
                output
            })
        }

        /// Waits until it is closed and no task is left.
        pub async fn wait(&self) {
            loop {
                let ended = self.0.ended.notified();
                if self.0.is_closed.load(SeqCst) && self.0.count.load(SeqCst) == 0 {
                    return;
                }
                ended.await;
            }
        }
    }

    impl Drop for TaskTrackerToken {
        fn drop(&mut self) {
            if self.0.count.fetch_sub(1, SeqCst) == 1 {
                self.0.ended.notify_waiters();
            }
        }
    }
}
