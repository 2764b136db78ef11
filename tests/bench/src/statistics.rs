//! Quantiles of what was measured.

use std::time::Duration;

/// The smallest value that at least `percent` of `values` do not exceed (nearest rank).
pub fn percentile(values: impl IntoIterator<Item = Duration>, percent: usize) -> Duration {
    let mut values: Vec<Duration> = values.into_iter().collect();
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    *values.get(rank - 1).expect("something was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(values.iter().copied(), 50), Duration::from_millis(100));
        assert_eq!(percentile(values.iter().copied(), 99), Duration::from_millis(198));
        assert_eq!(percentile(values[..1].iter().copied(), 1), Duration::from_millis(200));
    }
}
