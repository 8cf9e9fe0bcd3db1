//! What this process has measured since it started, from its own metrics, as `/metrics` gives them.

/// The figures that the overview shows.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Measured {
    /// Requests that were not answered 200, by reason, the most frequent first.
    pub(super) refusals: Vec<(String, u64)>,
    /// Half of all commits took at most so many seconds; `None` before the first.
    pub(super) commit_p50: Option<f64>,
    /// 99 of 100 did.
    pub(super) commit_p99: Option<f64>,
    /// Commits.
    pub(super) commits: u64,
}

impl Measured {
    /// Reads the exposition format.
    pub(super) fn read(text: &str) -> Self {
        let mut measured = Self::default();
        let mut buckets = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if let Some(labels) = series.strip_prefix("paidup_refusals_total{") {
                let count = value.parse().unwrap_or_default();
                let reason = label(labels, "reason").filter(|_| count > 0);
                measured.refusals.extend(reason.map(|reason| (reason, count)));
            } else if let Some(labels) = series.strip_prefix("paidup_commit_seconds_bucket{")
                && let Some(bound) = label(labels, "le")
            {
                let bound = bound.parse().unwrap_or(f64::INFINITY);
                buckets.push((bound, value.parse().unwrap_or_default()));
            }
        }
        measured.refusals.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        measured.commits = buckets.last().map_or(0, |(_, count)| *count);
        measured.commit_p50 = quantile(&buckets, 0.5);
        measured.commit_p99 = quantile(&buckets, 0.99);
        measured
    }
}

/// The value of a label. Those that are looked for hold no escapes.
fn label(labels: &str, name: &str) -> Option<String> {
    let rest = labels.split_once(&format!("{name}=\""))?.1;
    Some(rest.split('"').next()?.to_owned())
}

/// Within its bucket a quantile is taken to lie where it would if the bucket were evenly filled, as
/// Prometheus does.
fn quantile(buckets: &[(f64, u64)], share: f64) -> Option<f64> {
    let (_, all) = *buckets.last().filter(|(_, all)| *all > 0)?;
    let wanted = share * all as f64;
    let (mut from, mut below) = (0.0, 0);
    for &(bound, count) in buckets {
        if count as f64 >= wanted {
            if bound.is_infinite() {
                return Some(from);
            }
            let within = (count - below) as f64;
            return Some(from + (bound - from) * (wanted - below as f64) / within.max(1.0));
        }
        (from, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_is_read() {
        let text = "# TYPE paidup_refusals_total counter\n\
             paidup_refusals_total{reason=\"missing\"} 0\n\
             paidup_refusals_total{reason=\"no_match\"} 3\n\
             paidup_refusals_total{reason=\"too_old\"} 7\n\n\
             paidup_commit_seconds_bucket{le=\"0.001\"} 0\n\
             paidup_commit_seconds_bucket{le=\"0.01\"} 90\n\
             paidup_commit_seconds_bucket{le=\"0.02\"} 100\n\
             paidup_commit_seconds_bucket{le=\"+Inf\"} 100\n\
             paidup_commit_seconds_sum 0.5\n\
             paidup_commit_seconds_count 100\n";
        let measured = Measured::read(text);
        assert_eq!(measured.refusals, [("too_old".to_owned(), 7), ("no_match".to_owned(), 3)]);
        assert_eq!(measured.commits, 100);
        let is_near = |value: Option<f64>, near: f64| (value.expect("some") - near).abs() < 1e-9;
        assert!(is_near(measured.commit_p50, 0.006), "{measured:?}");
        assert!(is_near(measured.commit_p99, 0.019), "{measured:?}");
        assert_eq!(Measured::read(""), Measured::default());
    }

    #[test]
    fn what_is_beyond_the_last_bound_is_told_as_that_bound() {
        let buckets = [(1.0, 1), (25.0, 2), (f64::INFINITY, 10)];
        assert_eq!(quantile(&buckets, 0.99), Some(25.0));
        assert_eq!(quantile(&[(1.0, 0), (f64::INFINITY, 0)], 0.5), None);
    }
}
