//! Fewer points that look the same: the extremes of equal stretches stay.
//!
//! Each stretch gives its least and its greatest value in the order in which they came, so that no spike vanishes ("M4"
//! without first and last: Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).

/// At most about `points_max` of `points`, which rise by x. What is not finite is left out.
pub fn thinned(points: &[(f64, f64)], points_max: usize) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let points_max = points_max.max(4);
    if finite.len() <= points_max {
        return finite;
    }
    let stretch = finite.len().div_ceil(points_max / 2);
    let mut kept = Vec::with_capacity(points_max + 2);
    for part in finite.chunks(stretch) {
        let places = || part.iter().enumerate();
        let low = places().min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1));
        let high = places().max_by(|(_, a), (_, b)| a.1.total_cmp(&b.1));
        if let (Some((first, low)), Some((second, high))) = (low, high) {
            match first.cmp(&second) {
                std::cmp::Ordering::Less => kept.extend([*low, *high]),
                std::cmp::Ordering::Equal => kept.push(*low),
                std::cmp::Ordering::Greater => kept.extend([*high, *low]),
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::thinned;

    #[test]
    fn a_spike_survives_and_the_rest_shrinks() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), f64::from(x % 7))).collect();
        points[6_543].1 = 1e6;
        points[123].1 = f64::NAN;
        let thin = thinned(&points, 200);
        assert!(thin.len() <= 202 && thin.len() > 100, "{}", thin.len());
        assert!(thin.contains(&(6_543.0, 1e6)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(thin.iter().all(|(x, y)| x.is_finite() && y.is_finite()));
        assert_eq!(thinned(&[(0.0, f64::INFINITY)], 200), []);
    }
}
