//! How long starting and stopping may take, from the variables that envtest reads.

use std::time::Duration;

use anyhow::{Result, anyhow};

/// The variable for the time a start may take.
pub const START: &str = "KUBEBUILDER_CONTROLPLANE_START_TIMEOUT";
/// The variable for the time one process may take to stop.
pub const STOP: &str = "KUBEBUILDER_CONTROLPLANE_STOP_TIMEOUT";

/// More than envtest's 20 s: a start takes 5 s on an idle machine, and tests run on busy ones.
const DEFAULT_START: Duration = Duration::from_secs(120);
const DEFAULT_STOP: Duration = Duration::from_secs(20);

/// How long starting and stopping may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the whole start.
    pub start: Duration,
    /// For each process.
    pub stop: Duration,
}

impl Timeouts {
    /// Reads [`START`] and [`STOP`].
    pub fn from_environment() -> Result<Self> {
        Ok(Self { start: read(START, DEFAULT_START)?, stop: read(STOP, DEFAULT_STOP)? })
    }
}

fn read(variable: &str, default: Duration) -> Result<Duration> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => parse(&text).ok_or_else(|| {
            anyhow!("{variable} is '{text}', which is no duration; write it like 90s or 1m30s")
        }),
        _ => Ok(default),
    }
}

/// Go's notation, because the variables are envtest's: numbers with units, one after the other.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = after;
    }
    (total > Duration::ZERO).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        assert_eq!(parse("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "90", "s", "0s", "-1s", "1 m", "1x", "1s2"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
