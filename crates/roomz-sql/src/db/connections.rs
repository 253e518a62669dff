use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{ConnectOptions as _, Connection, Error, Pool};

use crate::db::driver::{Driver, Failure, Protocol, Session, first_row};
use crate::db::pooled::{Pooled, Writer};
use crate::db::statement::Statement;
use crate::db::suspects::Suspects;
use crate::db::value::{Row, Value};

/// Where workers get their connections, and how they send statements.
pub(crate) struct Connections<D: Driver> {
    pub(crate) origin: Origin<D>,
    pub(crate) protocol: Protocol,
    pub(crate) max: u32,
    pub(crate) suspects: Arc<Suspects>,
    /// The sessions of connections that were given up. The server may still execute their statements.
    pub(crate) abandoned: Mutex<Vec<Session>>,
    pub(crate) writer: Option<Writer<D>>,
}

pub(crate) enum Origin<D: Driver> {
    Url(Box<<D::Connection as Connection>::Options>),
    /// Each batch borrows a connection.
    Pool(Pool<D>),
}

/// What a worker holds.
pub(crate) enum Held<D: Driver> {
    Own { connection: Box<D::Connection>, session: Session },
    Pool(Pool<D>),
}

impl<D: Driver> Connections<D> {
    /// Opens a connection that can write. The other workers have `open` connections.
    pub(crate) async fn open(&self, open: usize) -> Result<Held<D>, Error> {
        match &self.origin {
            Origin::Url(options) => {
                let mut connection = options.connect().await?;
                let session = session::<D>(&mut connection).await?;
                self.check_abandoned(&mut connection, open).await?;
                Ok(Held::Own { connection: Box::new(connection), session })
            }
            Origin::Pool(pool) => {
                // After a restart of the server, every connection in a pool is closed, and only its use shows
                // it. Others may have been left in a transaction that was aborted.
                let mut retries_left = pool.options().get_max_connections();
                loop {
                    let mut pooled = Pooled::acquire(pool).await?;
                    match session::<D>(pooled.connection()?).await {
                        Err(Error::Io(_) | Error::Database(_)) if retries_left > 0 => retries_left -= 1,
                        session => {
                            session?;
                            pooled.release();
                            return Ok(Held::Pool(pool.clone()));
                        }
                    }
                }
            }
        }
    }

    /// Executes a statement for several rows of parameters. Returns the rows once they are durable.
    pub(crate) async fn fetch(
        &self,
        held: &mut Held<D>,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> Result<Vec<Row>, Error> {
        match held {
            Held::Own { connection, .. } => {
                let _turn = match &self.writer {
                    Some(writer) => Some(writer.lock().await),
                    None => None,
                };
                self.fetch_on(connection, statement, rows, &mut false).await
            }
            Held::Pool(pool) => {
                let mut pooled = Pooled::acquire(pool).await?;
                let mut is_left = false;
                let result = self.fetch_on(pooled.connection()?, statement, rows, &mut is_left).await;
                pooled.is_left = is_left;
                if result.as_ref().err().is_none_or(|error| D::classify(error) != Failure::Broken) {
                    pooled.release();
                }
                result
            }
        }
    }

    /// Executes a statement, and leaves no transaction open, unless the error says that the connection is
    /// broken. `is_left` becomes true if someone had left the connection inside a transaction or read-only.
    async fn fetch_on(
        &self,
        connection: &mut D::Connection,
        statement: &'static Statement,
        rows: &[&[Value]],
        is_left: &mut bool,
    ) -> Result<Vec<Row>, Error> {
        loop {
            let result = D::fetch(connection, &self.protocol, statement, rows).await;
            let (Err(error), Protocol::Transaction { .. }) = (&result, &self.protocol) else { return result };
            let was_left = D::is_left(error);
            if was_left || D::classify(error) != Failure::Broken {
                D::roll_back(connection).await?;
            }
            if *is_left || !was_left {
                return result;
            }
            *is_left = true;
        }
    }

    /// Tests an idle connection. A pool tests its own.
    pub(crate) async fn ping(&self, held: &mut Held<D>) -> Result<(), Error> {
        match held {
            Held::Own { connection, .. } => connection.ping().await,
            Held::Pool(_) => Ok(()),
        }
    }

    /// Closes a connection that stopped replying, without waiting for the server.
    pub(crate) fn abandon(&self, held: Held<D>) {
        // A pooler has its own sessions: those of another client could be counted.
        if let (Held::Own { session, .. }, Protocol::Prepared) = (held, &self.protocol) {
            self.abandoned().push(session);
        }
    }

    pub(crate) async fn close(&self, held: Held<D>) {
        if let Held::Own { connection, .. } = held {
            let _ = connection.close().await;
        }
    }

    /// Fails if the server still executes so many statements of closed connections that this connection would
    /// exceed the maximum. This happens when commits hang because a synchronous standby is missing.
    async fn check_abandoned(&self, connection: &mut D::Connection, open: usize) -> Result<(), Error> {
        let before = self.abandoned().clone();
        if before.is_empty() {
            return Ok(());
        }
        let rows = D::script(connection, D::ACTIVE).await?;
        let active: Vec<_> = rows.iter().map(read_session).collect::<Result<_, _>>()?;
        let mut abandoned = self.abandoned();
        // Not those that were given up after the query.
        abandoned.retain(|session| active.contains(session) || !before.contains(session));
        // Connections that are given up now may count twice, and the next attempt counts them once.
        if abandoned.len() + open >= self.max as usize {
            return Err(Error::Protocol(format!(
                "the server still executes {} statements of this store; check its locks and its synchronous standby",
                abandoned.len()
            )));
        }
        Ok(())
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<Session>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the session of a connection. Fails if the database accepts no writes.
async fn session<D: Driver>(connection: &mut D::Connection) -> Result<Session, Error> {
    let row = first_row::<D>(connection, D::SESSION).await?;
    if row.number(2)? == 1 {
        let message = "the database accepts no writes; use the address of the primary server";
        return Err(Error::Protocol(message.into()));
    }
    read_session(&row)
}

fn read_session(row: &Row) -> Result<Session, Error> {
    Ok((row.number(0)?, row.number(1)?))
}
