//! The inbox next to a bare insert: events per second, and the time from the 202 until an event is done.
//!
//! `cargo run --release -p roomz-benches --bin inbox-rates [OTHER_BUILD]`. Each round measures this build,
//! and the binary of another build of this program if its path is given: the builds take turns. Prints
//! each figure with the minimum, the median and the maximum of the rounds. Needs `postgres`. Takes about
//! six minutes.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

mod bare;
mod latencies;
mod load;
mod rates;

use std::collections::HashMap;
use std::env::{args, current_exe};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use roomz_benches::median;
use roomz_tests::Server;

const ROUNDS: usize = 5;
/// The load of the latencies under load, by the rate of the worker of the other build: half of it, and
/// half of four times that rate.
const OTHER_LOAD: f64 = 0.5;
const LOAD: f64 = 2.0;

/// Figures by name.
type Figures = HashMap<String, f64>;

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments[..] {
        ["rates", url] => runtime.block_on(rates::print(url)),
        ["latencies", url, rate] => runtime.block_on(latencies::print(url, rate.parse().unwrap(), true)),
        // A handler without a transaction.
        ["latencies", url, rate, "without"] => {
            runtime.block_on(latencies::print(url, rate.parse().unwrap(), false));
        }
        ["worker", url] => runtime.block_on(latencies::work(url)),
        [] => compare(None),
        [other] => compare(Some(&PathBuf::from(other))),
        _ => println!("usage: inbox-rates [OTHER_BUILD]"),
    }
}

fn compare(other: Option<&PathBuf>) {
    let this = current_exe().unwrap();
    let server = Server::postgres_or_skip(&["fsync=on"]);
    for name in ["SQLite", "PostgreSQL"] {
        let mut ratios: Vec<(String, Vec<f64>)> = Vec::new();
        for round in 0..ROUNDS {
            let url = || match (name, &server) {
                ("SQLite", _) => Some((String::new(), Some(tempfile::tempdir().unwrap()))),
                (_, Some(server)) => Some((server.postgres_url(), None)),
                _ => None,
            };
            let measure = |binary: &PathBuf, mode: &str, rate: Option<f64>| {
                let (mut url, directory) = url()?;
                if let Some(directory) = &directory {
                    url = format!("sqlite://{}/inbox.db", directory.path().display());
                }
                Some(run(binary, mode, &url, rate))
            };
            let Some(rates) = measure(&this, "rates", None) else { return };
            let others = other.and_then(|other| measure(other, "rates", None));
            let base = *others.as_ref().unwrap_or(&rates).get(rates::WITH).unwrap();
            let load = if other.is_some() { LOAD } else { OTHER_LOAD };
            let latencies = measure(&this, "latencies", Some(base * load)).unwrap();
            let other_latencies =
                other.and_then(|other| measure(other, "latencies", Some(base * OTHER_LOAD)));
            let mut add = |name: String, value: f64| match ratios.iter_mut().find(|(one, _)| *one == name) {
                Some((_, values)) => values.push(value),
                None => ratios.push((name, vec![value])),
            };
            let divide = |a: &str, b: &str| rates.get(a).unwrap() / rates.get(b).unwrap();
            add("admission one at a time ÷ bare insert".into(), divide(rates::ADMIT_1, rates::BARE_1));
            add("admission 32 ÷ bare inserts 32".into(), divide(rates::ADMIT_32, rates::BARE_32));
            add("done with a transaction ÷ bare inserts 32".into(), divide(rates::WITH, rates::BARE_32));
            for (ours, others) in [(Some(&rates), &others), (Some(&latencies), &other_latencies)] {
                let mut names: Vec<_> = ours.unwrap().keys().collect();
                names.sort();
                for name in names {
                    let value = ours.unwrap().get(name).unwrap();
                    add(name.clone(), *value);
                    if let Some(other) = others.as_ref().and_then(|others| others.get(name)) {
                        add(format!("{name}, other build"), *other);
                        add(format!("{name} ÷ other build"), value / other);
                    }
                }
            }
            println!("{name}: round {} of {ROUNDS}", round + 1);
        }
        for (figure, mut values) in ratios {
            let median = median(&mut values);
            let (min, max) = (values.first().unwrap(), values.last().unwrap());
            println!("{name:<10} {figure:<66} {min:>9.2} {median:>9.2} {max:>9.2}");
        }
    }
}

/// Runs one mode of a build, and returns what it prints.
fn run(binary: &PathBuf, mode: &str, url: &str, rate: Option<f64>) -> Figures {
    let mut command = Command::new(binary);
    let _ = command.args([mode, url]).args(rate.map(|rate| rate.to_string()));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{mode} failed");
    let lines = String::from_utf8(output.stdout).unwrap();
    let figures = lines.lines().filter_map(|line| line.split_once('\t'));
    figures.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}
