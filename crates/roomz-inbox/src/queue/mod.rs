pub(crate) mod row;
pub(crate) mod scan;
pub(crate) mod statements;
mod update;

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::pool::{Pool, Transaction};
use roomz_sql::db::queue::{Failed, Operation};
use roomz_sql::db::statement::Statement;
use roomz_sql::db::value::{Row, Value};
use roomz_sql::db::worker::Workers;
use roomz_webhook::store::{ClaimKey, Owner};
use sqlx::Error;

use crate::entry::{InboxEntry, InboxStats};
use crate::queue::row::{TakenEvent, duration, millis};
use crate::queue::scan::{Scan, last, timed_out};
use crate::queue::statements::Statements;

pub(crate) use crate::queue::update::OwnerUpdate;

/// The table `roomz_inbox`. Insertions and changes by owners are executed together with others that wait.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    workers: Arc<Workers>,
    /// For the transactions of handlers.
    pub(crate) pool: Pool,
    statements: &'static Statements,
}

impl Queue {
    pub(crate) fn new(workers: Workers, pool: Pool) -> Self {
        let statements = Statements::of(workers.dialect());
        Self { workers: Arc::new(workers), pool, statements }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.workers.dialect()
    }

    /// Adds an event. Returns true if it is new; then it is durable.
    pub(crate) async fn insert(
        &self,
        key: &ClaimKey,
        body: &[u8],
        traceparent: Option<&str>,
    ) -> Result<bool, Failed> {
        let [namespace, id] = Value::key(key);
        let values =
            vec![namespace, id, Value::Bytes(body.to_vec()), traceparent.map_or(Value::Null, Value::from)];
        // If the reply was lost, the repetition finds a duplicate.
        Ok(!self.execute(&self.statements.insert, values).await?.is_empty())
    }

    /// Takes events whose attempt is due, under a lease of this owner. A row that cannot be read does not
    /// fail the others. Returns whether there may be more that are due, too.
    pub(crate) async fn take(
        &self,
        owner: Owner,
        lease: Duration,
        limit: usize,
        scan: &mut Scan,
    ) -> Result<(Vec<Result<TakenEvent, Error>>, bool), Failed> {
        if scan.needs_time() {
            let rows = self.execute(&self.statements.now, Vec::new()).await?;
            scan.begin_at(rows.first().map_or(Ok(0), |row| row.number(0))?);
        }
        let range = scan.range();
        let max = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut values = vec![Value::from(&owner.to_bytes()), millis(lease).into(), max.into()];
        values.extend(range.values());
        let statement = if range.may_be_slow { &self.statements.sweep } else { &self.statements.take };
        let operation = Operation { statement, values, is_retry_safe: false };
        let rows = self.workers.finish(operation).await;
        let rows = rows.inspect_err(|failed| scan.failed(range, timed_out(failed)))?;
        let is_full = rows.len() >= limit;
        scan.found(range, last(&rows), is_full);
        let has_more = is_full || !range.covers_now();
        let read = |row: Row| {
            let name = row::name(&row);
            TakenEvent::try_from(row).map_err(|error| Error::Decode(format!("{name}: {error}").into()))
        };
        Ok((rows.into_iter().map(read).collect(), has_more))
    }

    /// Makes all events available that this owner took after this time, as if it had not taken them.
    pub(crate) async fn give_back_all(&self, owner: Owner, after: Instant) -> Result<(), Failed> {
        // A lease ends later than it began: a second for the clocks.
        let behind = after.elapsed() + Duration::from_secs(1);
        let values = vec![Value::from(&owner.to_bytes()), millis(behind).into()];
        self.execute(&self.statements.give_back_all, values).await.map(drop)
    }

    /// Changes an event, and its number of attempts. Returns its age, or `None` if this owner does not hold
    /// it.
    pub(crate) async fn update(
        &self,
        key: &ClaimKey,
        owner: Owner,
        attempts: u32,
        update: OwnerUpdate<'_>,
    ) -> Result<Option<Duration>, Failed> {
        let statement = match update {
            OwnerUpdate::RetryAfter { .. } | OwnerUpdate::Dead { .. } => &self.statements.fail,
            _ => &self.statements.update,
        };
        let rows = self.execute(statement, update.values(key, owner, attempts)).await?;
        Ok(rows.first().map(|row| row.number(2).map(duration)).transpose()?)
    }

