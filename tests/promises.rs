//! Every path and test that `README.md` and `SECURITY.md` name must exist, so that their tables stay correct.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PAGES: [&str; 2] = [include_str!("README.md"), include_str!("../.github/SECURITY.md")];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The code spans in the column `test` of every table.
fn named_in_tables() -> Vec<&'static str> {
    let (mut column, mut names) = (None, Vec::new());
    for line in PAGES.iter().flat_map(|page| page.lines()) {
        let Some(row) = line.strip_prefix('|') else {
            column = None;
            continue;
        };
        let mut cells = row.split('|').map(str::trim);
        match column {
            None => column = Some(cells.position(|cell| cell == "test").unwrap()),
            Some(column) => names.extend(cells.nth(column).unwrap().split('`').skip(1).step_by(2)),
        }
    }
    names
}

fn is_path(name: &str) -> bool {
    name.contains(['/', '.'])
}

fn add_source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The name of the function, the scenario (`name: function(…);`) or the store contract that a line defines.
fn defined_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if let Some((_, contract)) = line.split_once("store_contract!(") {
        return contract.split_once(',').map(|(name, _)| name);
    }
    match line.split_once("fn ") {
        Some((_, signature)) => signature.split_once(['(', '<']).map(|(name, _)| name),
        None => line.split_once(": ").filter(|(_, call)| call.ends_with(");")).map(|(name, _)| name),
    }
}

#[test]
fn named_tests_exist() {
    let mut files = Vec::new();
    for directory in ["crates", "examples", "tests"] {
        add_source_files(&workspace().join(directory), &mut files);
    }
    let sources: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let defined: BTreeSet<_> =
        sources.iter().flat_map(|source| source.lines()).filter_map(defined_name).collect();
    let names: Vec<_> = named_in_tables().into_iter().filter(|name| !is_path(name)).collect();
    assert!(names.len() > 100, "the tables name only {} tests: {names:?}", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !defined.contains(*name)).collect();
    assert!(missing.is_empty(), "the tables name tests that do not exist: {missing:#?}");
}

#[test]
fn named_paths_exist() {
    let paths: Vec<_> = named_in_tables().into_iter().filter(|name| is_path(name)).collect();
    assert!(!paths.is_empty());
    let missing: Vec<_> = paths.iter().filter(|path| !workspace().join(path).exists()).collect();
    assert!(missing.is_empty(), "the tables name paths that do not exist: {missing:#?}");
}

/// The code spans in the columns `metric` and `log line` of the page on lost events.
#[test]
fn signs_of_lost_events_exist() {
    let page =
        std::fs::read_to_string(workspace().join("examples/presence-board/deploy/lost-events.md")).unwrap();
    let mut files = Vec::new();
    add_source_files(&workspace().join("crates"), &mut files);
    let sources: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let cells = rows.flat_map(|row| row.split('|').skip(2).take(2));
    let spans: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(spans.len() > 20, "{spans:?}");
    for span in spans.into_iter().filter(|span| *span != "DEBUG") {
        // A label is `reason="…"`: its value must exist.
        let text = span.split('"').nth(1).unwrap_or(span);
        assert!(sources.contains(&format!("\"{text}\"")), "lost-events.md names {span}, which no crate has");
    }
}
