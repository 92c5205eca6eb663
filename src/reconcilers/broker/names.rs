//! Names of class and plan objects. They are made from the ids in the catalog exactly as in v0.3
//! (`GenerateEscapedName`), so that the operator keeps the objects of v0.3. Pure.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use md5::{Digest as _, Md5};

use crate::{crd::scope::CatalogObject, reconcilers::hex::hex};

/// The longest name, in bytes: that of a DNS label.
const LIMIT: usize = 63;

/// How much of a longer name stays in front of the hash, in bytes.
const KEPT: usize = 30;

/// The present names of a broker's classes or plans, as an index: a catalog may have ten thousand plans, and
/// each of them is looked up.
pub struct Names<'a>(HashSet<&'a str>);

impl<'a> Names<'a> {
    /// The names of the objects that belong to this broker.
    #[must_use]
    pub fn of<E: CatalogObject>(entries: &'a [Arc<E>], broker: &str) -> Self {
        let ours = entries.iter().filter(|entry| entry.broker_name() == broker);
        Self(ours.filter_map(|entry| entry.meta().name.as_deref()).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is an object of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The name of the object for an id. Service Catalog before 0.1.40 used the id itself, so an object whose
    /// name is the id keeps it.
    #[must_use]
    pub fn for_id(&self, id: &str) -> String {
        if self.0.contains(id) { id.to_owned() } else { escape(id) }
    }
}

/// The escaped form of an id. `a`–`y` and digits stay, and dots and dashes where a DNS name may have them.
/// Any other character becomes its code point between two `z`. A name that is too long is cut and ends in the
/// MD5 hash of the id.
#[must_use]
pub fn escape(id: &str) -> String {
    let mut name = String::new();
    for (index, character) in id.char_indices() {
        let inside = index != 0 && index + 1 != id.len();
        let kept = match character {
            'a'..='y' | '0'..='9' => true,
            '.' => inside && !name.ends_with(['.', '-']),
            '-' => inside && !name.ends_with('.'),
            _ => false,
        };
        if kept {
            name.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "z{:x}z", u32::from(character));
        }
    }
    if name.len() > LIMIT { shorten(&name, id) } else { name }
}

fn shorten(name: &str, id: &str) -> String {
    // An escaped name is ASCII.
    let kept = &name[..KEPT];
    format!("{}-{}", kept.strip_suffix('.').unwrap_or(kept), hex(&Md5::digest(id.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{ClusterServiceClass, class::CommonServiceClassSpec, scope::ClassObject as _};

    // OSB 44
    // v0.3 A10
    #[test]
    fn ids_are_escaped_as_in_v0_3() {
        let long = "thisnameisreallyreallywaytoolonghowcouldanyonepossiblyreadthisplansname";
        for (id, name) in [
            ("", ""),
            ("simple-id.1", "simple-id.1"),
            ("contains-escape-char-z", "contains-escape-char-z7az"),
            ("ContainsCaps", "z43zontainsz43zaps"),
            (".starts-and-ends-with-periods.", "z2ezstarts-and-ends-with-periodsz2ez"),
            ("adjacent.-specialchars", "adjacent.z2dzspecialchars"),
            ("otherorderadjacent-.specialchars", "otherorderadjacent-z2ezspecialchars"),
            ("a...b", "a.z2ez.b"),
            ("a--b", "a--b"),
            ("-", "z2dz"),
            ("ü", "zfcz"),
            (long, "thisnameisreallyreallywaytoolo-3f54131bf8c96c7d946ee1d7a32136dd"),
        ] {
            assert_eq!(escape(id), name, "{id}");
        }
    }

    // v0.3 C8
    #[test]
    fn no_name_is_longer_than_a_dns_label() {
        let id = format!("{}.{}", "a".repeat(29), "b".repeat(200));
        let name = escape(&id);
        assert!(name.len() <= LIMIT && name.starts_with(&format!("{}-", "a".repeat(29))), "{name}");
    }

    // v0.3 A10
    #[test]
    fn an_object_named_by_the_bare_id_keeps_its_name() {
        let entries = ["ours", "theirs"].map(|broker| {
            let name = format!("Of-{broker}");
            Arc::new(ClusterServiceClass::build(&name, broker, CommonServiceClassSpec::default()))
        });
        let names = Names::of(&entries, "ours");
        assert_eq!(names.for_id("Of-ours"), "Of-ours");
        assert_eq!(names.for_id("Of-theirs"), "z4fzf-theirs");
    }
}
