use std::time::Duration;

/// Pauses that double with each failure, up to a maximum.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
}

impl Backoff {
    /// Returns the pause after this many failures, counted from 1.
    pub fn after(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(3_600) };
        for (failures, pause) in
            [(0, 1), (1, 1), (2, 2), (5, 16), (12, 2_048), (13, 3_600), (40, 3_600), (u32::MAX, 3_600)]
        {
            assert_eq!(backoff.after(failures), Duration::from_secs(pause), "{failures} failures");
        }
    }
}