    /// Completes the event in the transaction of its handler, and commits. Returns the age of the event.
    /// Fails if this owner does not hold it.
    pub(crate) async fn commit(
        &self,
        transaction: Box<dyn Transaction>,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Duration, Error> {
        let [namespace, id] = Value::key(key);
        let values = [namespace, id, Value::from(&owner.to_bytes()), millis(retention).into()];
        let rows = transaction.commit(&self.statements.complete, &values).await?;
        rows.first().ok_or(Error::RowNotFound)?.number(0).map(duration)
    }

    /// Returns the events in this state that are due first, of one or of all namespaces.
    pub(crate) async fn list(
        &self,
        namespace: Option<&str>,
        state: i64,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, Failed> {
        let list = usize::try_from(state).ok().and_then(|state| self.statements.list.get(state));
        let statement = list.ok_or(Error::RowNotFound)?;
        let namespace = namespace.map_or(Value::Null, Value::from);
        let rows = self.execute(statement, vec![namespace, i64::from(limit).into()]).await?;
        Ok(rows.iter().map(InboxEntry::from_row).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn get(&self, key: &ClaimKey) -> Result<Option<InboxEntry>, Failed> {
        let rows = self.execute(&self.statements.get, Value::key(key).to_vec()).await?;
        Ok(rows.first().map(InboxEntry::from_row).transpose()?)
    }

    /// Makes a dead letter available again. Returns false if there is none.
    pub(crate) async fn retry(&self, key: &ClaimKey) -> Result<bool, Failed> {
        self.change_dead(&self.statements.retry, Value::key(key).to_vec()).await
    }

    /// Ends a dead letter. Returns false if there is none.
    pub(crate) async fn discard(&self, key: &ClaimKey, retention: Duration) -> Result<bool, Failed> {
        let [namespace, id] = Value::key(key);
        let values = vec![namespace, id, millis(retention).into()];
        self.change_dead(&self.statements.discard, values).await
    }

    /// If the reply was lost, the repetition would report that there is no dead letter.
    async fn change_dead(&self, statement: &'static Statement, values: Vec<Value>) -> Result<bool, Failed> {
        let operation = Operation { statement, values, is_retry_safe: false };
        Ok(!self.workers.execute(operation).await?.is_empty())
    }

    /// Counts the events that wait or run. `dead` stays 0.
    pub(crate) async fn open(&self) -> Result<InboxStats, Failed> {
        let rows = self.execute(&self.statements.count_open, Vec::new()).await?;
        Ok(rows.first().map_or(Ok(InboxStats::default()), |row| InboxStats::from_row(row, 0))?)
    }

    /// Counts the dead letters, of which there may be far more than open events.
    pub(crate) async fn dead(&self) -> Result<u64, Failed> {
        let rows = self.execute(&self.statements.count_dead, Vec::new()).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.number(0))?.unsigned_abs())
    }

    pub(crate) async fn stats(&self) -> Result<InboxStats, Failed> {
        Ok(InboxStats { dead: self.dead().await?, ..self.open().await? })
    }

    pub(crate) async fn stats_by_namespace(&self) -> Result<Vec<(String, InboxStats)>, Failed> {
        let rows = self.execute(&self.statements.count_by_namespace, Vec::new()).await?;
        let read = |row: &Row| {
            let dead = row.number(4)?.unsigned_abs();
            Ok((row.text(0)?.to_owned(), InboxStats { dead, ..InboxStats::from_row(row, 1)? }))
        };
        Ok(rows.iter().map(read).collect::<Result<_, Error>>()?)
    }

    /// Returns how many dead rows PostgreSQL keeps, if there are many, and what keeps it from removing them.
    pub(crate) async fn dead_rows(&self) -> Result<Option<(i64, Option<String>)>, Failed> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        let rows = self.execute(&self.statements.dead_rows, Vec::new()).await?;
        Ok(rows.first().map(|row| Ok::<_, Error>((row.number(0)?, row::text(row, 1)?))).transpose()?)
    }

    /// Deletes a few rows whose retention is over. Returns 0 if there are no more.
    pub(crate) async fn purge(&self) -> Result<usize, Failed> {
        let mut deleted = 0;
        for statement in &self.statements.purge {
            deleted += self.execute(statement, Vec::new()).await?.len();
        }
        Ok(deleted)
    }

    /// Executes a statement that has the same effect when it is executed again.
    async fn execute(&self, statement: &'static Statement, values: Vec<Value>) -> Result<Vec<Row>, Failed> {
        self.workers.execute(Operation { statement, values, is_retry_safe: true }).await
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
pub(crate) mod tests {
    use super::*;
    use crate::queue::statements::{DEAD, DONE, RUNNING, WAITING};
    use roomz_sql::db::connect::connect;
    use roomz_sql::db::settings::Settings;

    const HOUR: Duration = Duration::from_hours(1);

    pub(crate) async fn queue(url: String) -> Queue {
        let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
        let (workers, pool) = connect(url.into(), &settings).await.unwrap();
        Queue::new(workers, pool)
    }

    pub(crate) fn sqlite_url(directory: &tempfile::TempDir) -> String {
        format!("sqlite://{}/inbox.db", directory.path().display())
    }

    pub(crate) fn key(namespace: &str, number: u128) -> ClaimKey {
        ClaimKey::new(namespace.into(), roomz_webhook::roomz_protocol::Uuid::from_u128(number).into())
    }

    /// Executes a statement as it is.
    pub(crate) async fn change(queue: &Queue, text: &str) {
        let statement = Box::leak(Box::new(Statement::single(queue.dialect(), text, &[])));
        queue.execute(statement, Vec::new()).await.unwrap();
    }

    /// A reply can be lost, and the worker then records the outcome again.
    #[tokio::test]
    async fn outcome_can_be_recorded_again() {
        let directory = tempfile::tempdir().unwrap();
        let queue = queue(sqlite_url(&directory)).await;
        let key = key("roomz", 1);
        assert!(queue.insert(&key, b"body", None).await.unwrap());
        let take = async || {
            let owner = Owner::random();
            let taken = queue.take(owner, HOUR, 1, &mut Scan::new(Dialect::Sqlite)).await.unwrap().0;
            assert_eq!(taken.len(), 1);
            owner
        };
        let update = async |owner, attempts, update| {
            queue.update(&key, owner, attempts, update).await.unwrap().is_some()
        };
        let retry = OwnerUpdate::RetryAfter { pause: Duration::ZERO, error: "failed" };
        let (dead, done) =
            (OwnerUpdate::Dead { retention: HOUR, error: "dead" }, OwnerUpdate::Complete { retention: HOUR });

        let first = take().await;
        for _ in 0..2 {
            assert!(update(first, 1, retry).await);
        }
        let second = take().await;
        assert!(!update(first, 1, retry).await);
        for _ in 0..2 {
            assert!(update(second, 2, dead).await);
        }
        // A person retries it. The late repetition does not end it again.
        assert!(queue.retry(&key).await.unwrap());
        assert!(!update(second, 2, dead).await);

        let third = take().await;
        for _ in 0..2 {
            let log_len = || std::fs::metadata(directory.path().join("inbox.db-wal")).unwrap().len();
            let before = log_len();
            assert!(update(third, 3, done).await);
            assert!(log_len() > before, "nothing was written, so nothing was synced");
        }
        assert!(!update(third, 3, dead).await);
        assert!(!update(second, 2, done).await);
    }

    /// A worker takes again at once if there may be more, and only then.
    #[tokio::test]
    async fn take_says_whether_more_may_be_due() {
        let directory = tempfile::tempdir().unwrap();
        let queue = queue(sqlite_url(&directory)).await;
        for number in 0..3 {
            assert!(queue.insert(&key("roomz", number), b"body", None).await.unwrap());
        }
        let take = async |scan: &mut Scan| {
            let (taken, has_more) = queue.take(Owner::random(), HOUR, 2, scan).await.unwrap();
            (taken.len(), has_more)
        };
        let mut scan = Scan::new(Dialect::Sqlite);
        for expected in [(2, true), (1, false), (0, false)] {
            assert_eq!(take(&mut scan).await, expected);
        }
        // A step of a sweep says nothing about what became due after it.
        let mut scan = Scan::new(Dialect::Postgres);
        scan.failed(scan.range(), true);
        assert_eq!(take(&mut scan).await, (0, true));
    }

    /// Somebody must find the row that the log line is about.
    #[tokio::test]
    async fn unreadable_row_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let queue = queue(sqlite_url(&directory)).await;
        change(
            &queue,
            "INSERT INTO roomz_inbox VALUES ('floors', x'0aff', 0, 0, 0, x'00', 0, 0, '', NULL, NULL)",
        )
        .await;
        let (taken, _) = queue.take(Owner::random(), HOUR, 1, &mut Scan::new(Dialect::Sqlite)).await.unwrap();
        let error = taken.into_iter().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("event 0aff in the namespace \"floors\": "), "{error}");
    }

    /// A sweep has steps after a statement that took too long, and after no other failure.
    #[tokio::test]
    async fn only_timeouts_lead_to_steps() {
        assert!(timed_out(&Failed::TimedOut) && !timed_out(&Failed::RuntimeEnded));
        let Some(url) = roomz_tests::postgres_url_or_skip() else { return };
        let queue = queue(url).await;
        for (code, is_timeout) in [("57014", true), ("P0001", false)] {
            let text = format!("DO $$ BEGIN RAISE 'failed' USING ERRCODE = '{code}'; END $$");
            let statement = Box::leak(Box::new(Statement::single(queue.dialect(), &text, &[])));
            let failed = queue.execute(statement, Vec::new()).await.unwrap_err();
            assert_eq!(timed_out(&failed), is_timeout, "{failed:?}");
        }
    }

    /// Changes that wait together are one statement. Each has the outcome that it has alone.
    #[tokio::test]
    async fn batched_changes_have_their_own_outcomes() {
        let directory = tempfile::tempdir().unwrap();
        for url in [Some(sqlite_url(&directory)), roomz_tests::postgres_url_or_skip()].into_iter().flatten() {
            let queue = queue(url).await;
            let namespace = format!("batch {:032x}", rand::random::<u128>());
            let key = |number: u128| key(&namespace, number);
            let mut events = tokio::task::JoinSet::new();
            for number in 0..60 {
                let (queue, key) = (queue.clone(), key(number));
                events.spawn(async move { queue.insert(&key, b"body", None).await.unwrap() });
            }
            assert!(events.join_all().await.into_iter().all(|is_new| is_new));
            let owner = Owner::random();
            while !queue.take(owner, HOUR, 1_000, &mut Scan::new(queue.dialect())).await.unwrap().0.is_empty()
            {
            }

            let mut changes = tokio::task::JoinSet::new();
            for number in 0..60_u32 {
                let (queue, key) = (queue.clone(), key(number.into()));
                changes.spawn(async move {
                    let update = match number % 5 {
                        0 => OwnerUpdate::Renew { lease: HOUR },
                        1 => OwnerUpdate::Complete { retention: HOUR },
                        2 => OwnerUpdate::RetryAfter { pause: HOUR, error: "failed" },
                        3 => OwnerUpdate::Dead { retention: HOUR, error: "dead" },
                        _ => OwnerUpdate::GiveBack,
                    };
                    let is_owner = number % 7 != 0;
                    let owner = if is_owner { owner } else { Owner::random() };
                    let is_changed = queue.update(&key, owner, number, update).await.unwrap().is_some();
                    assert_eq!(is_changed, is_owner, "{number}");
                });
            }
            changes.join_all().await;
            for number in 0..60_u32 {
                let entry = queue.get(&key(number.into())).await.unwrap().unwrap();
                let found = (entry.state.number(), entry.attempts, entry.error.as_deref());
                let expected = match number % 5 {
                    _ if number % 7 == 0 => (RUNNING, 1, None),
                    0 => (RUNNING, number, None),
                    1 => (DONE, number, None),
                    2 => (WAITING, number, Some("failed")),
                    3 => (DEAD, number, Some("dead")),
                    _ => (WAITING, number, None),
                };
                assert_eq!(found, expected, "{number}");
            }
        }
    }

    /// The log line must name who keeps the dead rows.
    #[tokio::test]
    async fn dead_rows_name_the_session() {
        use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

        let Some(server) = roomz_tests::Server::postgres_or_skip(&["autovacuum=off"]) else { return };
        let url = server.postgres_url();
        let queue = queue(url.clone()).await;
        let fill = "INSERT INTO roomz_inbox SELECT '', CAST(md5(CAST(i AS TEXT)) AS BYTEA), 2, 0, 0, '', 1, 0, '', NULL \
                    FROM generate_series(1, 50001) i; DELETE FROM roomz_inbox";
        let burn = "DO $$ BEGIN FOR i IN 1..1100 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$";
        let mut other = PgConnection::connect(&url).await.unwrap();
        assert_eq!(queue.dead_rows().await.unwrap(), None);
        for has_snapshot in [false, true] {
            let mut holder = PgConnection::connect(&url).await.unwrap();
            if has_snapshot {
                holder
                    .execute("SET application_name = 'pg_dump'; BEGIN ISOLATION LEVEL REPEATABLE READ")
                    .await
                    .unwrap();
                holder.execute("SELECT 1 FROM roomz_inbox").await.unwrap();
            }
            for script in [fill, burn] {
                other.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
            }
            // A session reports its statistics when it ends.
            other.close().await.unwrap();
            other = PgConnection::connect(&url).await.unwrap();
            let (count, held_by) = queue.dead_rows().await.unwrap().unwrap();
            assert!(count > 50_000, "{count}");
            let name = held_by.as_deref().unwrap_or_default();
            assert_eq!(name.contains("(pg_dump, idle in transaction)"), has_snapshot, "{name}");
            assert_eq!(held_by.is_some(), has_snapshot, "{name}");
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
#[path = "../../tests/unit/rule.rs"]
mod rule;
