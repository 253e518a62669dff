//! One event of the inbox: deliveries that add it, two workers that take it, and everything that can fail.

use roomz_tests::rounds;
use stateright::{Model, Property};

use super::{assert_violates, violations};

const LEASE: u8 = 2;
const BACKOFF: u8 = 1;

#[derive(Clone, Copy, Debug)]
struct Inbox {
    deliveries: usize,
    workers: usize,
    ticks: u8,
    max_attempts: u8,
    checks_owner: bool,
    /// A delivery is answered only when the event is durable.
    waits_for_commit: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: u8,
    row: Row,
    deliveries: Vec<Delivery>,
    workers: Vec<Worker>,
    takes: u8,
    effects: u8,
    stale_write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    Absent,
    Waiting { attempts: u8, due: u8 },
    Running { attempts: u8, due: u8, owner: u8 },
    Done,
    Dead { attempts: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Delivery {
    Unsent,
    Adding,
    Accepted,
    /// Answered with an error, or the process died.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Runs the handler for the take with this number.
    Running(u8),
    /// The handler failed; the failure is not recorded yet.
    Failing(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Send(usize),
    Add { number: usize, is_lost: bool },
    DeliveryFails(usize),
    Take { worker: usize, is_lost: bool },
    Renew(usize),
    Commit { worker: usize, is_lost: bool },
    HandlerFails(usize),
    RecordFailure { worker: usize, is_lost: bool },
    WorkerDies(usize),
    Tick,
}

impl State {
    /// The attempts of the event if the worker with this take may change it.
    fn owned(&mut self, take: u8, inbox: &Inbox) -> Option<u8> {
        let attempts = match self.row {
            Row::Running { attempts, owner, .. } if owner == take => return Some(attempts),
            Row::Running { attempts, .. } => attempts,
            Row::Done => inbox.max_attempts,
            Row::Absent | Row::Waiting { .. } | Row::Dead { .. } => return None,
        };
        if inbox.checks_owner {
            return None;
        }
        self.stale_write = true;
        Some(attempts)
    }
}

impl Model for Inbox {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            row: Row::Absent,
            deliveries: vec![Delivery::Unsent; self.deliveries],
            workers: vec![Worker::Idle; self.workers],
            takes: 0,
            effects: 0,
            stale_write: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let both = [false, true];
        for (number, delivery) in state.deliveries.iter().enumerate() {
            match delivery {
                Delivery::Unsent => actions.push(Action::Send(number)),
                Delivery::Adding => {
                    actions.extend(both.map(|is_lost| Action::Add { number, is_lost }));
                    actions.push(Action::DeliveryFails(number));
                }
                Delivery::Accepted | Delivery::Failed => {}
            }
        }
        for (worker, step) in state.workers.iter().enumerate() {
            match step {
                Worker::Idle => actions.extend(both.map(|is_lost| Action::Take { worker, is_lost })),
                Worker::Running(_) => {
                    actions.extend(both.map(|is_lost| Action::Commit { worker, is_lost }));
                    actions.extend([Action::HandlerFails(worker), Action::Renew(worker)]);
                }
                Worker::Failing(_) => {
                    actions.extend(both.map(|is_lost| Action::RecordFailure { worker, is_lost }));
                }
            }
            if *step != Worker::Idle {
                actions.push(Action::WorkerDies(worker));
            }
        }
        if state.now < self.ticks {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send(number) => {
                let step = if self.waits_for_commit { Delivery::Adding } else { Delivery::Accepted };
                state.deliveries[number] = step;
            }
            Action::Add { number, is_lost } => {
                if state.row == Row::Absent {
                    state.row = Row::Waiting { attempts: 0, due: state.now };
                }
                if !is_lost {
                    state.deliveries[number] = Delivery::Accepted;
                }
            }
            Action::DeliveryFails(number) => state.deliveries[number] = Delivery::Failed,
            Action::Take { worker, is_lost } => {
                let (Row::Waiting { attempts, due } | Row::Running { attempts, due, .. }) = state.row else {
                    return None;
                };
                if due > state.now {
                    return None;
                }
                if attempts == self.max_attempts {
                    // Each attempt ended with its process.
                    state.row = Row::Dead { attempts };
                } else {
                    let due = state.now + LEASE;
                    state.row = Row::Running { attempts: attempts + 1, due, owner: state.takes };
                    if !is_lost {
                        state.workers[worker] = Worker::Running(state.takes);
                    }
                    state.takes += 1;
                }
            }
            Action::Renew(worker) => {
                let Worker::Running(take) = state.workers[worker] else { return None };
                let attempts = state.owned(take, self)?;
                state.row = Row::Running { attempts, due: state.now + LEASE, owner: take };
            }
            Action::Commit { worker, is_lost } => {
                let Worker::Running(take) = state.workers[worker] else { return None };
                let is_committed = state.owned(take, self).is_some();
                if is_committed {
                    state.row = Row::Done;
                    state.effects += 1;
                }
                let fails = is_lost || !is_committed;
                state.workers[worker] = if fails { Worker::Failing(take) } else { Worker::Idle };
            }
            Action::HandlerFails(worker) => {
                let Worker::Running(take) = state.workers[worker] else { return None };
                state.workers[worker] = Worker::Failing(take);
            }
            Action::RecordFailure { worker, is_lost } => {
                let Worker::Failing(take) = state.workers[worker] else { return None };
                if let Some(attempts) = state.owned(take, self) {
                    state.row = if attempts == self.max_attempts {
                        Row::Dead { attempts }
                    } else {
                        Row::Waiting { attempts, due: state.now + BACKOFF }
                    };
                }
                if !is_lost {
                    state.workers[worker] = Worker::Idle;
                }
            }
            Action::WorkerDies(worker) => state.workers[worker] = Worker::Idle,
            Action::Tick => state.now += 1,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an accepted event stays in the inbox", |_, state: &State| {
                !state.deliveries.contains(&Delivery::Accepted) || state.row != Row::Absent
            }),
            Property::always("one effect", |_, state: &State| state.effects <= 1),
            Property::always("done means one effect", |_, state: &State| {
                (state.row == Row::Done) == (state.effects > 0) || state.stale_write
            }),
            Property::always("a stale worker writes nothing", |_, state: &State| !state.stale_write),
            Property::always(
                "dead only after each attempt",
                |model: &Self, state: &State| !matches!(state.row, Row::Dead { attempts } if attempts < model.max_attempts),
            ),
            Property::always(
                "an open event can be taken after a lease",
                |_, state: &State| !matches!(state.row, Row::Waiting { due, .. } | Row::Running { due, .. } if due > state.now + LEASE),
            ),
            Property::sometimes("done", |_, state: &State| state.row == Row::Done),
            Property::sometimes("dead", |_, state: &State| matches!(state.row, Row::Dead { .. })),
            Property::sometimes("done although the reply was lost", |_, state: &State| {
                state.row == Row::Done && state.workers.iter().any(|step| matches!(step, Worker::Failing(_)))
            }),
        ]
    }
}

const INBOX: Inbox = Inbox {
    deliveries: 3,
    workers: 3,
    ticks: 12,
    max_attempts: 2,
    checks_owner: true,
    waits_for_commit: true,
};

#[test]
fn every_order_keeps_inbox() {
    let max_attempts = u8::try_from(rounds(2, 3)).unwrap();
    let model = Inbox { deliveries: rounds(3, 4), workers: rounds(3, 4), max_attempts, ..INBOX };
    assert_eq!(violations("inbox", model, 300_000), [""; 0]);
}

#[test]
fn each_part_of_inbox_is_needed() {
    let without_owner_check = Inbox { checks_owner: false, ..INBOX };
    assert_violates(without_owner_check, "a stale worker writes nothing");
    assert_violates(without_owner_check, "one effect");
    assert_violates(Inbox { waits_for_commit: false, ..INBOX }, "an accepted event stays in the inbox");
}
