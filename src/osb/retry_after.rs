//! Reads `Retry-After`. Pure.

use std::time::Duration;

use jiff::{Timestamp, civil, fmt::rfc2822::DateTimeParser, tz::TimeZone};

/// The longest pause that a broker can ask for: a clock that is wrong by years must not stop work for years.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of its forms. None for any other value.
/// The result is at most [`MAX_RETRY_AFTER`]; a date that has passed gives zero.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit 64 bits are a very long pause.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let then = date(value)?;
    let pause = Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(pause.min(MAX_RETRY_AFTER))
}

/// A date in one of the three forms that a recipient must accept (RFC 9110, 5.6.7). Two of them are obsolete.
fn date(value: &str) -> Option<Timestamp> {
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter();
    let obsolete = obsolete.filter_map(|form| civil::DateTime::strptime(form, value).ok());
    let mut obsolete = obsolete.filter_map(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    DateTimeParser::new().parse_timestamp(value).ok().or_else(|| obsolete.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    // OSB 71
    #[test]
    fn retry_after_is_seconds_or_a_date_and_clamped() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let rows = [
            ("0", Some(0)),
            ("30", Some(30)),
            (" 30 ", Some(30)),
            ("1000000000", Some(86400)),
            ("99999999999999999999999999", Some(86400)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", Some(60)),
            ("Wed, 31 Dec 2025 23:59:00 GMT", Some(0)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", Some(86400)),
            ("Thursday, 01-Jan-26 00:01:00 GMT", Some(60)),
            ("Thu Jan  1 00:01:00 2026", Some(60)),
            ("Thu Jan 40 00:01:00 2026", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in rows {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
