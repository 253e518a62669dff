//! In place of the connections: they call the database of the test.

use std::marker::PhantomData;
use std::sync::Arc;

use sqlx::Error;

use crate::Database;
use crate::db::statement::Statement;
use crate::db::suspects::Suspects;
use crate::db::value::{Row, Value};

pub struct Connections<D> {
    pub database: Arc<Database>,
    pub max: u32,
    pub suspects: Suspects,
    pub driver: PhantomData<fn() -> D>,
}

pub struct Held<D>(PhantomData<fn() -> D>);

impl<D> Connections<D> {
    pub async fn open(&self, _open: usize) -> Result<Held<D>, Error> {
        self.database.open().await.map(|()| Held(PhantomData))
    }

    pub async fn fetch(
        &self,
        _held: &mut Held<D>,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> Result<Vec<Row>, Error> {
        self.database.execute(statement, rows).await
    }

    pub async fn ping(&self, _held: &mut Held<D>) -> Result<(), Error> {
        self.database.open().await
    }

    pub async fn close(&self, _held: Held<D>) {}

    pub fn abandon(&self, _held: Held<D>) {}
}

impl<D> Drop for Connections<D> {
    fn drop(&mut self) {
        self.database.workers_ended.notify_one();
    }
}
