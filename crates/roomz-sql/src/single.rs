//! Operations that are executed one at a time, with the same code for both databases.

use std::time::{Duration, Instant};

use roomz_webhook::store::{Claim, ClaimState, Owner, Settled};
use sqlx::Error;

use crate::operation::{ClaimOperation, Purged, Settlement, SettlementKind, id};
use crate::statements::{DONE, FREE, RUNNING, Statements};

/// A connection, and the statements of its database.
pub(crate) trait Session: Send {
    fn statements(&self) -> &'static Statements;

    /// Executes a statement, and returns all rows: the statement is committed only after its last row.
    fn fetch(
        &mut self,
        sql: &'static str,
        values: Vec<Value<'_>>,
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send;
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Bytes([u8; 16]),
    Number(i64),
}

/// The row type of every statement.
pub(crate) type Row = (i64, i64, bool);

pub(crate) async fn claim(session: &mut impl Session, claim: &ClaimOperation) -> Result<Claim, Error> {
    let statements = session.statements();
    let (namespace, id) = (Value::Text(claim.key.namespace()), Value::Bytes(id(&claim.key)));
    let fingerprint = Value::Bytes(claim.fingerprint.to_bytes());
    // The loop repeats only if the row became free between the two statements.
    loop {
        let values = vec![
            namespace,
            id,
            Value::Bytes(claim.owner.to_bytes()),
            fingerprint,
            Value::Number(claim.lease_ms),
            Value::Number(claim.retention_ms),
        ];
        let claimed = session.fetch(statements.claim, values).await?;
        if let [(attempt, _, matches)] = claimed[..] {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            return Ok(Claim::new(ClaimState::claimed(attempt), matches));
        }
        let row = session.fetch(statements.select, vec![namespace, id, fingerprint]).await?;
        if let [(state, remaining, matches)] = row[..]
            && let Some(state) = state_of(state, remaining)?
        {
            return Ok(Claim::new(state, matches));
        }
    }
}

/// Returns the state of a row that this claim did not get, or `None` if the row is free now.
pub(crate) fn state_of(state: i64, remaining_ms: i64) -> Result<Option<ClaimState>, Error> {
    match (state, remaining_ms) {
        (DONE, _) => Ok(Some(ClaimState::Done)),
        (RUNNING, 1..) => {
            Ok(Some(ClaimState::in_flight(Duration::from_millis(remaining_ms.unsigned_abs()))))
        }
        (FREE | RUNNING, _) => Ok(None),
        // Another claim would find the same state, so the loop would never end.
        _ => Err(Error::Decode(
            "unknown claim state in `roomz_claims`; a newer version of roomz-sql wrote it: update this instance".into(),
        )),
    }
}

pub(crate) async fn settle(session: &mut impl Session, settlement: &Settlement) -> Result<Settled, Error> {
    let statements = session.statements();
    let mut values = vec![
        Value::Text(settlement.key.namespace()),
        Value::Bytes(id(&settlement.key)),
        Value::Bytes(settlement.owner.to_bytes()),
    ];
    let duration = Value::Number(settlement.duration_ms);
    let statement = match settlement.kind {
        SettlementKind::Renew => {
            values.push(duration);
            statements.renew
        }
        SettlementKind::Complete => {
            values.push(duration);
            statements.complete
        }
        SettlementKind::Release => statements.release,
    };
    let rows = session.fetch(statement, values).await?;
    Ok(if rows.is_empty() { Settled::Lost } else { Settled::Applied })
}

/// Deletes one batch of expired rows.
pub(crate) async fn purge(session: &mut impl Session) -> Result<Purged, Error> {
    let start = Instant::now();
    let rows = session.fetch(session.statements().purge, vec![Value::Number(1)]).await?;
    Ok(Purged { rows: rows.len() as u64, duration: start.elapsed() })
}

/// Executes every statement of a single operation on a random key. The caller rolls the transaction back.
pub(crate) async fn self_test(session: &mut impl Session) -> Result<(), Error> {
    let statements = session.statements();
    let (bits, minute) = (Owner::random().to_bytes(), Value::Number(60_000));
    let key = [Value::Text("roomz self-test"), Value::Bytes(bits), Value::Bytes(bits)];
    let [namespace, id, owner] = key;
    for (statement, values) in [
        (statements.claim, vec![namespace, id, owner, owner, minute, minute]),
        (statements.select, key.to_vec()),
        (statements.renew, vec![namespace, id, owner, minute]),
        (statements.release, key.to_vec()),
        (statements.complete, vec![namespace, id, owner, minute]),
        (statements.purge, vec![Value::Number(0)]),
    ] {
        session.fetch(statement, values).await?;
    }
    Ok(())
}
