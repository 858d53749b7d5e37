//! How often the same kind of thing is worth a file: the first time, then a while later, then after twice that while, and so on.
//!
//! A loop that fails all the time must not fill the disk, and its first failures are worth more than its last.

use sched::Nanos;

const LONGEST: Nanos = 3_600_000_000_000;

pub struct Limits {
    pause: Nanos,
    kinds: Vec<Kind>,
}

struct Kind {
    name: &'static str,
    pause: Nanos,
    /// Not before then.
    next: Nanos,
    left_out: u64,
}

impl Limits {
    /// `pause`: between the first time and the second; 0 is no limit.
    pub fn new(pause: Nanos) -> Limits {
        Limits { pause, kinds: Vec::new() }
    }

    /// None: not now. Else how many times of this kind were left out since the last.
    pub fn allow(&mut self, name: &'static str, now: Nanos) -> Option<u64> {
        let Some(known) = self.kinds.iter_mut().find(|kind| kind.name == name) else {
            let (pause, next) = (self.pause, now.saturating_add(self.pause));
            self.kinds.push(Kind { name, pause, next, left_out: 0 });
            return Some(0);
        };
        if now < known.next {
            known.left_out += 1;
            return None;
        }
        known.pause = known.pause.saturating_mul(2).min(LONGEST.max(self.pause));
        known.next = now.saturating_add(known.pause);
        Some(std::mem::take(&mut known.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_waits_twice_as_long_as_the_time_before() {
        let mut limits = Limits::new(60);
        let allowed: Vec<u64> = (0..1000).filter(|&now| limits.allow("failure", now).is_some()).collect();
        assert_eq!(allowed, [0, 60, 180, 420, 900]);
        assert_eq!(limits.allow("stall", 1000), Some(0));
        assert_eq!(limits.allow("failure", 10_000), Some(99));
        let mut none = Limits::new(0);
        assert!((0..1000).all(|now| none.allow("failure", now) == Some(0)));
    }

    #[test]
    fn the_pause_ends_growing_at_an_hour() {
        let mut limits = Limits::new(60_000_000_000);
        let mut now = 0;
        for _ in 0..20 {
            assert!(limits.allow("failure", now).is_some());
            now += LONGEST;
        }
    }
}
