//! A discrete-event simulation of receivers that share a store.
//!
//! Mean value analysis does not apply: it serves each delivery alone, but a connection executes up to 128
//! operations in one statement, and one sync of the log ends many commits. The shares of the cores that the
//! result names are the closed formula: a throughput ends where one of them is 1.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// CPU seconds: for each event, and for each statement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) event: f64,
    pub(crate) statement: f64,
}

/// Receivers, and one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) receivers: usize,
    /// Deliveries that each receiver has at once. The next one arrives when one is answered.
    pub(crate) in_flight: usize,
    /// Operations of an event, one after the other, and how many of them, the last ones, commit.
    pub(crate) calls: usize,
    pub(crate) commits: usize,
    /// Connections of a receiver, and the operations that one executes at once.
    pub(crate) connections: usize,
    pub(crate) batch: usize,
    /// Of the network, in seconds.
    pub(crate) round_trip: f64,
    /// What one sync of the log takes, in seconds.
    pub(crate) sync: f64,
    pub(crate) receiver: Cpu,
    pub(crate) server: Cpu,
    /// Of the sender and the network: only on one machine.
    pub(crate) load: Cpu,
    pub(crate) receiver_cores: usize,
    pub(crate) server_cores: usize,
    /// Servers that share the keys, such as the masters of a cluster.
    pub(crate) servers: usize,
    /// All processes share the cores of one receiver.
    pub(crate) one_machine: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Of an event, in seconds.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// The busy part of the cores of a receiver, and of the server.
    pub(crate) receiver_busy: f64,
    pub(crate) server_busy: f64,
}

/// Of simulated time.
const DURATION: f64 = 4.0;
/// What precedes the measured time.
const WARM_UP: f64 = 1.0;

/// Operations of one receiver that a connection executes together: the same call of several deliveries.
#[derive(Debug)]
struct Batch {
    receiver: usize,
    call: usize,
    deliveries: Vec<usize>,
}

#[derive(Debug)]
enum Step {
    Arrive { delivery: usize },
    Call { delivery: usize, call: usize },
    Execute(Batch),
    Reply(Batch),
}

/// Cores that work in the order of arrival: when each is free, and how long all have worked.
#[derive(Debug)]
struct Cores {
    free: Vec<f64>,
    worked: f64,
}

impl Cores {
    fn new(count: usize) -> Self {
        Self { free: vec![0.0; count], worked: 0.0 }
    }

    /// Returns when work that begins now ends.
    fn run(&mut self, now: f64, seconds: f64) -> f64 {
        self.worked += seconds;
        let core = self.free.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap();
        *core = core.max(now) + seconds;
        *core
    }

    fn busy(&self) -> f64 {
        self.worked / (WARM_UP + DURATION) / self.free.len() as f64
    }
}

struct Simulation<'a> {
    model: &'a Model,
    /// What happens next, by time. The second number tells those at the same time apart.
    steps: BTreeMap<(u64, u64), Step>,
    receivers: Vec<Cores>,
    servers: Vec<Cores>,
    /// The last sync of each server: its begin and its end.
    syncs: Vec<(f64, f64)>,
    /// The deliveries that wait for a connection, by receiver and call.
    waiting: Vec<Vec<VecDeque<usize>>>,
    free_connections: Vec<usize>,
    begun: Vec<f64>,
    latencies: Vec<f64>,
    random: StdRng,
}

pub(crate) fn simulate(model: &Model) -> Outcome {
    let deliveries = model.receivers * model.in_flight;
    let mut simulation = Simulation {
        model,
        steps: BTreeMap::new(),
        receivers: (0..model.receivers).map(|_| Cores::new(model.receiver_cores)).collect(),
        servers: (0..model.servers).map(|_| Cores::new(model.server_cores)).collect(),
        syncs: vec![(0.0, 0.0); model.servers],
        waiting: vec![vec![VecDeque::new(); model.calls]; model.receivers],
        free_connections: vec![model.connections; model.receivers],
        begun: vec![0.0; deliveries],
        latencies: Vec::new(),
        random: StdRng::seed_from_u64(1),
    };
    for delivery in 0..deliveries {
        let at = simulation.random.random_range(0.0..0.01);
        simulation.add(at, Step::Arrive { delivery });
    }
    while let Some(((nanos, _), step)) = simulation.steps.pop_first() {
        let now = nanos as f64 / 1e9;
        if now > WARM_UP + DURATION {
            break;
        }
        simulation.step(now, step);
    }
    simulation.outcome()
}

