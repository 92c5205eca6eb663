//! Is it a version of Semantic Versioning 2.0? Needed for `maintenance_info.version` only, which is never ordered
//! (versions are compared for equality), so the grammar is all there is. Pure.

/// Whether `text` is `MAJOR.MINOR.PATCH[-PRE][+BUILD]` as semver.org 2.0.0 writes it.
pub(super) fn is_valid(text: &str) -> bool {
    let (text, build) = split(text, '+');
    let (core, pre) = split(text, '-');
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|part| is_identifier(part) && (!is_digits(part) || is_number(part)))
        })
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_digits(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(part: &str) -> bool {
    is_digits(part) && (part == "0" || !part.starts_with('0'))
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn the_grammar_of_semver_org() {
        for good in [
            "0.0.0",
            "2.1.1+abcdef",
            "1.0.0-alpha.1",
            "1.0.0-0A.is.legal",
            "1.0.0--",
            "1.0.0-x-y-z+00.1-2",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-01",
            "v1.2.3",
            "1.2.x",
            "1.2.3+a+b",
            "1..3",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
