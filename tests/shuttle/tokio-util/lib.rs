//! The task tracker of tokio-util on Shuttle.

pub mod task {
    use std::sync::Arc;

    use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    const CLOSED: usize = 1;
    const TASK: usize = 2;

    #[derive(Clone, Debug, Default)]
    pub struct TaskTracker(Arc<Tasks>);

    #[derive(Debug, Default)]
    struct Tasks {
        /// `TASK` for each task, and `CLOSED`.
        state: AtomicUsize,
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
            if self.0.state.fetch_or(CLOSED, SeqCst) == 0 {
                self.0.ended.notify_waiters();
            }
        }

        pub fn token(&self) -> TaskTrackerToken {
            self.0.state.fetch_add(TASK, SeqCst);
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

        /// Waits until it is closed and has no task, if only for a moment.
        pub async fn wait(&self) {
            let ended = self.0.ended.notified();
            if self.0.state.load(SeqCst) != CLOSED {
                ended.await;
            }
        }
    }

    impl Drop for TaskTrackerToken {
        fn drop(&mut self) {
            if self.0.state.fetch_sub(TASK, SeqCst) == TASK | CLOSED {
                self.0.ended.notify_waiters();
            }
        }
    }
}
