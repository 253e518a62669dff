//! The claim and the inbox as models that a checker explores, and histories of the real stores that the same
//! rule of a claim must explain.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod claim;
mod explain;
mod histories;
mod inbox;
mod rule;

use std::fmt::Debug;
use std::hash::Hash;
use std::io::Write as _;

use roomz_tests::rounds;
use stateright::{Checker as _, HasDiscoveries, Model};

/// Explores the model: `few` states by default, all of them with `ROOMZ_TESTS=long`. Returns the properties
/// that do not hold.
fn violations<M>(name: &str, model: M, few: usize) -> Vec<&'static str>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let checker = model.checker().threads(2).target_state_count(rounds(few, usize::MAX)).spawn_bfs().join();
    let (all, different) = (checker.state_count(), checker.unique_state_count());
    report(&format!("{name}: {all} states, {different} different"));
    let found = checker.discoveries();
    let mut properties = checker.model().properties();
    properties
        .retain(|property| property.expectation.discovery_is_failure() == found.contains_key(property.name));
    properties.iter().map(|property| property.name).collect()
}

/// Explores the model until it finds a state that violates this property.
fn assert_violates<M>(model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(2).finish_when(found).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{property}");
}

/// Writes a line past the output capture of the test runner.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
