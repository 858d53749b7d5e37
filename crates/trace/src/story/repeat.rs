//! What repeats in a list: the same thing, or the same few things in turn, again and again.

/// `times` times the `period` entries from `from` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub from: usize,
    pub period: usize,
    pub times: usize,
}

pub const LONGEST_PERIOD: usize = 12;
/// Fewer are told one by one.
const FEWEST: usize = 3;

/// The list as runs that follow each other; what doesn't repeat is a run of one.
pub fn repetitions<T: PartialEq>(list: &[T], longest_period: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut from = 0;
    while from < list.len() {
        let mut best = Run { from, period: 1, times: 1 };
        for period in 1..=longest_period.min(list.len() - from) {
            let rest = &list[from..];
            let same = rest.iter().zip(&rest[period..]).take_while(|(a, b)| a == b).count();
            let times = 1 + same / period;
            // A longer period must cover clearly more: of "aaaab", "aa" is no news.
            if times >= FEWEST && times * period > best.times * best.period {
                best = Run { from, period, times };
            }
        }
        from += best.period * best.times;
        runs.push(best);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(list: &str) -> Vec<(usize, usize)> {
        let list: Vec<char> = list.chars().collect();
        let runs = repetitions(&list, LONGEST_PERIOD);
        let mut next = 0;
        for run in &runs {
            assert_eq!(run.from, next);
            next += run.period * run.times;
        }
        assert_eq!(next, list.len());
        runs.iter().map(|run| (run.period, run.times)).collect()
    }

    #[test]
    fn what_repeats_is_found() {
        assert_eq!(told(""), []);
        assert_eq!(told("abc"), [(1, 1); 3]);
        assert_eq!(told("aab"), [(1, 1); 3]);
        assert_eq!(told("aaaab"), [(1, 4), (1, 1)]);
        assert_eq!(told("xabcabcabcy"), [(1, 1), (3, 3), (1, 1)]);
        assert_eq!(told("abababa"), [(2, 3), (1, 1)]);
        assert_eq!(told("aaabaaabaaab"), [(4, 3)]);
    }
}
