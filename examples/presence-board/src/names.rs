//! What the workspaces are called: ROOMZ sends ids only.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use roomz_axum::WorkspaceId;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Names and floors, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Names {
    order: Vec<WorkspaceId>,
    names: HashMap<WorkspaceId, Name>,
}

/// What one workspace is called.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    pub name: String,
    pub floor: Option<String>,
}

impl Names {
    /// Reads a file such as `{"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5": {"name": "Desk 1", "floor": "First floor"}}`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let path_shown = path.display();
        let json = std::fs::read_to_string(path).map_err(|error| {
            format!("the names file {path_shown} cannot be read ({error}): give --names a file that exists")
        })?;
        serde_json::from_str(&json).map_err(|error| {
            format!(
                "the names file {path_shown} cannot be understood: {error}; \
                 it is JSON like {{\"WORKSPACE-UUID\": {{\"name\": \"Desk 1\", \"floor\": \"First floor\"}}}}"
            )
        })
    }

    pub fn get(&self, id: &WorkspaceId) -> Option<&Name> {
        self.names.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.order.iter()
    }
}

/// By hand, because a map of `serde_json` forgets the order of the file.
impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a member for each workspace")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                while let Some(key) = map.next_key::<String>()? {
                    let id: WorkspaceId = key
                        .parse()
                        .map_err(|error| A::Error::custom(format!("the key {key:?} is {error}")))?;
                    if names.names.insert(id, map.next_value()?).is_some() {
                        return Err(A::Error::custom(format!("the workspace {id} is there twice")));
                    }
                    names.order.push(id);
                }
                Ok(names)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
