//! Time, as the loop knows it. Nothing else in Segue asks the operating system for the time.

/// Nanoseconds since the clock's own, arbitrary start.
pub type Nanos = u64;

/// A source of monotonic time. The real one is `net::clock::Monotonic`; [`Virtual`] serves tests.
pub trait Clock {
    fn now(&self) -> Nanos;
}

/// A clock that only moves when told to.
#[derive(Debug, Default)]
pub struct Virtual {
    now: std::cell::Cell<Nanos>,
}

impl Virtual {
    pub fn advance(&self, by: Nanos) {
        self.now.set(self.now.get().saturating_add(by));
    }
}

impl Clock for Virtual {
    fn now(&self) -> Nanos {
        self.now.get()
    }
}

/// Seconds as Python gives them, as [`Nanos`], rounded up so that nothing fires early.
/// Infinity saturates; a negative number or NaN is "now or before", as in asyncio.
pub fn nanos_from_secs(secs: f64) -> Nanos {
    // `as` saturates at both ends and maps NaN to 0.
    (secs * 1e9).ceil() as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_up_and_saturate() {
        assert_eq!(nanos_from_secs(1.5), 1_500_000_000);
        assert_eq!(nanos_from_secs(1e-10), 1);
        assert_eq!(nanos_from_secs(-1.0), 0);
        assert_eq!(nanos_from_secs(f64::NAN), 0);
        assert_eq!(nanos_from_secs(f64::INFINITY), u64::MAX);
    }
}