impl Simulation<'_> {
    fn add(&mut self, at: f64, step: Step) {
        let number = self.random.random();
        let _ = self.steps.insert(((at * 1e9) as u64, number), step);
    }

    fn step(&mut self, now: f64, step: Step) {
        let model = self.model;
        match step {
            Step::Arrive { delivery } => {
                self.begun[delivery] = now;
                let at = self.run_receiver(
                    now,
                    delivery / model.in_flight,
                    model.receiver.event,
                    model.load.event,
                );
                self.add(at, Step::Call { delivery, call: 0 });
            }
            Step::Call { delivery, call } => {
                let receiver = delivery / model.in_flight;
                self.waiting[receiver][call].push_back(delivery);
                self.send(now, receiver);
            }
            Step::Execute(batch) => {
                let events = batch.deliveries.len() as f64 / model.calls as f64;
                let seconds = model.server.statement + model.server.event * events;
                let seconds = self.vary(seconds);
                // By the key.
                let server = self.random.random_range(0..model.servers);
                let cores =
                    if model.one_machine { &mut self.receivers[0] } else { &mut self.servers[server] };
                let mut at = cores.run(now, seconds);
                if batch.call >= model.calls - model.commits {
                    let (begin, end) = &mut self.syncs[server];
                    if at > *begin {
                        // This sync ends all commits that arrive until it begins.
                        *begin = end.max(at);
                        *end = *begin + model.sync;
                    }
                    at = *end;
                }
                self.add(at + model.round_trip / 2.0, Step::Reply(batch));
            }
            Step::Reply(batch) => {
                self.free_connections[batch.receiver] += 1;
                for delivery in batch.deliveries {
                    if batch.call + 1 < model.calls {
                        self.add(now, Step::Call { delivery, call: batch.call + 1 });
                    } else {
                        if now > WARM_UP {
                            self.latencies.push(now - self.begun[delivery]);
                        }
                        self.add(now, Step::Arrive { delivery });
                    }
                }
                self.send(now, batch.receiver);
            }
        }
    }

    /// Sends a statement on each connection that is free: later calls first, as the stores do.
    fn send(&mut self, now: f64, receiver: usize) {
        while self.free_connections[receiver] > 0 {
            let calls = self.waiting[receiver].iter_mut().enumerate().rev();
            let Some((call, waiting)) = calls.into_iter().find(|(_, waiting)| !waiting.is_empty()) else {
                return;
            };
            let deliveries: Vec<_> = waiting.drain(..waiting.len().min(self.model.batch)).collect();
            self.free_connections[receiver] -= 1;
            let at =
                self.run_receiver(now, receiver, self.model.receiver.statement, self.model.load.statement);
            self.add(at + self.model.round_trip / 2.0, Step::Execute(Batch { receiver, call, deliveries }));
        }
    }

    fn run_receiver(&mut self, now: f64, receiver: usize, seconds: f64, load: f64) -> f64 {
        let (receiver, load) = if self.model.one_machine { (0, load) } else { (receiver, 0.0) };
        let seconds = self.vary(seconds + load);
        self.receivers[receiver].run(now, seconds)
    }

    /// Exponentially distributed with this mean.
    fn vary(&mut self, seconds: f64) -> f64 {
        -seconds * (1.0 - self.random.random::<f64>()).ln()
    }

    fn outcome(mut self) -> Outcome {
        self.latencies.sort_by(f64::total_cmp);
        let count = self.latencies.len();
        let busy = |cores: &[Cores]| cores.iter().map(Cores::busy).fold(0.0, f64::max);
        Outcome {
            per_second: count as f64 / DURATION,
            median: self.latencies.get(count / 2).copied().unwrap_or(f64::NAN),
            p99: self.latencies.get(count * 99 / 100).copied().unwrap_or(f64::NAN),
            receiver_busy: busy(&self.receivers),
            server_busy: busy(&self.servers),
        }
    }
}
