//! Check 9 and what follows: claim the event, run the inner service, settle the claim.

mod acquire;
mod held;
pub(crate) mod key_map;
mod reclaim;
mod run;
mod settle;

pub(crate) use self::acquire::acquire;
pub(crate) use self::held::HeldClaim;
pub(crate) use self::run::{call_when_ready, run};
pub(crate) use self::settle::settle;
