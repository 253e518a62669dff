//! The deliveries of whole buildings.

use std::path::Path;

use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use serde_json::{Map, Value, json};

use crate::browser::{id, names_file};
use crate::support::program::{Program, change};

/// Delivers events of every outcome: 12 workspaces are free, 10 busy and 2 unknown afterwards.
pub fn deliver_building(board: &Program) {
    let names: Value = serde_json::from_str(&std::fs::read_to_string(names_file()).unwrap()).unwrap();
    let mut named: Vec<_> = names.as_object().unwrap().iter().collect();
    named.sort_by_key(|(_, name)| name["name"].to_string());
    let status =
        |index: usize| if [1, 2, 5, 6, 7, 11, 13, 16, 18, 21].contains(&index) { "Busy" } else { "Free" };
    let without_events = ["Desk 2.08", "Booth B"];
    let with_events: Vec<_> =
        named.iter().filter(|(_, name)| !without_events.contains(&name["name"].as_str().unwrap())).collect();
    for (index, (workspace, _)) in with_events.iter().enumerate() {
        let minutes = [4, 12, 95, 31, 7, 150, 58, 2, 19, 44, 71][index % 11] + (index as u64 / 11) * 3;
        assert_eq!(board.deliver(&change(id(workspace), minutes, status(index))), 200);
    }
    let (first, second) = (id(with_events[0].0), id(with_events[3].0));
    assert_eq!(board.deliver_with(&change(first, 0, "Free"), &Secret::new("a wrong secret").unwrap()), 401);
    assert_eq!(board.deliver(&TestEvent::busy().with_type("workspace.battery.low")), 200);
    let late = change(second, 90, "Busy");
    assert_eq!((board.deliver(&late), board.deliver(&late)), (200, 200));
}

/// A building with 500 workspaces on ten floors, 29 of them without an event.
pub struct LargeBuilding {
    pub board: Program,
    _directory: tempfile::TempDir,
}

/// Long names, one of them a single word, which tiles must wrap.
pub const LONG_NAMES: [&str; 4] = [
    "Meeting room Matterhorn West",
    "Sitzungszimmer Jungfraujoch",
    "Innovation & Design Thinking Lab",
    "Donaudampfschifffahrtsgesellschaft",
];

impl LargeBuilding {
    /// Starts a board with a generated names file and delivers one event for each of the other 471.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("names.json");
        write_names(&file);
        let board = Program::start(&["--listen", "127.0.0.1:0", "--names", file.to_str().unwrap()]);
        for index in (0..500).filter(|index| index % 17 != 8) {
            let status = if index * 7 % 13 < 6 { "Free" } else { "Busy" };
            let minutes = index * 37 % 300;
            assert_eq!(board.deliver(&change(id(&workspace_id(index)), minutes, status)), 200);
        }
        Self { board, _directory: directory }
    }
}

/// The id of a workspace of the large building.
pub fn workspace_id(index: u64) -> String {
    format!("{index:08x}-0000-4000-8000-000000000000")
}

fn write_names(file: &Path) {
    let mut names = Map::new();
    for index in 0..500 {
        let (floor, number) = (index / 50 + 1, index % 50 + 1);
        let name = match LONG_NAMES.get(index as usize % 50) {
            Some(name) => (*name).to_owned(),
            None if number > 46 => format!("Phone booth {floor}.{number:02}"),
            None => format!("Desk {floor}.{number:02}"),
        };
        names.insert(workspace_id(index), json!({ "name": name, "floor": format!("Floor {floor}") }));
    }
    std::fs::write(file, Value::from(names).to_string()).unwrap();
}
