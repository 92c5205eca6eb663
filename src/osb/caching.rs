//! Conditional requests for the catalog: a broker that gave an `ETag` or `Last-Modified` is asked whether its
//! catalog has changed (OSB 2.17, "Catalog Management"; RFC 9110, 8.8 and 13.1). Pure.

use std::{fmt, sync::Arc};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{
    AsHeaderName, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use zeroize::Zeroizing;

use super::catalog::Catalog;

/// The longest `ETag` that is kept, in bytes.
const MAX_ETAG: usize = 1024;

/// An answer to `GET /v2/catalog`.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The same catalog as text, for a conditional request later. `None` if the broker sent no usable
    /// validator.
    pub document: Option<Document>,
}

/// A catalog as text, which takes less memory than the parsed one, with its validator.
#[derive(Clone)]
pub struct Document {
    /// The body that the broker sent. It may hold the secret of a `dashboard_client`, so it is wiped when
    /// dropped, and never shown.
    pub body: Arc<Zeroizing<Vec<u8>>>,
    /// The validator of this version of the catalog.
    pub validator: Validator,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("validator", &self.validator).finish_non_exhaustive()
    }
}

/// The validator of one version of a catalog (RFC 9110, 8.8): the `ETag`, or the date if there is none. Only
/// one of them is sent, because brokers must ignore the date next to an `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    /// `ETag`, weak or strong: it is enough that both versions have the same meaning.
    Tag(HeaderValue),
    /// `Last-Modified`
    Date(HeaderValue),
}

impl Validator {
    /// The validator in the headers of an answer. A malformed validator is ignored, because it could not be
    /// sent back.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        match single_header(headers, ETAG) {
            Some(tag) => is_tag(tag.as_bytes()).then(|| copy(tag).map(Self::Tag))?,
            None if headers.contains_key(ETAG) => None,
            None => {
                let modified = single_header(headers, LAST_MODIFIED)?;
                let is_exact = date(modified)? < date(single_header(headers, DATE)?)?;
                is_exact.then(|| copy(modified).map(Self::Date))?
            }
        }
    }

    /// The header that asks whether this version is still current.
    pub(super) fn header(&self) -> (HeaderName, HeaderValue) {
        match self {
            Self::Tag(tag) => (IF_NONE_MATCH, tag.clone()),
            Self::Date(date) => (IF_MODIFIED_SINCE, date.clone()),
        }
    }
}

/// The value of a header that occurs exactly once.
fn single_header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether this is one `entity-tag`: visible ASCII between quotes. A bare `*` would match every catalog.
fn is_tag(value: &[u8]) -> bool {
    let quoted = value.strip_prefix(b"W/").unwrap_or(value);
    let inner = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    value.len() <= MAX_ETAG
        && inner.is_some_and(|inner| inner.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"'))
}

/// A time in the current form of HTTP dates. Its resolution is one second, so a `Last-Modified` that equals
/// `Date` is not used: the catalog may change again within that second (RFC 9110, 8.8.2.2).
fn date(value: &HeaderValue) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value.to_str().ok().filter(|text| text.len() <= 64)?).ok()
}

/// A copy with memory of its own. A received header is a slice of a much larger buffer, and would keep that
/// buffer in memory.
fn copy(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validator(headers: &[(HeaderName, &str)]) -> Option<(String, String)> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        let (name, value) = Validator::of(&map)?.header();
        Some((name.to_string(), value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn an_etag_is_kept_if_it_is_one_and_short_enough() {
        let long = format!("\"{}\"", "x".repeat(MAX_ETAG - 2));
        for good in ["\"\"", "\"abc\"", "W/\"abc\"", "\"!#,-~*\"", long.as_str()] {
            assert_eq!(validator(&[(ETAG, good)]), Some(("if-none-match".into(), good.into())), "{good}");
        }
        let longer = format!("\"{}\"", "x".repeat(MAX_ETAG - 1));
        for bad in [
            "", "*", "abc", "\"", "W/", "W/abc", "w/\"a\"", "\"a\"b\"", "\"a b\"", "\"é\"", "\"\t\"", &longer,
        ] {
            assert_eq!(validator(&[(ETAG, bad)]), None, "{bad}");
        }
        assert_eq!(validator(&[(ETAG, "\"a\""), (ETAG, "\"b\"")]), None);
    }

    #[test]
    fn a_date_is_kept_if_it_is_exact_and_there_is_no_etag() {
        let (before, at, after) = (
            "Thu, 01 Jan 2026 00:00:09 GMT",
            "Thu, 01 Jan 2026 00:00:10 GMT",
            "Thu, 01 Jan 2026 00:00:11 GMT",
        );
        let kept = Some(("if-modified-since".to_owned(), before.to_owned()));
        assert_eq!(validator(&[(LAST_MODIFIED, before), (DATE, at)]), kept);
        assert_eq!(validator(&[(LAST_MODIFIED, at), (DATE, at)]), None, "it may change again in this second");
        assert_eq!(validator(&[(LAST_MODIFIED, after), (DATE, at)]), None);
        assert_eq!(validator(&[(LAST_MODIFIED, before)]), None);
        assert_eq!(validator(&[(LAST_MODIFIED, "Fri, 31 Dec 9999 23:59:59 GMT"), (DATE, at)]), None);
        assert_eq!(validator(&[(LAST_MODIFIED, "yesterday"), (DATE, at)]), None);
        let tag = Some(("if-none-match".to_owned(), "\"a\"".to_owned()));
        assert_eq!(validator(&[(LAST_MODIFIED, before), (DATE, at), (ETAG, "\"a\"")]), tag);
        assert_eq!(validator(&[(LAST_MODIFIED, before), (DATE, at), (ETAG, "a")]), None);
    }
}
