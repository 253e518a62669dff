//! Every figure of `benches/README.md`, as the rows of its table, and the growth curves as an SVG.
//!
//! `cargo run --release -p roomz-benches --bin figures [--rounds N] [--max-rows N] [--other-build PATH]
//! [SECTION | CURVE]…`, or `figures capacity` for several receivers. A figure is the minimum, the median and the maximum of alternating rounds, and each
//! ratio is from one round. `--other-build` is this program of another build, for the rows of the inbox that
//! compare with one. Needs Linux, two cores that are otherwise idle, and 6 GB of memory. What else it lacks
//! is left out, and printed with the reason. Takes about 25 minutes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

mod capacity;
mod growth;
mod inbox;
mod instructions;
mod purge;
mod queues;
mod report;
mod requests;
mod server;
mod services;
mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tracing::subscriber::NoSubscriber;

use self::report::Report;

type Section = (&'static str, fn(&mut Report));

const SECTIONS: [Section; 9] = [
    ("requests", requests::measure),
    ("instructions", instructions::measure),
    ("cpu", server::measure_cpu),
    ("memory", server::measure_memory),
    ("stores", stores::measure),
    ("purge", purge::measure),
    ("inbox", inbox::measure),
    ("queues", queues::measure),
    ("growth", growth::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // The parts that need a process of their own.
        ["send", path, count] => instructions::send(path, count.parse().unwrap()),
        ["serve", app, capacity, ids] => server::serve(app, capacity.parse().unwrap(), ids.parse().unwrap()),
        ["fill", store] => stores::fill(store),
        ["rates" | "latencies" | "worker", ..] => inbox::run_part(&arguments),
        ["jobs", url, jobs, concurrency, mode] => {
            println!("{}", queues::work(url, jobs.parse().unwrap(), concurrency.parse().unwrap(), mode));
        }
        ["capacity"] => Runtime::new().unwrap().block_on(capacity::compare()),
        ["receiver", kind, url, address] => {
            Runtime::new().unwrap().block_on(capacity::receiver::serve(kind, url, address));
        }
        _ => print_figures(&arguments),
    }
}

fn print_figures(arguments: &[&str]) {
    let mut report = Report::new();
    let mut arguments = arguments.iter();
    while let Some(&argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument {
            "--rounds" => report.rounds = value().parse().unwrap(),
            "--max-rows" => report.max_rows = value().parse().unwrap(),
            "--other-build" => report.other_build = Some(value().into()),
            name if SECTIONS.iter().any(|(section, _)| *section == name) || growth::has_curve(name) => {
                report.chosen.push(name.to_owned());
            }
            other => {
                let sections = SECTIONS.map(|(section, _)| section);
                panic!(
                    "unknown argument {other:?}; the sections are {sections:?}, the curves {:?}",
                    growth::names()
                );
            }
        }
    }
    // The SQL stores turn on the feature `log` of tracing, which costs 1 % of a new event if nobody
    // subscribes. A program without them does not have it.
    tracing::subscriber::set_global_default(NoSubscriber::new()).unwrap();
    // The servers are child processes, and inherit the limit.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();

    for (section, measure) in SECTIONS {
        let is_growth = section == "growth" && report.chosen.iter().any(|name| growth::has_curve(name));
        if report.chosen.is_empty() || is_growth || report.chosen.iter().any(|name| name == section) {
            let start = Instant::now();
            // The figures of the other sections are kept.
            if catch_unwind(AssertUnwindSafe(|| measure(&mut report))).is_err() {
                report.leave_out(section, "it failed, see the message on stderr");
            }
            eprintln!("{section}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    report.print();
}
