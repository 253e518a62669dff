//! Growth: how a cost depends on a number, as curves in `benches/growth.svg`.

mod database;
mod memory;
mod network;
mod plot;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::report::{Report, short};

/// A diagram with some lines. Both axes are logarithmic.
pub(crate) struct Curve {
    title: &'static str,
    unit_x: &'static str,
    lines: Vec<Line>,
}

/// A name with its unit, and points.
type Line = (String, Vec<(f64, f64)>);

/// A name, and what measures it, or the reason why it is left out.
type Measured = (&'static str, fn(&Report) -> Result<Curve, String>);

const CURVES: [Measured; 9] = [
    ("ids", memory::ids),
    ("claims", database::claims),
    ("body", memory::body),
    ("secrets", memory::secrets),
    ("tenants", memory::tenants),
    ("connections", network::connections),
    ("done", database::done_rows),
    ("waiting", database::waiting_rows),
    ("viewers", network::viewers),
];

pub(crate) fn names() -> [&'static str; CURVES.len()] {
    CURVES.map(|(name, _)| name)
}

pub(crate) fn has_curve(name: &str) -> bool {
    names().contains(&name)
}

pub(crate) fn measure(report: &mut Report) {
    let is_all = !report.chosen.iter().any(|name| has_curve(name));
    let mut curves = Vec::new();
    for (name, measure) in CURVES {
        if !is_all && !report.chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        eprintln!("growth: {name}");
        // The other curves are kept.
        let measured = catch_unwind(AssertUnwindSafe(|| measure(report)));
        match measured.unwrap_or_else(|_| Err("it failed, see the message on stderr".to_owned())) {
            Ok(curve) => curves.push(curve),
            Err(reason) => report.leave_out(&format!("the curve {name}"), &reason),
        }
    }
    println!("\n| growth | | |\n|---|---|---|");
    for Curve { title, unit_x, lines } in &curves {
        for (name, points) in lines {
            let points: Vec<_> = points.iter().map(|&(x, y)| format!("{x}: {}", short(y))).collect();
            println!("| {title} | {name} | {unit_x} {} |", points.join(", "));
        }
    }
    if is_all {
        plot::draw(concat!(env!("CARGO_MANIFEST_DIR"), "/growth.svg"), &curves);
    }
}

/// Powers of ten.
fn powers(from: u32, to: usize) -> Vec<usize> {
    (from..=9).map(|power| 10_usize.pow(power)).take_while(|number| *number <= to).collect()
}
