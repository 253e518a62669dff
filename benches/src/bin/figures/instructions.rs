//! Instructions, allocations and allocated bytes per request, counted by valgrind. They vary by less than a
//! percent, also beside other load.

use std::process::Command;

use crate::services::{App, Deliveries, by_hand, by_hand_moka, layer, with_store, without_kit};
use roomz_webhook::store::CompactStore;
use tower::ServiceExt as _;
use tracing::subscriber::NoSubscriber;

use crate::report::Goal::AtMost;
use crate::report::Report;
use crate::requests::runtime;

/// The path by which the others are divided is the first one.
const PATHS: [(&str, &str); 7] = [
    ("by_hand_moka", "new event by hand with moka"),
    ("layer", "new event, `MokaStore`"),
    ("compact", "new event, `CompactStore`"),
    ("without_kit", "new event without this project"),
    ("by_hand", "verify and parse by hand"),
    ("duplicate", "duplicate"),
    ("forged", "forged"),
];
const WARM_UP: usize = 500;
const MEASURED: usize = 1_000;

pub(crate) fn measure(report: &mut Report) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return report.leave_out("instructions and allocations", "valgrind is not installed");
    }
    for _ in 0..report.rounds {
        let counts = PATHS.map(|(path, name)| (name, count(path)));
        for (index, unit) in ["instructions", "allocations", "allocated bytes"].into_iter().enumerate() {
            let base = counts[0].1[index];
            for (number, (name, counts)) in counts.iter().enumerate() {
                let ratio = format!("{unit}, {name} ÷ by hand with moka");
                match (unit, number) {
                    (_, 0) => {}
                    ("allocations", 1 | 2) => report.add_goal(ratio, AtMost(1.0), counts[index] / base),
                    _ => report.add(ratio, counts[index] / base),
                }
                report.add(format!("{unit}, {name}"), counts[index]);
            }
        }
    }
}

/// Instructions, allocations and allocated bytes per request.
fn count(path: &str) -> [f64; 3] {
    // The same requests are created in both runs, and more of them are sent in the second one.
    let per_request = |tool: &str, befores: &[&str]| {
        let [first, second] = [WARM_UP, WARM_UP + MEASURED].map(|count| reported(tool, befores, path, count));
        second.iter().zip(first).map(|(second, first)| (second - first) / MEASURED as f64).collect::<Vec<_>>()
    };
    let instructions = per_request("callgrind", &["Collected : "])[0];
    let allocated = per_request("dhat", &[" bytes in ", "Total:     "]);
    [instructions, allocated[0], allocated[1]]
}

/// Returns the numbers that follow these texts in the report of a tool of valgrind.
fn reported(tool: &str, befores: &[&str], path: &str, count: usize) -> Vec<f64> {
    let output = Command::new("valgrind")
        .args([&format!("--tool={tool}"), &format!("--{tool}-out-file=/dev/null")])
        .arg(std::env::current_exe().unwrap())
        .args(["send", path, &count.to_string()])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    let number = |before: &&str| {
        let number = report.split_once(before).unwrap_or_else(|| panic!("{report}")).1;
        let number: String = number.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        number.replace(',', "").parse().unwrap()
    };
    befores.iter().map(number).collect()
}

/// Creates the requests of a whole measurement and sends `count` of them.
pub(crate) fn send(path: &str, count: usize) {
    tracing::subscriber::set_global_default(NoSubscriber::new()).unwrap();
    let mut deliveries = Deliveries::new();
    let app: App = match path {
        "by_hand" => by_hand(),
        "by_hand_moka" => by_hand_moka(),
        "without_kit" => without_kit(),
        "compact" => with_store(CompactStore::new()),
        _ => layer(),
    };
    let mut requests = (0..WARM_UP + MEASURED)
        .map(|_| match path {
            "duplicate" => deliveries.duplicate(),
            "forged" => deliveries.forged(),
            _ => deliveries.next_event(),
        })
        .collect::<Vec<_>>()
        .into_iter();
    // In a task, as in a server: waking the future of `block_on` costs more than waking a task.
    let sent = async move {
        for request in requests.by_ref().take(count) {
            app.clone().oneshot(request).await.unwrap();
        }
        // To drop the others, and the store with its ids, would count as well.
        std::mem::forget((requests, app));
    };
    let runtime = runtime();
    runtime.block_on(runtime.spawn(sent)).unwrap();
}
