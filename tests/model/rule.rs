/// What a store knows of one event: the claim's state machine in its shortest form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    #[default]
    Absent,
    Running {
        owner: u8,
        attempt: u32,
        lease: Lease,
    },
    Free {
        attempt: u32,
    },
    Done {
        owner: u8,
    },
}

/// The end of a lease lies between two times, because only the store knows when a call took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

/// When a call took effect: between these two times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Claim { lease: u64 },
    Renew { lease: u64 },
    Complete,
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Claimed(u32),
    InFlight,
    Done,
    Applied,
    Lost,
}

/// A part of the rule that a test removes, to see that its absence is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Without {
    Nothing,
    /// A settlement of anybody is applied.
    OwnerCheck,
    /// A claim of anybody is granted.
    Lease,
}

impl Moment {
    pub(crate) fn at(time: u64) -> Self {
        Self { begin: time, end: time }
    }

    fn lease(self, length: u64) -> Lease {
        Lease { earliest: self.begin + length, latest: self.end.saturating_add(length) }
    }
}

impl Event {
    /// The replies that a store may give to a call of `owner`, each with the state after it. There are two if
    /// nobody but the store knows whether the lease was over.
    pub(crate) fn replies(
        self,
        owner: u8,
        call: Call,
        moment: Moment,
        without: Without,
    ) -> impl Iterator<Item = (Reply, Self)> {
        let grant = |attempt, length| {
            let lease = moment.lease(length);
            (Reply::Claimed(attempt), Self::Running { owner, attempt, lease })
        };
        let unchanged = |reply| (reply, self);
        let (first, second) = match (call, self) {
            (Call::Claim { lease }, Self::Absent) => (Some(grant(1, lease)), None),
            (Call::Claim { lease }, Self::Free { attempt }) => (Some(grant(attempt + 1, lease)), None),
            (Call::Claim { lease }, Self::Running { owner: holder, attempt, .. }) if holder == owner => {
                (Some(grant(attempt, lease)), None)
            }
            (Call::Claim { lease }, Self::Running { attempt, lease: held, .. }) => {
                let is_over = moment.end >= held.earliest || without == Without::Lease;
                let is_live = moment.begin < held.latest;
                (is_over.then(|| grant(attempt + 1, lease)), is_live.then(|| unchanged(Reply::InFlight)))
            }
            (Call::Claim { .. }, Self::Done { .. }) => (Some(unchanged(Reply::Done)), None),
            (Call::Complete, Self::Done { owner: holder }) if holder == owner => {
                (Some(unchanged(Reply::Applied)), None)
            }
            (_, Self::Running { owner: holder, attempt, .. })
                if holder == owner || without == Without::OwnerCheck =>
            {
                let state = match call {
                    Call::Renew { lease } => {
                        Self::Running { owner: holder, attempt, lease: moment.lease(lease) }
                    }
                    Call::Complete => Self::Done { owner },
                    Call::Claim { .. } | Call::Release => Self::Free { attempt },
                };
                (Some((Reply::Applied, state)), None)
            }
            (_, _) => (Some(unchanged(Reply::Lost)), None),
        };
        [first, second].into_iter().flatten()
    }
}
