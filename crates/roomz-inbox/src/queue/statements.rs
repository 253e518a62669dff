use std::sync::LazyLock;

use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::statement::{Lane, Statement, Update};

/// A value of the column `state`.
pub(crate) const WAITING: i64 = 0;
/// A value of the column `state`.
pub(crate) const RUNNING: i64 = 1;
/// A value of the column `state`.
pub(crate) const DONE: i64 = 2;
/// A value of the column `state`.
pub(crate) const DEAD: i64 = 3;

/// Fails if the table or a column is missing, or if a permission is. It changes nothing.
pub(crate) const TEST: &str = "SELECT owner, attempt, earlier, received, body, error, traceparent FROM roomz_inbox LIMIT 0; \
     INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body, traceparent) \
       SELECT namespace, event_id, state, due, received, owner, attempt, earlier, body, traceparent FROM roomz_inbox \
       WHERE 0 = 1 \
       ON CONFLICT (namespace, event_id) DO NOTHING; \
     UPDATE roomz_inbox SET state = 0 WHERE 0 = 1; \
     DELETE FROM roomz_inbox WHERE 0 = 1";

/// Adds an event. Returns no row if the inbox has it.
const INSERT: &str = "INSERT INTO roomz_inbox \
     (namespace, event_id, state, due, received, owner, attempt, earlier, body, traceparent) \
     SELECT {namespace}, {event_id}, 0, {now}, {now}, {event_id}, 0, 0, {body}, {traceparent} {from} WHERE TRUE {order} \
     ON CONFLICT (namespace, event_id) DO NOTHING RETURNING namespace, event_id";

/// An attempt is counted when it is taken, so that an event that ends its process reaches the maximum. The
/// events that ran with it are not taken together again, because their leases end at different times: up to a
/// half later. Otherwise all of them would reach the maximum.
const TAKE: &str = "WITH next AS (SELECT namespace AS next_namespace, event_id AS next_id, due AS next_due \
         FROM roomz_inbox WHERE state < 2 AND due <= {now} AND due >= {start} AND due < {end} \
         ORDER BY due LIMIT {limit} {skip_locked}) \
     UPDATE roomz_inbox SET state = 1, owner = {owner}, attempt = attempt + 1, \
       due = {now} + {lease} + {lease} * {per_mille} / 2000 \
     FROM next WHERE namespace = {any}next_namespace{/any} AND event_id = next_id \
     RETURNING namespace, event_id, attempt, earlier, received, {now} - received, body, error, \
       traceparent, {now}, {was_due}";

/// Undoes a take whose reply was lost, and whose leases have been over for that long at most. No handler ran.
const GIVE_BACK_ALL: &str = "UPDATE roomz_inbox SET state = 0, due = {now}, attempt = attempt - 1 \
     WHERE state < 2 AND state = 1 AND owner = {owner} AND due >= {now} - {behind} RETURNING due";

/// Changes an event that its owner runs. If the reply was lost and the owner records the same again, this
/// confirms it. Then `due` stays, but a column that a finished event does not need changes: SQLite syncs
/// nothing to disk for a row that stays as it is.
///
/// Here and below, the sign of `state` keeps PostgreSQL from reading the index of all events in that state:
/// with statistics of a time when there were none, it would prefer it to the key.
const UPDATE: Update<'_> = Update {
    table: "roomz_inbox",
    set: &[
        ("state", "{state}"),
        ("due", "CASE WHEN c.state = 2 THEN c.due ELSE {now} + {delay} END"),
        ("attempt", "{attempt}"),
        ("earlier", "CASE WHEN c.state = 2 THEN {attempt} ELSE c.earlier END"),
        ("error", "CASE WHEN {state} = 2 THEN NULL ELSE coalesce({error}, c.error) END"),
    ],
    kept: &[("received", "c.received"), ("owner", "c.owner"), ("body", "x''")],
    condition: "c.owner = {owner} AND +c.state IN (1, {state})",
    returning: "{now} - received",
};

/// Completes an event in the transaction of its handler, unless that transaction has ended. Short, because
/// PostgreSQL plans each statement that is sent as text.
const COMPLETE: &str = "UPDATE roomz_inbox SET state = 2, due = {now} + {retention}, error = NULL \
     WHERE namespace = {namespace} AND event_id = {event_id} AND owner = {owner} AND +state = 1 AND {begun} \
     RETURNING {now} - received";

const ENTRY: &str = "SELECT namespace, event_id, state, received, due, attempt, error, body FROM roomz_inbox";

/// SQLite uses an index with a condition only if the statement contains the same condition.
const LIST: &str = "WHERE state = {number}{open} AND (CAST({only} AS TEXT) IS NULL OR namespace = {only}) \
     ORDER BY due LIMIT {limit}";

const RETRY: &str = "UPDATE roomz_inbox SET state = 0, due = {now}, earlier = attempt \
     WHERE namespace = {namespace} AND event_id = {event_id} AND +state = 3 RETURNING due";

const DISCARD: &str = "UPDATE roomz_inbox SET state = 2, due = {now} + {retention} \
     WHERE namespace = {namespace} AND event_id = {event_id} AND +state = 3 RETURNING due";

const COUNT_OPEN: &str = "SELECT count(CASE WHEN state = 0 THEN 1 END), count(CASE WHEN state = 1 THEN 1 END), \
       CAST(coalesce({now} - min(received), 0) AS BIGINT) \
     FROM roomz_inbox WHERE state < 2";

const COUNT_DEAD: &str = "SELECT count(*) FROM roomz_inbox WHERE state = 3";

