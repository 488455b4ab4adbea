//! The time that a run may take, and the share that each case has in it. Without a clock: callers say what time it is.

use std::time::Duration;

/// A measurement that would have less time than this does not begin: it would only be killed.
const SHORTEST_LIMIT: Duration = Duration::from_secs(1);

/// The time of one run.
pub(crate) struct Budget {
    total: Duration,
    /// The share of a case in a round. A case that has taken more sits out until the rounds have caught up.
    share: Duration,
    /// By case.
    spent: Vec<Duration>,
}

impl Budget {
    /// As many rounds of as many cases as that, in so much time.
    pub(crate) fn new(total: Duration, rounds: usize, cases: usize) -> Budget {
        let share = total / (rounds.max(1) * cases.max(1)) as u32;
        Budget { total, share, spent: vec![Duration::ZERO; cases] }
    }

    /// Time without end: whoever asks for so many rounds gets them.
    pub(crate) fn unbounded(cases: usize) -> Budget {
        Budget::new(Duration::MAX, 1, cases)
    }

    /// Whether a case has a turn in this round. Each has one in the first.
    pub(crate) fn is_due(&self, case: usize, round: usize) -> bool {
        self.spent[case] <= self.share.saturating_mul(round as u32)
    }

    /// How long a measurement may take that begins `now`; `None` if it should not begin.
    pub(crate) fn limit(&self, now: Duration, of_case: Duration) -> Option<Duration> {
        let left = self.total.saturating_sub(now);
        (left >= SHORTEST_LIMIT).then(|| left.min(of_case))
    }

    /// Notes the time that a case has taken.
    pub(crate) fn spend(&mut self, case: usize, time: Duration) {
        self.spent[case] += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(840);
    const LIMIT: Duration = Duration::from_secs(15);
    const ROUNDS: usize = 7;

    /// Runs cases that cost so much, contender by contender. The time at the end, and how often each case was measured.
    fn run(costs: &[Duration], contenders: usize) -> (Duration, Vec<usize>) {
        let mut budget = Budget::new(TOTAL, ROUNDS, costs.len());
        let (mut now, mut counts) = (Duration::ZERO, vec![0; costs.len()]);
        for round in 0..ROUNDS {
            for case in (0..costs.len()).filter(|case| budget.is_due(*case, round)).collect::<Vec<_>>() {
                for _ in 0..contenders {
                    let Some(limit) = budget.limit(now, LIMIT) else { return (now, counts) };
                    let time = costs[case].min(limit);
                    now += time;
                    budget.spend(case, time);
                }
                counts[case] += 1;
            }
        }
        (now, counts)
    }

    #[test]
    fn a_run_ends_in_time_if_everything_hangs() {
        let (end, _) = run(&[Duration::MAX; 41], 9);
        assert!(end <= TOTAL, "{end:?}");
    }

    #[test]
    fn a_long_case_is_measured_less_often_and_takes_no_rounds_from_short_ones() {
        let mut costs = vec![Duration::from_millis(300); 41];
        costs[7] = Duration::from_secs(12);
        let (end, counts) = run(&costs, 6);
        assert!(end < TOTAL, "{end:?}");
        assert_eq!(counts.iter().filter(|count| **count == ROUNDS).count(), 40);
        assert!((1..ROUNDS).contains(&counts[7]), "{}", counts[7]);
    }

    #[test]
    fn rounds_that_were_asked_for_have_no_limit_but_the_cases_own() {
        let mut budget = Budget::unbounded(1);
        budget.spend(0, TOTAL * 10);
        assert!(budget.is_due(0, 1));
        assert_eq!(budget.limit(TOTAL * 10, LIMIT), Some(LIMIT));
    }
}
