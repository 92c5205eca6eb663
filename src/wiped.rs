//! How does a text with secrets grow? A vector that grows by itself leaves a copy behind that nobody wipes.

use zeroize::Zeroizing;

/// Appends bytes to a text with secrets.
pub fn append(text: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let length = text.len() + bytes.len();
    if text.capacity() < length {
        // A vector is wiped up to its capacity. So a little text has a little capacity, whatever its limit is.
        grow(text, length.next_power_of_two());
    }
    text.extend_from_slice(bytes);
}

/// Moves a text to a larger place, and wipes the old one.
pub fn grow(text: &mut Zeroizing<Vec<u8>>, capacity: usize) {
    let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
    grown.extend_from_slice(text);
    *text = grown;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_no_more_than_twice_its_length() {
        let mut text = Zeroizing::new(Vec::new());
        for part in ["a", "bc", "", "defgh", "ijklmnopq"] {
            append(&mut text, part.as_bytes());
        }
        assert_eq!((text.as_slice(), text.capacity()), (&b"abcdefghijklmnopq"[..], 32));
    }
}
