//! Rows of goals: the name, the value before, the measured value, the goal, and whether it is met.

/// The side of the goal on which the measured value must be.
#[allow(clippy::exhaustive_enums, reason = "support of benchmarks")]
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// The measured value must not be above it.
    AtMost(f64),
    /// The measured value must not be below it.
    AtLeast(f64),
}

/// Prints one row.
#[allow(clippy::print_stdout, reason = "the output of a benchmark")]
pub fn print_goal(name: &str, before: f64, measured: f64, goal: Goal) {
    let (sign, limit, is_met) = match goal {
        Goal::AtMost(limit) => ("≤", limit, measured <= limit),
        Goal::AtLeast(limit) => ("≥", limit, measured >= limit),
    };
    let met = if is_met { "met" } else { "not met" };
    println!("{name:<62} before {before:>7.2}  measured {measured:>7.2}  goal {sign} {limit:<6} {met}");
}

/// Returns the median. The slice must not be empty.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
