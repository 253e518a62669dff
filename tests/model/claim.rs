//! Deliveries of one event to two receivers with one store, at every order of their steps.
//!
//! A sender repeats the event without waiting for an answer. Receivers die at any step, replies of the store
//! get lost, the store fails at the settlement, owners sleep longer than their lease, and the clock advances.

use roomz_tests::rounds;
use stateright::{Model, Property};

use super::rule::{Call, Event, Moment, Reply, Without};
use super::{assert_violates, violations};

/// The length of a lease, in ticks of the clock.
const LEASE: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct Claims {
    deliveries: usize,
    ticks: u64,
    /// Handlers complete their event inside the transaction of their effect.
    in_transaction: bool,
    without: Without,
    /// A duplicate of a running event is acknowledged.
    acknowledges_running: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    event: Event,
    deliveries: Vec<Delivery>,
    effects: u8,
    completions: u8,
    /// A call of somebody else than the holder changed the event.
    stale_write: bool,
    /// A claim was granted while another lease was live.
    granted_early: bool,
    taken_over: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Delivery {
    step: Step,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Step {
    #[default]
    Unsent,
    Claiming,
    Running,
    Completing,
    Releasing,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Success,
    Failure,
}

/// A step of the delivery with this number. `is_lost`: the store's reply does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Send(usize),
    Claim {
        number: usize,
        is_lost: bool,
    },
    GiveUp(usize),
    Renew(usize),
    Succeed {
        number: usize,
        is_lost: bool,
    },
    Fail(usize),
    Settle {
        number: usize,
        is_lost: bool,
    },
    AnswerBeforeSettled(usize),
    /// The process of the deliveries with even or odd numbers dies.
    Die {
        receiver: usize,
    },
    Tick,
}

impl State {
    /// Calls the store. The model knows the time, so there is one reply.
    fn call(&mut self, number: usize, call: Call, without: Without) -> Reply {
        let owner = u8::try_from(number).unwrap();
        let before = self.event;
        let moment = Moment::at(self.now);
        let (reply, after) = before.replies(owner, call, moment, without).next().unwrap();
        self.event = after;
        let other = match before {
            Event::Running { owner: holder, lease, .. } if holder != owner => Some(lease),
            Event::Absent | Event::Free { .. } | Event::Running { .. } | Event::Done { .. } => None,
        };
        match reply {
            Reply::Claimed(_) => {
                self.granted_early |= other.is_some_and(|lease| self.now < lease.latest);
                self.taken_over |= other.is_some();
            }
            Reply::Applied => self.stale_write |= other.is_some(),
            Reply::InFlight | Reply::Done | Reply::Lost => {}
        }
        if matches!(after, Event::Done { .. }) && before != after {
            self.completions += 1;
        }
        reply
    }

    fn go(&mut self, number: usize, step: Step, answer: Option<Answer>) {
        let delivery = &mut self.deliveries[number];
        delivery.step = step;
        delivery.answer = delivery.answer.or(answer);
    }
}

impl Model for Claims {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            event: Event::Absent,
            deliveries: vec![Delivery::default(); self.deliveries],
            effects: 0,
            completions: 0,
            stale_write: false,
            granted_early: false,
            taken_over: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, delivery) in state.deliveries.iter().enumerate() {
            let both = [false, true];
            match delivery.step {
                Step::Unsent => actions.push(Action::Send(number)),
                Step::Claiming => {
                    actions.extend(both.map(|is_lost| Action::Claim { number, is_lost }));
                    actions.push(Action::GiveUp(number));
                }
                Step::Running => {
                    actions.extend(both.map(|is_lost| Action::Succeed { number, is_lost }));
                    actions.extend([Action::Fail(number), Action::Renew(number)]);
                }
                Step::Completing | Step::Releasing => {
                    actions.extend(both.map(|is_lost| Action::Settle { number, is_lost }));
                    actions.push(Action::AnswerBeforeSettled(number));
                }
                Step::Ended => {}
            }
        }
        actions.extend([0, 1].map(|receiver| Action::Die { receiver }));
        if state.now < self.ticks {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send(number) => state.go(number, Step::Claiming, None),
            Action::Claim { number, is_lost } => {
                match state.call(number, Call::Claim { lease: LEASE }, self.without) {
                    _ if is_lost => {}
                    Reply::Claimed(_) => state.go(number, Step::Running, None),
                    Reply::Done => state.go(number, Step::Ended, Some(Answer::Success)),
                    _ if self.acknowledges_running => state.go(number, Step::Ended, Some(Answer::Success)),
                    // It waits, and asks again.
                    _ => {}
                }
            }
            // A claim whose reply was lost may hold the event.
            Action::GiveUp(number) => state.go(number, Step::Releasing, Some(Answer::Failure)),
            Action::Renew(number) => {
                let _ = state.call(number, Call::Renew { lease: LEASE }, self.without);
            }
            Action::Succeed { number, is_lost } if self.in_transaction => {
                let completions = state.completions;
                let reply = state.call(number, Call::Complete, self.without);
                state.effects += state.completions - completions;
                if reply == Reply::Applied && !is_lost {
                    state.go(number, Step::Ended, Some(Answer::Success));
                } else {
                    state.go(number, Step::Releasing, Some(Answer::Failure));
                }
            }
            Action::Succeed { is_lost: true, .. } => return None,
            Action::Succeed { number, .. } => {
                state.effects += 1;
                state.go(number, Step::Completing, None);
            }
            Action::Fail(number) => state.go(number, Step::Releasing, None),
            Action::Settle { number, is_lost } => {
                let (call, answer) = match state.deliveries[number].step {
                    Step::Completing => (Call::Complete, Answer::Success),
                    _ => (Call::Release, Answer::Failure),
                };
                let _ = state.call(number, call, self.without);
                if !is_lost {
                    state.go(number, Step::Ended, Some(answer));
                }
            }
            // The settlement is tried again in the background.
            Action::AnswerBeforeSettled(number) => {
                let step = state.deliveries[number].step;
                let answer = if step == Step::Completing { Answer::Success } else { Answer::Failure };
                state.go(number, step, Some(answer));
            }
            Action::Die { receiver } => {
                for delivery in state.deliveries.iter_mut().skip(receiver).step_by(2) {
                    if delivery.step != Step::Unsent {
                        delivery.step = Step::Ended;
                    }
                }
            }
            Action::Tick => state.now += 1,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn acknowledged(state: &State) -> bool {
            state.deliveries.iter().any(|delivery| delivery.answer == Some(Answer::Success))
        }
        let mut properties = vec![
            Property::always("2xx only after a success", |_, state: &State| {
                !acknowledged(state) || state.effects > 0
            }),
            Property::always("done only after a success", |_, state: &State| {
                !matches!(state.event, Event::Done { .. }) || state.effects > 0
            }),
            Property::always("an acknowledged event stays known", |_, state: &State| {
                !acknowledged(state) || state.event != Event::Absent
            }),
            Property::always(
                "an event is done or can be claimed after a lease",
                |_, state: &State| !matches!(state.event, Event::Running { lease, .. } if lease.latest > state.now + LEASE),
            ),
            Property::always("one completion", |_, state: &State| state.completions <= 1),
            Property::always("a stale owner writes nothing", |_, state: &State| !state.stale_write),
            Property::always("one holder", |_, state: &State| !state.granted_early),
            Property::sometimes("takeover", |_, state: &State| state.taken_over),
            Property::sometimes("done", |_, state: &State| matches!(state.event, Event::Done { .. })),
        ];
        properties.push(if self.in_transaction {
            Property::always("one effect", |_, state: &State| state.effects <= 1)
        } else {
            Property::sometimes("two effects", |_, state: &State| state.effects > 1)
        });
        properties
    }
}

const CLAIMS: Claims = Claims {
    deliveries: 4,
    ticks: 5,
    in_transaction: true,
    without: Without::Nothing,
    acknowledges_running: false,
};

#[test]
fn every_order_keeps_promises() {
    let model = Claims { deliveries: rounds(4, 5), ..CLAIMS };
    assert_eq!(violations("claim, effect in transaction", model, 300_000), [""; 0]);
    let model = Claims { in_transaction: false, ..CLAIMS };
    assert_eq!(violations("claim, at least once", model, 300_000), [""; 0]);
}

#[test]
fn each_part_of_claim_is_needed() {
    let model = Claims { deliveries: 3, ..CLAIMS };
    assert_violates(Claims { without: Without::OwnerCheck, ..model }, "a stale owner writes nothing");
    assert_violates(Claims { without: Without::Lease, ..model }, "one holder");
    assert_violates(Claims { acknowledges_running: true, ..model }, "2xx only after a success");
}
