use std::time::Duration;

use roomz_webhook::roomz_protocol::Uuid;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, Owner};

use crate::operation::{ClaimOperation, Settlement, SettlementKind};

const MINUTE: Duration = Duration::from_secs(60);

/// Batches that execute every statement of a batch. The caller rolls the transaction back.
pub(crate) struct SelfTest {
    pub(crate) claims: [ClaimOperation; 2],
    /// Claims of the same events by another owner.
    pub(crate) duplicates: [ClaimOperation; 2],
    pub(crate) completions: [Settlement; 2],
}

impl SelfTest {
    pub(crate) fn new() -> Self {
        let keys = [random_key(), random_key()];
        let owner = Owner::random();
        let claims = |owner| {
            let request = ClaimRequest::new(owner, Fingerprint::of(b""), MINUTE, MINUTE);
            keys.each_ref().map(|key| ClaimOperation::new(key, &request))
        };
        let complete = |key| Settlement::new(key, owner, SettlementKind::Complete, MINUTE);
        Self {
            claims: claims(owner),
            duplicates: claims(Owner::random()),
            completions: keys.each_ref().map(complete),
        }
    }
}

/// Several instances may test at once.
fn random_key() -> ClaimKey {
    let id = Uuid::from_bytes(Owner::random().to_bytes());
    ClaimKey::new("roomz self-test".into(), id.into())
}
