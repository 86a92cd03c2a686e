//! Numbers, times and pids as people read them.

use std::time::Duration;

use neurath_node::api::view::NodeView;

/// `0 B`, `612 B`, `1.5 KiB`, `256 KiB`, `3.2 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 10.0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `812 µs`, `3.4 ms`, `1.25 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let us = duration.as_micros();
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// The time of day in UTC: `12:34:56.789Z`.
pub(crate) fn time(at_ms: u64) -> String {
    let (s, ms) = (at_ms / 1000, at_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}Z", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Shortens the pids of one node's present life to their serial, which commands take as well.
#[derive(Clone)]
pub(crate) struct Pids(String);

impl Pids {
    /// Pids of this node.
    pub(crate) fn of(node: &NodeView) -> Self {
        Self(format!("@{}.{}", node.id, node.incarnation))
    }

    pub(crate) fn short(&self, pid: &str) -> String {
        pid.strip_suffix(&self.0).unwrap_or(pid).to_owned()
    }

    /// The same with all that are named in a text of the node.
    pub(crate) fn short_in(&self, text: &str) -> String {
        text.replace(&self.0, "")
    }
}

/// `1 process`, `2 processes`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_two_or_three_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(256 << 10), "256 KiB");
        assert_eq!(duration(Duration::from_micros(812)), "812 µs");
        assert_eq!(duration(Duration::from_micros(3_400)), "3.4 ms");
        assert_eq!(duration(Duration::from_millis(1_250)), "1.25 s");
        assert_eq!(time(45_296_789), "12:34:56.789Z");
    }
}
