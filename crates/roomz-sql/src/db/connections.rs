use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{ConnectOptions as _, Connection, Error, Pool};

use crate::db::driver::{Driver, Failure, Protocol};
use crate::db::pooled::Pooled;
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
    pub(crate) abandoned: Mutex<Vec<D::Session>>,
}

pub(crate) enum Origin<D: Driver> {
    Url(Box<<D::Connection as Connection>::Options>),
    /// Each batch borrows a connection.
    Pool(Pool<D>),
}

/// What a worker holds.
pub(crate) enum Held<D: Driver> {
    Own { connection: Box<D::Connection>, session: D::Session },
    Pool(Pool<D>),
}

impl<D: Driver> Connections<D> {
    /// Opens a connection that can write. The other workers have `open` connections.
    pub(crate) async fn open(&self, open: usize) -> Result<Held<D>, Error> {
        match &self.origin {
            Origin::Url(options) => {
                let mut connection = options.connect().await?;
                let session = D::session(&mut connection).await?;
                self.check_abandoned(&mut connection, open).await?;
                Ok(Held::Own { connection: Box::new(connection), session })
            }
            Origin::Pool(pool) => {
                // After a restart of the server, every connection in a pool is closed, and only its use shows
                // it.
                let mut retries_left = pool.options().get_max_connections();
                loop {
                    let mut pooled = Pooled::acquire(pool).await?;
                    match D::session(pooled.connection()?).await {
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
            Held::Own { connection, .. } => self.fetch_on(connection, statement, rows).await,
            Held::Pool(pool) => {
                let mut pooled = Pooled::acquire(pool).await?;
                let result = self.fetch_on(pooled.connection()?, statement, rows).await;
                if result.as_ref().err().is_none_or(|error| D::classify(error) != Failure::Broken) {
                    pooled.release();
                }
                result
            }
        }
    }

    /// Executes a statement, and leaves no transaction open, unless the error says that the connection is
    /// broken.
    async fn fetch_on(
        &self,
        connection: &mut D::Connection,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> Result<Vec<Row>, Error> {
        let mut is_repeated = false;
        loop {
            let error = match D::fetch(connection, &self.protocol, statement, rows).await {
                Err(error) if D::classify(&error) != Failure::Broken => error,
                result => return result,
            };
            if let Protocol::Transaction { .. } = self.protocol {
                D::roll_back(connection).await?;
            }
            let code = error.as_database_error().and_then(|error| error.code());
            let is_left = code.is_some_and(|code| D::LEFT_IN_TRANSACTION.contains(&&*code));
            if is_repeated || !is_left || !matches!(self.protocol, Protocol::Transaction { .. }) {
                return Err(error);
            }
            is_repeated = true;
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
            self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(session);
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
        let abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if abandoned.is_empty() {
            return Ok(());
        }
        let active = D::active(connection, &abandoned).await?;
        let mut all = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|session| active.contains(session) || !abandoned.contains(session));
        // Connections that were given up meanwhile are still in `open`.
        if active.len() + open >= self.max as usize {
            return Err(Error::Protocol(format!(
                "the server still executes {} statements of this store; check its locks and its synchronous standby",
                active.len()
            )));
        }
        Ok(())
    }
}
