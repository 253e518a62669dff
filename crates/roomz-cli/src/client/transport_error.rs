/// An attempt without a response.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransportError {
    /// What happened, short: such attempts are counted under it.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) advice: &'static str,
}

impl TransportError {
    pub(crate) fn new(cause: impl Into<String>, advice: &'static str) -> Self {
        Self { cause: cause.into(), advice }
    }

    pub(super) fn timeout(seconds: f64) -> Self {
        Self::new(
            format!("no response within {seconds} s"),
            "check that the receiver is running; raise --timeout if it is slow",
        )
    }

    pub(super) fn unknown_host(host: &str) -> Self {
        Self::new(format!("the host name {host:?} cannot be resolved"), "check the host of the URL")
    }
}