const COUNT_BY_NAMESPACE: &str = "SELECT namespace, \
       count(CASE WHEN state = 0 THEN 1 END), count(CASE WHEN state = 1 THEN 1 END), \
       CAST(coalesce({now} - min(CASE WHEN state < 2 THEN received END), 0) AS BIGINT), \
       count(CASE WHEN state = 3 THEN 1 END) \
     FROM (SELECT namespace, state, received FROM roomz_inbox WHERE state < 2 \
       UNION ALL SELECT namespace, state, received FROM roomz_inbox WHERE state = 3) AS counted \
     GROUP BY namespace ORDER BY namespace";

/// What keeps PostgreSQL from removing dead rows, if there are many: the oldest snapshot, unless it is
/// younger than some transactions.
const DEAD_ROWS: &str = "SELECT n_dead_tup, (SELECT holder FROM \
       (SELECT concat('session ', pid, ' (', application_name, ', ', state, ')') AS holder, \
          greatest(age(backend_xmin), age(backend_xid)) AS age, xact_start AS start FROM pg_stat_activity \
          WHERE pid <> pg_backend_pid() AND (datname = current_database() OR backend_type = 'walsender') \
        UNION ALL SELECT concat('replication slot ', slot_name), age(xmin), NULL FROM pg_replication_slots \
        UNION ALL SELECT concat('prepared transaction ', gid), age(transaction), prepared FROM pg_prepared_xacts \
       ) AS holders WHERE age > 1000 ORDER BY age DESC, start LIMIT 1) \
     FROM pg_stat_user_tables WHERE relid = CAST('roomz_inbox' AS regclass) AND n_dead_tup > 50000";

/// The state and the limit are literals: with parameters, PostgreSQL could plan a scan of the whole table.
const PURGE: &str = "DELETE FROM roomz_inbox WHERE ({row}) IN \
     (SELECT {row} FROM roomz_inbox WHERE state = {number} AND due <= {now} \
      ORDER BY due LIMIT 100 {skip_locked}) RETURNING due";

/// The statements of the table `roomz_inbox`.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) insert: Statement,
    pub(crate) take: Statement,
    /// The same for a step that may be slow: it leaves a connection for the others.
    pub(crate) sweep: Statement,
    pub(crate) give_back_all: Statement,
    pub(crate) update: Statement,
    /// The same with the text of an error.
    pub(crate) fail: Statement,
    pub(crate) complete: Statement,
    /// One for each state.
    pub(crate) list: [Statement; 4],
    pub(crate) get: Statement,
    pub(crate) retry: Statement,
    pub(crate) discard: Statement,
    pub(crate) count_open: Statement,
    pub(crate) count_dead: Statement,
    pub(crate) count_by_namespace: Statement,
    pub(crate) now: Statement,
    /// Of PostgreSQL only.
    pub(crate) dead_rows: Statement,
    /// Of done events and of dead letters.
    pub(crate) purge: [Statement; 2],
}

static STATEMENTS: LazyLock<[Statements; 2]> =
    LazyLock::new(|| [Dialect::Postgres, Dialect::Sqlite].map(Statements::new));

impl Statements {
    /// Returns the statements in the SQL of a database.
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        let [postgres, sqlite] = &*STATEMENTS;
        if dialect == Dialect::Postgres { postgres } else { sqlite }
    }

    fn new(dialect: Dialect) -> Self {
        let key = ["namespace", "event_id"];
        // SQLite returns no column of another table. It has no need to know when an event was due.
        let was_due = if dialect == Dialect::Postgres { "next_due" } else { "due" };
        let single = |text: &str, columns: &[&str]| Statement::single(dialect, text, columns);
        let list = |state: i64| {
            let open = if state < DONE { " AND state < 2" } else { "" };
            let list = LIST.replace("{number}", &state.to_string()).replace("{open}", open);
            single(&format!("{ENTRY} {list}"), &["only", "limit"])
        };
        let purge = |state: i64| {
            let purge = PURGE.replace("{number}", &state.to_string());
            single(&purge, &[]).in_lane(Lane::Background)
        };
        let take =
            || single(&TAKE.replace("{was_due}", was_due), &["owner", "lease", "limit", "start", "end"]);
        let updated = ["namespace", "event_id", "owner", "state", "delay", "attempt", "error"];
        // On SQLite, these also confirm the commits of handlers. Executed before admissions, they would delay
        // them for as long as handlers run.
        let lane = if dialect == Dialect::Postgres { Lane::First } else { Lane::Normal };
        let update = || Statement::update(dialect, &UPDATE, &updated).in_lane(lane);
        Self {
            insert: Statement::batched(dialect, INSERT, &["namespace", "event_id", "body", "traceparent"])
                .confidential(),
            take: take(),
            sweep: take().in_lane(Lane::Background),
            give_back_all: single(GIVE_BACK_ALL, &["owner", "behind"]),
            update: update(),
            fail: update().confidential(),
            complete: single(COMPLETE, &["namespace", "event_id", "owner", "retention"]),
            list: [WAITING, RUNNING, DONE, DEAD].map(list),
            get: single(
                &format!("{ENTRY} WHERE namespace = {{namespace}} AND event_id = {{event_id}}"),
                &key,
            ),
            retry: single(RETRY, &key),
            discard: single(DISCARD, &["namespace", "event_id", "retention"]),
            count_open: single(COUNT_OPEN, &[]).in_lane(Lane::Background),
            count_dead: single(COUNT_DEAD, &[]).in_lane(Lane::Background),
            count_by_namespace: single(COUNT_BY_NAMESPACE, &[]).in_lane(Lane::Background),
            now: single("SELECT {now}", &[]),
            dead_rows: single(DEAD_ROWS, &[]).in_lane(Lane::Background),
            purge: [DONE, DEAD].map(purge),
        }
    }
}
