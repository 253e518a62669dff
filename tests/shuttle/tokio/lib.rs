//! tokio on Shuttle. The scheduler also decides when time passes.

pub use shuttle_tokio_impl::{macros, pin, runtime, select, spawn, task, task_local};

pub mod sync {
    pub use shuttle_tokio_impl::sync::*;

    use shuttle_tokio_impl::sync::futures::Notified;

    #[derive(Debug, Default)]
    pub struct Notify(shuttle_tokio_impl::sync::Notify);

    impl Notify {
        pub fn new() -> Self {
            Self::default()
        }

        pub fn notified(&self) -> Notified<'_> {
            self.0.notified()
        }

        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Which task waits longest is not modelled, so any one is woken.
        pub fn notify_last(&self) {
            self.0.notify_one();
        }

        pub fn notify_waiters(&self) {
            self.0.notify_waiters();
        }
    }
}

pub mod time {
    use std::cell::Cell;
    use std::ops::{Add, Sub};
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use shuttle::rand::{Rng as _, thread_rng};

    use self::error::Elapsed;

    pub mod error {
        /// A timeout has ended.
        #[derive(Debug)]
        pub struct Elapsed;

        impl std::fmt::Display for Elapsed {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("timeout")
            }
        }

        impl std::error::Error for Elapsed {}
    }

    /// Longer sleeps never end, so leases do not.
    const SLEEP_MAX: Duration = Duration::from_secs(60);

    /// A test of Shuttle runs on one thread.
    #[derive(Clone, Copy)]
    struct Clock {
        now: Duration,
        is_stopped: bool,
        holds: usize,
    }

    thread_local! {
        static CLOCK: Cell<Clock> = const { Cell::new(Clock { now: Duration::ZERO, is_stopped: false, holds: 0 }) };
    }

    /// Begins a schedule. With a stopped clock no sleep ends: then each task that waits needs somebody who
    /// wakes it.
    pub fn start(is_stopped: bool) {
        CLOCK.set(Clock { now: Duration::ZERO, is_stopped, holds: 0 });
    }

    /// No time passes until this is dropped.
    pub struct Hold(());

    pub fn hold() -> Hold {
        let clock = CLOCK.get();
        CLOCK.set(Clock { holds: clock.holds + 1, ..clock });
        Hold(())
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            let clock = CLOCK.get();
            CLOCK.set(Clock { holds: clock.holds - 1, ..clock });
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(Duration);

    impl Instant {
        pub fn now() -> Self {
            Self(CLOCK.get().now)
        }

        pub fn since_start(self) -> Duration {
            self.0
        }

        pub fn elapsed(self) -> Duration {
            Self::now() - self
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, duration: Duration) -> Self {
            Self(self.0 + duration)
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    /// Ends at any time: the clock then shows its deadline.
    #[derive(Debug)]
    pub struct Sleep(Instant);

    pub fn sleep_until(deadline: Instant) -> Sleep {
        Sleep(deadline)
    }

    pub fn sleep(duration: Duration) -> Sleep {
        Sleep(Instant::now() + duration)
    }

    impl Future for Sleep {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let clock = CLOCK.get();
            if clock.now >= self.0.0 {
                return Poll::Ready(());
            }
            if clock.is_stopped || self.0.0 - clock.now > SLEEP_MAX {
                return Poll::Pending;
            }
            // A long sleep rarely ends, so that most calls end before their timeout.
            let seconds = (self.0.0 - clock.now).as_secs() as u32;
            if clock.holds == 0 && thread_rng().gen_ratio(1, 4 + seconds) {
                CLOCK.set(Clock { now: self.0.0, ..clock });
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        crate::select! {
            biased;
            output = &mut future => Ok(output),
            () = sleep_until(deadline) => Err(Elapsed),
        }
    }

    pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        timeout_at(Instant::now() + duration, future).await
    }
}
