pub(crate) mod row;
pub(crate) mod scan;
pub(crate) mod statements;
mod update;

use std::sync::Arc;
use std::time::Duration;

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

    /// Makes all events available that this owner took, as if it had not taken them, unless their lease has
    /// been over for longer than this.
    pub(crate) async fn give_back_all(&self, owner: Owner, behind: Duration) -> Result<(), Failed> {
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
#[path = "../../tests/unit/queue.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[cfg(feature = "sqlite")]
#[path = "../../tests/unit/rule.rs"]
mod rule;
