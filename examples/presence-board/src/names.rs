//! Names of workspaces, from a JSON file: ROOMZ sends ids only.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use roomz_axum::WorkspaceId;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Names and floors, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Names {
    order: Vec<WorkspaceId>,
    by_id: HashMap<WorkspaceId, Name>,
}

/// The name of one workspace.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"name\": \"Desk 1\"}")]
pub struct Name {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
}

impl Names {
    /// Reads a file such as
    /// `{"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5": {"name": "Desk 1", "floor": "First floor"}}`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = path.display();
        let json = std::fs::read_to_string(path).map_err(|error| {
            format!("cannot read the names file {file}: {error}; set --names to a readable file")
        })?;
        // Windows editors write a byte order mark.
        serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| {
            format!(
                "invalid names file {file}: {error}; \
                 expected JSON like {{\"WORKSPACE-UUID\": {{\"name\": \"Desk 1\", \"floor\": \"First floor\"}}}}"
            )
        })
    }

    pub fn get(&self, id: &WorkspaceId) -> Option<&Name> {
        self.by_id.get(id)
    }

    /// The ids in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.order.iter()
    }
}

/// Implemented by hand, because the maps of `serde_json` do not keep the order of the file.
impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one member per workspace")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                while let Some(key) = map.next_key::<String>()? {
                    let id: WorkspaceId = key
                        .parse()
                        .map_err(|error| A::Error::custom(format!("the key {key:?} is {error}")))?;
                    if names.by_id.insert(id, map.next_value()?).is_some() {
                        return Err(A::Error::custom(format!("duplicate workspace {id}")));
                    }
                    names.order.push(id);
                }
                Ok(names)
            }
        }
        deserializer.deserialize_map(NamesVisitor)
    }
}
