//! Times and sizes: nanoseconds of the clock, and text for people, such as `2 s`, `100 ms`, `256 MiB`.

use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Nanos = u64;

/// The duration in nanoseconds. A limit too large for the clock means no limit.
pub(crate) fn nanos(limit: Duration) -> Nanos {
    Nanos::try_from(limit.as_nanos()).unwrap_or(Nanos::MAX)
}

/// The time with at most three decimals, rounded up, so that a time past a limit does not read as the limit.
pub(crate) fn time(time: Duration) -> String {
    let ns = time.as_nanos();
    let (unit, name) = match ns {
        1_000_000_000.. => (1_000_000_000, "s"),
        1_000_000.. => (1_000_000, "ms"),
        1_000.. => (1_000, "µs"),
        _ => return format!("{ns} ns"),
    };
    // In 128 bits, so that no duration overflows here.
    let thousandths = (ns * 1000).div_ceil(unit);
    let decimals = format!("{:03}", thousandths % 1000);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    format!("{}{point}{decimals} {name}", thousandths / 1000)
}

/// The size in the largest unit in which it is a whole number.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    // Powers of two only: 1,000,000 bytes read better as that than as 976.5625 KiB.
    match units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, name)) => format!("{} {name}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 µs"),
            (100_000_000, "100 ms"),
            (100_412_001, "100.413 ms"),
            (2_000_000_000, "2 s"),
            (2_000_000_001, "2.001 s"),
            (2_030_000_000, "2.03 s"),
            (90_000_000_000, "90 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(time(Duration::from_nanos(ns)), text);
        }
        assert_eq!(time(Duration::MAX), "18446744073709551616 s");
    }

    #[test]
    fn sizes() {
        let cases =
            [(0, "0 bytes"), (1000, "1000 bytes"), (3 << 10, "3 KiB"), (256 << 20, "256 MiB"), (1 << 30, "1 GiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
