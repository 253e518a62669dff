//! Random schedules of callers and workers: each seed selects the order of all their steps.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const CALLERS: usize = 10;
const WORKERS: usize = 3;

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls tasks that are ready, in random order, until none is. Returns how many still wait, for ever.
fn run(mut tasks: Vec<Task<'_>>, random: &RefCell<StdRng>) -> usize {
    let ready: Vec<_> = tasks.iter().map(|_| Arc::new(Ready(AtomicBool::new(true)))).collect();
    let mut open: Vec<_> = (0..tasks.len()).collect();
    loop {
        let choices: Vec<_> = (0..open.len()).filter(|at| ready[open[*at]].0.load(SeqCst)).collect();
        if choices.is_empty() {
            return open.len();
        }
        let at = choices[random.borrow_mut().random_range(0..choices.len())];
        let task = open[at];
        ready[task].0.store(false, SeqCst);
        let waker = Waker::from(ready[task].clone());
        if let Poll::Ready(()) = tasks[task].as_mut().poll(&mut Context::from_waker(&waker)) {
            open.swap_remove(at);
        }
    }
}

fn statement(lane: Lane) -> &'static Statement {
    let (one, many) = (String::new(), Some(String::new()));
    Box::leak(Box::new(Statement { one, many, parameters: 2, lane, is_confidential: false, otherwise: None }))
}

/// Every caller that waits gets its outcome, and every worker ends: no wake-up is lost.
#[test]
fn random_schedules_answer_every_caller() {
    let statements = [Lane::First, Lane::Normal, Lane::Background].map(statement);
    let first = rand::random::<u32>().into();
    for seed in first..first + 1_000_u64 {
        let random = RefCell::new(StdRng::seed_from_u64(seed));
        let one_in = |count| random.borrow_mut().random_ratio(1, count);
        let step = async || {
            while one_in(2) {
                tokio::task::yield_now().await;
            }
        };
        let (queue, callers, background) = (Queue::default(), Cell::new(CALLERS), Cell::new(0));
        (0..WORKERS).for_each(|_| queue.add_worker());
        let worker = async || {
            while queue.wait().await {
                step().await;
                let batch = queue.take();
                let is_background = batch.iter().any(|entry| entry.lane == Lane::Background);
                background.set(background.get() + usize::from(is_background));
                assert!(background.get() <= 1, "seed {seed}: two batches of the background lane run");
                step().await;
                background.set(background.get() - usize::from(is_background));
                // Its connection broke, a row was locked, or it executed them.
                match random.borrow_mut().random_range(0..6) {
                    0 => queue.push_front(batch),
                    1 => queue.push_back(batch),
                    _ => batch.into_iter().for_each(|entry| entry.reply(Ok(Vec::new()))),
                }
                if is_background {
                    queue.end_background();
                }
            }
            queue.remove_worker();
        };
        let caller = async |number: usize| {
            step().await;
            let values = vec![Value::from("roomz"), Value::from(&*number.to_string())];
            let statement = statements[random.borrow_mut().random_range(0..statements.len())];
            let outcome = queue.push(Operation { statement, values, is_retry_safe: true });
            if one_in(5) {
                step().await;
            } else {
                assert!(matches!(outcome.await, Ok(Ok(_))), "seed {seed}: no outcome");
            }
            callers.set(callers.get() - 1);
            if callers.get() == 0 {
                queue.close();
            }
        };
        let mut tasks: Vec<Task<'_>> = (0..WORKERS).map(|_| Box::pin(worker()) as Task<'_>).collect();
        // Some callers have the same key.
        tasks.extend((0..CALLERS).map(|number| Box::pin(caller(number / 2)) as Task<'_>));
        assert_eq!(run(tasks, &random), 0, "seed {seed}: tasks wait for ever");
    }
}
