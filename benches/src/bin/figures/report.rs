//! The rows of the table.

use std::path::PathBuf;

/// The side of the goal on which the median must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

use Goal::{AtLeast, AtMost};

/// The values of each round by name, and the settings of the run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rounds: usize,
    /// The program of another build, with which the inbox is compared.
    pub(crate) other_build: Option<PathBuf>,
    /// The largest number of rows and ids of the growth curves.
    pub(crate) max_rows: usize,
    /// The chosen sections and curves; none stands for all.
    pub(crate) chosen: Vec<String>,
    pub(crate) left_out: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    goal: Option<Goal>,
    values: Vec<f64>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            rounds: 5,
            other_build: None,
            max_rows: 1_000_000,
            chosen: Vec::new(),
            left_out: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a value of one round.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.add_row(name.into(), None, value);
    }

    /// Adds a value of one round that has a goal.
    pub(crate) fn add_goal(&mut self, name: impl Into<String>, goal: Goal, value: f64) {
        self.add_row(name.into(), Some(goal), value);
    }

    fn add_row(&mut self, name: String, goal: Option<Goal>, value: f64) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { name, goal, values: vec![value] }),
        }
    }

    /// Notes what cannot be measured, and why.
    pub(crate) fn leave_out(&mut self, what: &str, why: &str) {
        self.left_out.push(format!("{what}: {why}"));
    }

    /// Prints the rows with a goal, the others, and what was left out.
    pub(crate) fn print(&mut self) {
        println!("| goal | minimum | median | maximum | goal | |\n|---|---|---|---|---|---|");
        self.rows.sort_by_key(|row| row.goal.is_none());
        let goals = self.rows.partition_point(|row| row.goal.is_some());
        for (index, Row { name, goal, values }) in self.rows.iter_mut().enumerate() {
            if index == goals {
                println!("\n| figure | minimum | median | maximum |\n|---|---|---|---|");
            }
            let median = median(values);
            let cells = [values[0], median, values[values.len() - 1]].map(short).join(" | ");
            let (sign, limit, is_met) = match *goal {
                None => {
                    println!("| {name} | {cells} |");
                    continue;
                }
                Some(AtMost(limit)) => ('≤', limit, median <= limit),
                Some(AtLeast(limit)) => ('≥', limit, median >= limit),
            };
            let met = if is_met { "met" } else { "**not met**" };
            println!("| {name} | {cells} | {sign} {limit} | {met} |");
        }
        for line in &self.left_out {
            println!("\nLeft out: {line}.");
        }
    }
}

/// Three significant digits, or all before the point.
pub(crate) fn short(value: f64) -> String {
    let digits = (2.0 - value.abs().max(0.1).log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

/// Returns the median. The slice must not be empty.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(values, 0.5)
}

/// The value below which this part of the sorted values is.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() as f64 * part) as usize).min(sorted.len() - 1)]
}
