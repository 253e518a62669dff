//! The statements that execute several operations.
//!
//! Each locks its rows in the order of their keys, so that two of them never wait for each other.

use std::collections::HashSet;

use roomz_webhook::store::{Claim, ClaimKey, ClaimState, Settled};
use sqlx::{Error, FromRow as _, PgConnection};

use crate::operation::{ClaimOperation, Settlement, id};
use crate::postgres::query::{Parameter, Protocol, fetch};
use crate::single::state_of;

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
         WHEN k.operation = 1 AND c.state = 0 THEN ",
    now!(),
    " + k.duration \
         ELSE c.expires END \
     FROM k WHERE c.namespace = k.namespace AND c.event_id = k.event_id AND c.owner = k.owner \
       AND (c.state = 0 OR (c.state = 2 AND k.operation = 1)) AND c.expires > ",
    now!(),
    " \
     RETURNING c.namespace, c.event_id, CAST(0 AS BIGINT), c.attempt, c.fingerprint"
);

/// A row of a batch: the key, the state or 0, the attempt or the remaining lease, and the fingerprint.
type BatchRow = (String, Vec<u8>, i64, i64, Vec<u8>);

pub(crate) async fn claim(
    connection: &mut PgConnection,
    protocol: &Protocol,
    claims: &[&ClaimOperation],
) -> Result<Vec<Claim>, Error> {
    let mut open: Vec<_> = claims.iter().copied().enumerate().collect();
    let mut outcomes = vec![None; claims.len()];
    // The loop repeats only if a row became free between the two statements.
    while !open.is_empty() {
        let each = || open.iter().map(|(_, claim)| *claim);
        let keys = [
            Parameter::Texts(each().map(|claim| claim.key.namespace()).collect()),
            Parameter::ByteArrays(each().map(|claim| id(&claim.key)).collect()),
        ];
        let parameters = vec![
            Parameter::ByteArrays(each().map(|claim| claim.owner.to_bytes()).collect()),
            Parameter::ByteArrays(each().map(|claim| claim.fingerprint.to_bytes()).collect()),
            Parameter::Numbers(each().map(|claim| claim.lease_ms).collect()),
            Parameter::Numbers(each().map(|claim| claim.retention_ms).collect()),
        ];
        let parameters = [keys.clone().to_vec(), parameters].concat();
        let mut rows = fetch(connection, protocol, CLAIM, parameters).await?;
        let claimed = rows.len();
        if claimed < open.len() {
            rows.extend(fetch(connection, protocol, SELECT, keys.to_vec()).await?);
        }
        for (position, row) in rows.iter().enumerate() {
            let (namespace, event_id, state, number, fingerprint) = BatchRow::from_row(row)?;
            let state = if position < claimed {
                Some(ClaimState::claimed(u32::try_from(number).unwrap_or(u32::MAX)))
            } else {
                state_of(state, number)?
            };
            let Some(state) = state else { continue };
            // The second statement also finds the rows that the first one claimed: they are not open any more.
            let is_same = |key: &ClaimKey| id(key)[..] == event_id[..] && key.namespace() == namespace;
            let Some(found) = open.iter().position(|(_, claim)| is_same(&claim.key)) else { continue };
            let (index, claim) = open.swap_remove(found);
            let matches = fingerprint == claim.fingerprint.to_bytes();
            if let Some(outcome) = outcomes.get_mut(index) {
                *outcome = Some(Claim::new(state, matches));
            }
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

pub(crate) async fn settle(
    connection: &mut PgConnection,
    protocol: &Protocol,
    settlements: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    let each = || settlements.iter();
    let parameters = vec![
        Parameter::Texts(each().map(|one| one.key.namespace()).collect()),
        Parameter::ByteArrays(each().map(|one| id(&one.key)).collect()),
        Parameter::ByteArrays(each().map(|one| one.owner.to_bytes()).collect()),
        Parameter::Numbers(each().map(|one| one.kind as i64).collect()),
        Parameter::Numbers(each().map(|one| one.duration_ms).collect()),
    ];
    let mut applied = HashSet::new();
    for row in fetch(connection, protocol, SETTLE, parameters).await? {
        let (namespace, event_id, ..) = BatchRow::from_row(&row)?;
        applied.insert((namespace, event_id));
    }
    let outcome = |one: &&Settlement| {
        let key = (one.key.namespace().to_owned(), id(&one.key).to_vec());
        if applied.contains(&key) { Settled::Applied } else { Settled::Lost }
    };
    Ok(each().map(outcome).collect())
}
