use std::time::Duration;

/// Pauses that double from attempt to attempt, up to a maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The pause after this failed attempt, counted from 1: the full pause, less a random part of up to a half.
    pub(crate) fn after(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.min.saturating_mul(factor).min(self.max);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(3_600) };
        for (attempt, full) in
            [(1, 1), (2, 2), (5, 16), (12, 2_048), (13, 3_600), (40, 3_600), (u32::MAX, 3_600)]
        {
            let pause = backoff.after(attempt);
            let full = Duration::from_secs(full);
            assert!(full / 2 <= pause && pause <= full, "attempt {attempt}: {pause:?}");
        }
    }
}
