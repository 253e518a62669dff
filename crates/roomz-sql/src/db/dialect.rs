/// The kind of a database, and what its SQL has of its own. The rest of a statement is the same text for
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// Replaces `{now}`, `{clock}`, `{skip_locked}`, `{per_mille}` and `{begun}`.
    ///
    /// `now` is the time at which the statement began, so that it has one value within the statement. `clock`
    /// is the current time: a lease starts when it is written, which is later than `now` if the statement
    /// waited for a lock. Both are in milliseconds since 1970. `per_mille` is a random number below 1 000.
    /// `begun` is not true on PostgreSQL outside of a transaction that began for a handler.
    pub(crate) fn render(self, text: &str) -> String {
        let (now, clock, skip_locked, per_mille) = match self {
            Self::Postgres => (
                "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
                "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
                "FOR UPDATE SKIP LOCKED",
                "CAST(random() * 1000 AS BIGINT)",
            ),
            Self::Sqlite => {
                let now = "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)";
                // SQLite has one writer, so no row is locked.
                (now, now, "", "abs(random() % 1000)")
            }
        };
        let begun =
            if self == Self::Postgres { "current_setting('roomz.handler', true) = 'begun'" } else { "TRUE" };
        text.replace("{now}", now)
            .replace("{begun}", begun)
            .replace("{clock}", clock)
            .replace("{skip_locked}", skip_locked)
            .replace("{per_mille}", per_mille)
    }
}
