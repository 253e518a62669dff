//! The statements that execute several operations.
//!
//! Each locks its rows in the order of their keys, so that two of them never wait for each other.

use roomz_webhook::store::{Claim, ClaimKey, Settled};
use sqlx::{Error, FromRow as _, PgConnection};

use crate::operation::{ClaimOperation, Settlement, id};
use crate::outcomes::{BatchRow, OpenClaims, settled};
use crate::postgres::query::{Parameter, Protocol, fetch};

macro_rules! now {
    () => {
        "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"
    };
}
macro_rules! clock {
    () => {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

/// The single claim, for each row of the arrays. The lease of a row is the difference of two columns, because
/// `DO UPDATE` can refer to `excluded` only.
const CLAIM: &str = concat!(
    "INSERT INTO roomz_claims AS c \
     (namespace, event_id, state, owner, fingerprint, attempt, lease_end, expires) \
     SELECT new.namespace, new.event_id, 0, new.owner, new.fingerprint, 1, ",
    now!(),
    " + new.lease, ",
    now!(),
    " + new.retention \
     FROM unnest($1, $2, $3, $4, $5, $6) AS new (namespace, event_id, owner, fingerprint, lease, retention) \
     WHERE NOT EXISTS (SELECT 1 FROM roomz_claims o \
       WHERE o.namespace = new.namespace AND o.event_id = new.event_id AND o.expires > ",
    now!(),
    " \
       AND (o.state = 2 OR (o.state = 0 AND o.owner <> new.owner AND o.lease_end > ",
    now!(),
    "))) \
     ORDER BY new.namespace COLLATE \"C\", new.event_id \
     ON CONFLICT (namespace, event_id) DO UPDATE SET \
       state = 0, \
       owner = excluded.owner, \
       fingerprint = CASE WHEN c.expires <= ",
    now!(),
    " THEN excluded.fingerprint ELSE c.fingerprint END, \
       attempt = CASE WHEN c.expires <= ",
    now!(),
    " THEN 1 \
         WHEN c.state = 0 AND c.owner = excluded.owner THEN c.attempt ELSE c.attempt + 1 END, \
       lease_end = ",
    clock!(),
    " - ",
    now!(),
    " + excluded.lease_end, \
       expires = ",
    clock!(),
    " - ",
    now!(),
    " + excluded.expires \
     WHERE c.expires <= ",
    now!(),
    " \
       OR c.state = 1 \
       OR (c.state = 0 AND c.owner = excluded.owner) \
       OR (c.state = 0 AND c.lease_end <= ",
    now!(),
    ") \
     RETURNING namespace, event_id, CAST(0 AS BIGINT), attempt, fingerprint"
);

const SELECT: &str = concat!(
    "SELECT c.namespace, c.event_id, CAST(c.state AS BIGINT), c.lease_end - ",
    now!(),
    ", c.fingerprint \
     FROM unnest($1, $2) AS k (namespace, event_id) \
     JOIN roomz_claims c ON c.namespace = k.namespace AND c.event_id = k.event_id \
     WHERE c.expires > ",
    now!()
);

/// Operation 0 renews, 1 completes, 2 releases. A completion that is repeated changes nothing and is confirmed.
const SETTLE: &str = concat!(
    "WITH k AS MATERIALIZED (\
       SELECT c.namespace, c.event_id, new.owner, new.operation, new.duration \
       FROM unnest($1, $2, $3, $4, $5) AS new (namespace, event_id, owner, operation, duration) \
       JOIN roomz_claims c ON c.namespace = new.namespace AND c.event_id = new.event_id \
       WHERE c.owner = new.owner \
       ORDER BY c.namespace, c.event_id FOR UPDATE OF c) \
     UPDATE roomz_claims c SET \
       state = CASE k.operation WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 0 END, \
       lease_end = CASE k.operation WHEN 0 THEN ",
    now!(),
    " + k.duration ELSE c.lease_end END, \
       expires = CASE WHEN k.operation = 0 THEN greatest(c.expires, ",
    now!(),
    " + k.duration) \
         WHEN k.operation = 1 AND c.state = 0 AND c.expires - ",
    now!(),
    " NOT BETWEEN k.duration AND k.duration + k.duration / 1000 THEN ",
    now!(),
    " + k.duration \
         ELSE c.expires END \
     FROM k WHERE c.namespace = k.namespace AND c.event_id = k.event_id AND c.owner = k.owner \
       AND (c.state = 0 OR (c.state = 2 AND k.operation = 1)) AND c.expires > ",
    now!(),
    " \
     RETURNING c.namespace, c.event_id, CAST(0 AS BIGINT), c.attempt, c.fingerprint"
);

pub(crate) async fn claim(
    connection: &mut PgConnection,
    protocol: &Protocol,
    claims: &[&ClaimOperation],
) -> Result<Vec<Claim>, Error> {
    let mut open = OpenClaims::new(claims);
    // The loop repeats only if a row became free between the two statements.
    while !open.is_empty() {
        let mut parameters = keys(open.iter().map(|claim| &claim.key));
        parameters.extend([
            Parameter::ByteArrays(open.iter().map(|claim| claim.owner.to_bytes()).collect()),
            Parameter::ByteArrays(open.iter().map(|claim| claim.fingerprint.to_bytes()).collect()),
            Parameter::Numbers(open.iter().map(|claim| claim.lease_ms).collect()),
            Parameter::Numbers(open.iter().map(|claim| claim.retention_ms).collect()),
        ]);
        open.record_claimed(fetch_rows(connection, protocol, CLAIM, parameters).await?)?;
        if !open.is_empty() {
            let parameters = keys(open.iter().map(|claim| &claim.key));
            open.record_found(fetch_rows(connection, protocol, SELECT, parameters).await?)?;
        }
    }
    Ok(open.into_outcomes())
}

pub(crate) async fn settle(
    connection: &mut PgConnection,
    protocol: &Protocol,
    settlements: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    let each = || settlements.iter();
    let mut parameters = keys(each().map(|one| &one.key));
    parameters.extend([
        Parameter::ByteArrays(each().map(|one| one.owner.to_bytes()).collect()),
        Parameter::Numbers(each().map(|one| one.kind as i64).collect()),
        Parameter::Numbers(each().map(|one| one.duration_ms).collect()),
    ]);
    Ok(settled(settlements, &fetch_rows(connection, protocol, SETTLE, parameters).await?))
}

fn keys<'a>(keys: impl Iterator<Item = &'a ClaimKey>) -> Vec<Parameter<'a>> {
    let (namespaces, ids) = keys.map(|key| (key.namespace(), id(key))).unzip();
    vec![Parameter::Texts(namespaces), Parameter::ByteArrays(ids)]
}

async fn fetch_rows(
    connection: &mut PgConnection,
    protocol: &Protocol,
    sql: &'static str,
    parameters: Vec<Parameter<'_>>,
) -> Result<Vec<BatchRow>, Error> {
    let rows = fetch(connection, protocol, sql, parameters).await?;
    rows.iter().map(BatchRow::from_row).collect()
}
