//! Client certificates of users in several groups.
//!
//! Kubernetes reads the groups of a user from the organizations in the subject, one each, and rcgen's
//! subject holds one value of each kind. So rcgen makes the certificate, and this puts in the subject and
//! signs again. It knows as much of DER as that takes.

use anyhow::{Context as _, Result};
use rcgen::SigningKey;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
/// 2.5.4.3, with tag and length.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// 2.5.4.10, with tag and length.
const ORGANIZATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0a];
/// Where the subject is in what is signed: after version, serial, algorithm, issuer and validity.
const SUBJECT: usize = 5;

/// `certificate` with another subject, signed by `key`, which must be the one that has signed it.
pub fn with_subject(
    certificate: &[u8],
    name: &str,
    groups: &[&str],
    key: &impl SigningKey,
) -> Result<Vec<u8>> {
    let unexpected = "rcgen has made a certificate of an unexpected shape; see what its new version changes";
    let parts = elements(content(certificate).context(unexpected)?).context(unexpected)?;
    let [signed, algorithm, _signature] = parts[..] else {
        anyhow::bail!(unexpected);
    };
    let mut fields = elements(content(signed).context(unexpected)?).context(unexpected)?;
    let subject = subject(name, groups);
    *fields.get_mut(SUBJECT).context(unexpected)? = &subject;
    let signed = element(SEQUENCE, &fields.concat());
    // A bit string begins with the number of bits its last byte does not use.
    let signature = element(BIT_STRING, &[&[0][..], &key.sign(&signed)?].concat());
    Ok(element(SEQUENCE, &[&signed[..], algorithm, &signature].concat()))
}

fn subject(name: &str, groups: &[&str]) -> Vec<u8> {
    let mut names: Vec<u8> = groups.iter().flat_map(|group| attribute(&ORGANIZATION, group)).collect();
    names.extend(attribute(&COMMON_NAME, name));
    element(SEQUENCE, &names)
}

fn attribute(kind: &[u8], value: &str) -> Vec<u8> {
    let value = element(UTF8_STRING, value.as_bytes());
    element(SET, &element(SEQUENCE, &[kind, &value].concat()))
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let length = &bytes[first..];
    let mut element = vec![tag];
    match length {
        [short @ 0..0x80] => element.push(*short),
        // At most eight bytes, so the count fits.
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            element.extend(long);
        }
    }
    element.extend(content);
    element
}

/// Splits off the first element: its header's length, the whole of it, and what follows.
fn first(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let length = *bytes.get(1)?;
    let (header, length) = if length < 0x80 {
        (2, usize::from(length))
    } else {
        let count = usize::from(length & 0x7f);
        let digits = bytes.get(2..2 + count)?;
        (2 + count, digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)))
    };
    let (element, rest) = bytes.split_at_checked(header.checked_add(length)?)?;
    Some((header, element, rest))
}

fn content(element: &[u8]) -> Option<&[u8]> {
    let (header, element, _) = first(element)?;
    element.get(header..)
}

fn elements(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (_, element, rest) = first(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_at_every_length_of_length() {
        for size in [0, 1, 127, 128, 255, 256, 65_536] {
            let inner = vec![7; size];
            let outer = element(SEQUENCE, &element(UTF8_STRING, &inner));
            let parts = elements(content(&outer).unwrap()).unwrap();
            assert_eq!(parts.len(), 1);
            assert_eq!(content(parts[0]).unwrap(), inner, "{size}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_element() {
        let whole = element(SEQUENCE, &[1; 300]);
        for end in 0..whole.len() {
            assert!(first(&whole[..end]).is_none(), "{end}");
        }
    }
}
