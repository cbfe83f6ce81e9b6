//! A time budget that several stages share: the wait for the row and the read of its blob (spec 7).

use std::time::Duration;

use tokio::time::Instant;

/// A deadline, passed from stage to stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    start: Instant,
    timeout: Duration,
}

impl Budget {
    /// A budget of `timeout` from now on.
    pub fn starting_now(timeout: Duration) -> Self {
        Self { start: Instant::now(), timeout }
    }

    /// The same without what has gone by since `then`: a wait that is none of the stages that share it.
    #[must_use]
    pub fn not_counting_since(self, then: Instant) -> Self {
        Self { start: self.start + then.elapsed(), ..self }
    }

    /// When it is used up.
    pub fn deadline(&self) -> Instant {
        self.start + self.timeout
    }

    /// What is left of it; zero when it is used up.
    pub fn remaining(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// The whole of it.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_not_counted_moves_the_deadline_by_its_length_at_least() {
        let wait = Duration::from_millis(4);
        let budget = Budget::starting_now(Duration::from_secs(10));
        let later = budget.not_counting_since(Instant::now() - wait);
        assert!(later.deadline() >= budget.deadline() + wait);
        assert_eq!(later.timeout(), budget.timeout());
    }
}
