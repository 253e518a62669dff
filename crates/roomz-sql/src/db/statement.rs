use roomz_webhook::store::Owner;

use crate::db::dialect::Dialect;
use crate::db::value::Value;

/// In front of each text for PostgreSQL. Without it, Pgpool-II sends a mere read to a standby, which may lack
/// what the same connection committed before.
pub(crate) const ON_PRIMARY: &str = "/*NO LOAD BALANCE*/";

/// A statement in the SQL of one database, for one row of parameters and mostly also for many.
///
/// Both forms have the same text. A `{column}` is a parameter in the one, and a column of the table `new` in
/// the other:
///
/// | in the text | one row | many rows |
/// |---|---|---|
/// | `{column}` | `$1` | `new.column` |
/// | `{from}` | | `FROM (…) AS new` |
/// | `{and}` | | `(…) AS new CROSS JOIN` |
/// | `{order}` | | the order of the keys, so that two statements never wait for each other |
///
/// A form for many rows returns the namespace and the event id first: they tell the operations of a batch
/// apart.
#[derive(Debug)]
pub struct Statement {
    pub(crate) one: String,
    pub(crate) many: Option<String>,
    /// The names of its parameters.
    pub(crate) columns: Vec<String>,
    pub(crate) lane: Lane,
    /// Its parameters must not be in the text that is sent, which the server and sqlx write to their logs.
    pub(crate) is_confidential: bool,
    /// Executed for each row of parameters for which this statement returned no row.
    pub(crate) otherwise: Option<Box<Statement>>,
}

/// How urgent a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Before all others: it frees waiting duplicates and handlers.
    First,
    Normal,
    /// While others wait, one batch in eight.
    Background,
}

/// An update of the rows that a condition selects. `c` is the row of the table.
#[derive(Debug)]
pub struct Update<'a> {
    pub table: &'a str,
    /// The columns to set, and their new values.
    pub set: &'a [(&'a str, &'a str)],
    /// The values of the other columns that are NOT NULL, apart from the key. They stay as they are.
    pub kept: &'a [(&'a str, &'a str)],
    pub condition: &'a str,
    pub returning: &'a str,
}

impl Statement {
    /// Creates a statement that is executed for one row of parameters at a time.
    pub fn single(dialect: Dialect, text: &str, columns: &[&str]) -> Self {
        Self {
            one: for_one(dialect, text, columns),
            many: None,
            columns: columns.iter().map(ToString::to_string).collect(),
            lane: Lane::Normal,
            is_confidential: false,
            otherwise: None,
        }
    }

    /// Creates a statement that is executed for one or many rows of parameters.
    pub fn batched(dialect: Dialect, text: &str, columns: &[&str]) -> Self {
        let many = for_many(dialect, text, columns);
        Self { many: Some(many), ..Self::single(dialect, text, columns) }
    }

