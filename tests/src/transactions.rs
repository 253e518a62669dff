//! Receivers whose handlers complete events in the transaction of their effect:
//! `src/bin/transaction-receiver.rs`.

use std::time::Duration;

/// The store timeout of the receivers.
pub const STORE_TIMEOUT: Duration = Duration::from_millis(250);
/// The lease of the receivers: short, because a test waits for its end after each kill.
pub const LEASE: Duration = Duration::from_millis(750);

/// What a handler does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins the transaction.
    Begin,
    /// It inserts its effect.
    Insert,
    /// It applies the presence.
    Apply,
    /// It completes the event.
    Complete,
    /// It commits.
    Commit,
    /// It responds.
    Respond,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 6] =
        [Self::Begin, Self::Insert, Self::Apply, Self::Complete, Self::Commit, Self::Respond];
}

/// What a receiver does to its own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// `SIGKILL`.
    Kill {
        /// The step.
        at: Step,
        /// The number of handlers that have reached the step before.
        after: usize,
        /// The time since the handler reached the step. Zero: directly before the step.
        delay: Duration,
    },
    /// `SIGSTOP` before the first handler does this step.
    Stop {
        /// The step.
        at: Step,
    },
}

impl Fault {
    /// The fault as an argument of the receiver.
    pub fn to_argument(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Kill { at, after, delay } => format!("kill {at:?} {after} {}", delay.as_micros()),
            Self::Stop { at } => format!("stop {at:?}"),
        }
    }

    /// The fault of this argument.
    pub fn from_argument(argument: &str) -> Self {
        let words: Vec<_> = argument.split(' ').collect();
        let step = |name: &str| Step::ALL.into_iter().find(|step| format!("{step:?}") == name).unwrap();
        match words[..] {
            ["none"] => Self::None,
            ["kill", at, after, delay] => {
                let delay = Duration::from_micros(delay.parse().unwrap());
                Self::Kill { at: step(at), after: after.parse().unwrap(), delay }
            }
            ["stop", at] => Self::Stop { at: step(at) },
            _ => panic!("invalid fault {argument:?}"),
        }
    }
}
