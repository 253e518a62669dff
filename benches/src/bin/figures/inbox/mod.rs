//! The inbox next to a bare insert: events per second, and the time from the 202 until an event is done.
//!
//! Each round measures this build, and the program of another build if its path is given: the builds take
//! turns.

mod bare;
mod latencies;
mod load;
mod rates;

use std::collections::HashMap;
use std::env::current_exe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use roomz_tests::Server;
use tokio::runtime::Runtime;

pub(crate) use self::bare::execute;
pub(crate) use self::load::closed_loop;
pub(crate) use self::rates::{DONE, WAITING, admit, done, empty, fill, open};
use crate::queues::create_database;
use crate::report::Goal::{AtLeast, AtMost};
use crate::report::Report;

/// The load of the latencies under load, by the rate of the worker of the other build: half of it, and
/// half of four times that rate.
const OTHER_LOAD: f64 = 0.5;
const LOAD: f64 = 2.0;
const PERCENTILE: &str = "202 to done, half of the worker's rate, p99 ms";

/// Figures by name.
type Figures = HashMap<String, f64>;

/// Runs one part of a round, and prints its figures.
pub(crate) fn run_part(arguments: &[&str]) {
    let runtime = Runtime::new().unwrap();
    match arguments[..] {
        ["rates", url] => runtime.block_on(rates::print(url)),
        ["latencies", url, rate] => runtime.block_on(latencies::print(url, rate.parse().unwrap(), true)),
        ["latencies", url, rate, "without"] => {
            runtime.block_on(latencies::print(url, rate.parse().unwrap(), false));
        }
        ["worker", url] => runtime.block_on(latencies::work(url)),
        _ => panic!("unknown part {arguments:?}"),
    }
}

pub(crate) fn measure(report: &mut Report) {
    let this = current_exe().unwrap();
    let other = report.other_build.clone();
    if other.is_none() {
        report.leave_out("the inbox ÷ another build", "give its program with --other-build");
    }
    let server = Server::postgres_or_skip(&["fsync=on"]);
    if server.is_none() {
        report.leave_out("the inbox on PostgreSQL", "PostgreSQL is not installed");
    }
    for _ in 0..report.rounds {
        for (database, goals) in [("SQLite", [0.9, 1.0, 5.0, 2.5]), ("PostgreSQL", [0.8, 0.5, 5.0, 3.0])] {
            let measure = |program: &PathBuf, mode: &str, rate: Option<f64>| {
                let directory = tempfile::tempdir().unwrap();
                let url = match &server {
                    // Another build may have another history of migrations.
                    Some(server) if database == "PostgreSQL" => {
                        Runtime::new().unwrap().block_on(create_database(&server.postgres_url()))
                    }
                    _ => format!("sqlite://{}/inbox.db", directory.path().display()),
                };
                run(program, mode, &url, rate)
            };
            if database == "PostgreSQL" && server.is_none() {
                continue;
            }
            let rates = measure(&this, "rates", None);
            let others = other.as_ref().map(|other| measure(other, "rates", None));
            let base = others.as_ref().unwrap_or(&rates)[rates::WITH];
            let load = if other.is_some() { LOAD } else { OTHER_LOAD };
            let latencies = measure(&this, "latencies", Some(base * load));
            let other_latencies =
                other.as_ref().map(|other| measure(other, "latencies", Some(base * OTHER_LOAD)));

            let name = |name: &str| format!("inbox, {database}, {name}");
            let divide = |a: &str, b: &str| rates[a] / rates[b];
            let [admission, with, without_other, with_other] = goals.map(AtLeast);
            report.add_goal(
                name("admission one at a time ÷ a bare insert"),
                admission,
                divide(rates::ADMIT_1, rates::BARE_1),
            );
            report.add(
                name("admission ÷ bare inserts, 32 concurrent"),
                divide(rates::ADMIT_32, rates::BARE_32),
            );
            report.add_goal(
                name("done with a transaction ÷ 32 concurrent bare inserts"),
                with,
                divide(rates::WITH, rates::BARE_32),
            );
            if let (Some(others), Some(other_latencies)) = (others, other_latencies) {
                for (figure, goal) in [("without", without_other), ("with", with_other)] {
                    for concurrency in [10, 50] {
                        let figure = format!("done {figure} a transaction, concurrency {concurrency}");
                        report.add_goal(
                            name(&format!("{figure} ÷ other build")),
                            goal,
                            rates[&figure] / others[&figure],
                        );
                        report.add(name(&format!("{figure}, other build, per second")), others[&figure]);
                    }
                }
                let ratio = latencies[PERCENTILE] / other_latencies[PERCENTILE];
                report.add_goal(
                    name("202 to done, p99, at four times the rate ÷ other build"),
                    AtMost(1.0),
                    ratio,
                );
                report.add(name(&format!("{PERCENTILE}, other build")), other_latencies[PERCENTILE]);
            }
            for (figures, unit) in [(rates, ", per second"), (latencies, "")] {
                let mut figures: Vec<_> = figures.into_iter().collect();
                figures.sort_by(|(a, _), (b, _)| a.cmp(b));
                for (figure, value) in figures {
                    report.add(name(&format!("{figure}{unit}")), value);
                }
            }
        }
    }
}

/// Runs one part in a program, and returns what it prints.
fn run(program: &Path, mode: &str, url: &str, rate: Option<f64>) -> Figures {
    let mut command = Command::new(program);
    let _ = command.args([mode, url]).args(rate.map(|rate| rate.to_string()));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{mode} failed");
    let lines = String::from_utf8(output.stdout).unwrap();
    let figures = lines.lines().filter_map(|line| line.split_once('\t'));
    figures.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}