    /// Creates an update for one or many rows of parameters.
    pub fn update(dialect: Dialect, update: &Update<'_>, columns: &[&str]) -> Self {
        const KEY: &str = "c.namespace = {any}{namespace}{/any} AND c.event_id = {event_id}";
        let Update { table, set, kept, condition, returning } = update;
        let join = |pairs: &[(&str, &str)], write: &dyn Fn(&str, &str) -> String| {
            pairs.iter().map(|(name, value)| write(name, value)).collect::<Vec<_>>().join(", ")
        };
        let assignments = join(set, &|name, value| format!("{name} = {value}"));
        let one = format!(
            "UPDATE {table} AS c SET {assignments} {{from}} WHERE {KEY} AND {condition} \
             RETURNING namespace, event_id, {returning}"
        );
        let many = match dialect {
            // Locks the rows in the order of their keys.
            Dialect::Postgres => format!(
                "WITH locked AS MATERIALIZED (SELECT new.* FROM {{and}} {table} c WHERE {KEY} AND c.owner = {{owner}} \
                 {{order}} FOR UPDATE OF c) {}",
                one.replace("{from}", "FROM locked AS new")
                    .replace("RETURNING namespace, event_id", "RETURNING c.namespace, c.event_id")
            ),
            // An upsert of rows that exist. SQLite would read all rows for an `UPDATE … FROM` if ANALYZE last
            // ran while the table was small, and only a SELECT can have the CROSS JOIN that prevents it.
            Dialect::Sqlite => format!(
                "INSERT INTO {table} (namespace, event_id, {}, {}) SELECT c.namespace, c.event_id, {}, {} \
                 FROM {{and}} {table} c WHERE {KEY} AND {condition} \
                 ON CONFLICT (namespace, event_id) DO UPDATE SET {} RETURNING namespace, event_id, {returning}",
                join(set, &|name, _| name.to_owned()),
                join(kept, &|name, _| name.to_owned()),
                join(set, &|_, value| value.to_owned()),
                join(kept, &|_, value| value.to_owned()),
                join(set, &|name, _| format!("{name} = excluded.{name}")),
            ),
        };
        let many = for_many(dialect, &many, columns);
        Self { many: Some(many), ..Self::single(dialect, &one, columns) }
    }

    /// Parameters for the self-test, with a random key. The rows that they write have expired.
    pub(crate) fn test_row(&self) -> Vec<Value> {
        let key = Value::from(&Owner::random().to_bytes());
        let value = |column: &String| match column.as_str() {
            "namespace" | "status" => Value::from("roomz self-test"),
            "event_id" | "owner" | "fingerprint" | "workspace" | "event" => key.clone(),
            _ => Value::Number(0),
        };
        self.columns.iter().map(value).collect()
    }

    #[must_use]
    pub fn in_lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// Keeps the parameters out of the logs of the server and of sqlx.
    #[must_use]
    pub fn confidential(mut self) -> Self {
        self.is_confidential = true;
        self
    }

    /// Sets the statement for the rows of parameters for which this one returned no row.
    #[must_use]
    pub fn or_else(mut self, otherwise: Self) -> Self {
        self.otherwise = Some(Box::new(otherwise));
        self
    }
}

fn for_one(dialect: Dialect, text: &str, columns: &[&str]) -> String {
    let text = text.replace("{from}", "").replace("{and}", "").replace("{order}", "");
    fill_placeholders(&text, columns, |index, _| format!("${}", index + 1), dialect)
}

fn for_many(dialect: Dialect, text: &str, columns: &[&str]) -> String {
    let list = |write: &dyn Fn(usize, &str) -> String| {
        (1..).zip(columns).map(|(number, name)| write(number, name)).collect::<Vec<_>>().join(", ")
    };
    let (new, order) = match dialect {
        Dialect::Postgres => (
            format!("unnest({}) AS new ({})", list(&|number, _| format!("${number}")), columns.join(", ")),
            "ORDER BY new.namespace COLLATE \"C\", new.event_id",
        ),
        // `{values}` depends on the number of rows.
        Dialect::Sqlite => {
            let names = list(&|number, name| format!("column{number} AS {name}"));
            (format!("(SELECT {names} FROM (VALUES {{values}})) AS new"), "")
        }
    };
    let text = text.replace("{from}", &format!("FROM {new}"));
    let text = text.replace("{and}", &format!("{new} CROSS JOIN")).replace("{order}", order);
    fill_placeholders(&text, columns, |_, name| format!("new.{name}"), dialect)
}

fn fill_placeholders(
    text: &str,
    columns: &[&str],
    write: impl Fn(usize, &str) -> String,
    dialect: Dialect,
) -> String {
    let fill = |text: String, (index, name): (usize, &&str)| {
        text.replace(&format!("{{{name}}}"), &write(index, name))
    };
    let text = dialect.render(&columns.iter().enumerate().fold(text.to_owned(), fill));
    if dialect == Dialect::Postgres { format!("{ON_PRIMARY}{text}") } else { text }
}
