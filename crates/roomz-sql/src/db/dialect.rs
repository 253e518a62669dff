/// The kind of a database, and what its SQL has of its own. The rest of a statement is the same text for
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

const SQLITE_NOW: &str = "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)";

/// The placeholders of a text, and their meaning in PostgreSQL and in SQLite.
const PLACEHOLDERS: [(&str, &str, &str); 7] = [
    // The time at which the statement began, so that it has one value within the statement. In milliseconds
    // since 1970.
    ("{now}", "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)", SQLITE_NOW),
    // SQLite has one writer, so no row is locked.
    ("{skip_locked}", "FOR UPDATE SKIP LOCKED", ""),
    // A random number below 1 000.
    ("{per_mille}", "CAST(random() * 1000 AS BIGINT)", "abs(random() % 1000)"),
    // Not true on PostgreSQL outside of a transaction that began for a handler.
    ("{begun}", "current_setting('roomz.handler', true) = 'begun'", "TRUE"),
    // Around the namespace of the key to search for. While the statistics of PostgreSQL name no rows, reading
    // a whole index in its order seems as good to it as searching for one key, and an array has no order.
    ("{any}", "ANY (ARRAY[", "("),
    ("{/any}", "])", ")"),
    // What finds a row that the same statement has locked.
    ("{row}", "ctid", "namespace, event_id"),
];

impl Dialect {
    /// Replaces the placeholders.
    pub(crate) fn render(self, text: &str) -> String {
        PLACEHOLDERS.into_iter().fold(text.to_owned(), |text, (name, postgres, sqlite)| {
            text.replace(name, if self == Self::Postgres { postgres } else { sqlite })
        })
    }
}
