//! `spec.catalogRestrictions`: a selector means what its parts mean, however it is written; what is none is named.

use service_catalog::{
    crd::{ScopeKind, broker::CatalogRestrictions},
    reconcilers::broker::restrictions::{ClassProperties, PlanProperties, Restrictions},
};

use crate::{
    harness::{self, Check},
    is_shown, json, promise,
    random::Random,
};

const SCOPES: [ScopeKind; 2] = [ScopeKind::Cluster, ScopeKind::Namespace];
/// Field, quoted text and problem with a word and the keys.
const LONGEST: usize = 2048;
const VALUES: [&str; 8] = ["", "arr", "arr-k8s", "id-1", "true", "false", "in", "a.b/c\u{e9}"];

fn parse(classes: &[&str], plans: &[&str], scope: ScopeKind) -> Result<Restrictions, String> {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let restrictions = CatalogRestrictions { service_class: list(classes), service_plan: list(plans) };
    Restrictions::parse(Some(&restrictions), scope).map_err(|invalid| invalid.to_string())
}

/// Whether each of a few classes and plans is offered.
fn offered(restrictions: &Restrictions) -> Vec<bool> {
    let mut offered = Vec::new();
    for value in VALUES {
        let class = ClassProperties { name: value, external_name: "arr", external_id: "id-1" };
        offered.push(restrictions.admit_class(&class));
        for free in [true, false] {
            let plan =
                PlanProperties { name: "p", external_name: value, external_id: "id-1", free, class: "arr" };
            offered.push(restrictions.admit_plan(&plan));
        }
    }
    offered
}

#[test]
fn a_text_is_a_selector_or_named_as_none() {
    harness::run(bolero::check!(), "restrictions", 1000, json::change_bytes, |text| {
        let text = String::from_utf8_lossy(text);
        for scope in SCOPES {
            check(
                scope,
                "serviceClass",
                &text,
                parse(&["name", &text], &[], scope),
                parse(&[&text, "name"], &[], scope),
            )?;
            check(
                scope,
                "servicePlan",
                &text,
                parse(&[], &["name", &text], scope),
                parse(&[], &[&text, "name"], scope),
            )?;
        }
        Ok(())
    });
}

fn check(
    scope: ScopeKind,
    list: &str,
    text: &str,
    second: Result<Restrictions, String>,
    first: Result<Restrictions, String>,
) -> Check {
    match (first, second) {
        (Ok(first), Ok(second)) => {
            promise!(offered(&first) == offered(&second), "the order of the list counts: {text:?}");
            // Blanks that can stand in no word make no difference.
            let spaced = ["(", ")", ","]
                .iter()
                .fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign}\t")));
            let spaced = if list == "serviceClass" {
                parse(&[&spaced], &[], scope)
            } else {
                parse(&[], &[&spaced], scope)
            };
            let same = spaced.as_ref().map(offered) == Ok(offered(&first));
            promise!(same, "blanks count: {text:?}");
            Ok(())
        }
        (Err(first), Err(second)) => {
            for (index, error) in [first, second].iter().enumerate() {
                let field = format!("spec.catalogRestrictions.{list}[{index}]: ");
                promise!(error.starts_with(&field), "{field} is not named: {error}");
                promise!(is_shown(error, LONGEST), "not fit to be shown ({} bytes): {error}", error.len());
            }
            Ok(())
        }
        _ => Err(format!("read in one place of the list, and not in the other: {text:?}")),
    }
}

/// One requirement, as we understand it.
struct Requirement {
    key: &'static str,
    test: Test,
}

enum Test {
    Within(Vec<&'static str>),
    Without(Vec<&'static str>),
    Exists,
    Absent,
}

impl Requirement {
    fn any(random: &mut Random<'_>) -> Self {
        let key = random.pick(&["name", "spec.externalName", "spec.externalID"]);
        let mut values = || (0..=random.below(3)).map(|_| VALUES[random.below(VALUES.len())]).collect();
        let values: Vec<_> = values();
        let test = match random.below(6) {
            0 => Test::Exists,
            1 => Test::Absent,
            2 | 3 => Test::Within(values),
            _ => Test::Without(values),
        };
        Self { key, test }
    }

    fn holds(&self, class: &ClassProperties<'_>) -> bool {
        let value = match self.key {
            "name" => class.name,
            "spec.externalName" => class.external_name,
            _ => class.external_id,
        };
        match &self.test {
            Test::Within(values) => values.contains(&value),
            Test::Without(values) => !values.contains(&value),
            Test::Exists => true,
            Test::Absent => false,
        }
    }

    /// One of the ways in which it can be written.
    fn written(&self, random: &mut Random<'_>) -> String {
        let key = self.key;
        let blank = ["", " ", "\n\t"][random.below(3)];
        let (set, signs, values) = match &self.test {
            Test::Exists => return format!("{blank}{key}{blank}"),
            Test::Absent => return format!("!{blank}{key}"),
            Test::Within(values) => ("in", ["=", "=="], values),
            Test::Without(values) => ("notin", ["!=", "!="], values),
        };
        match values[..] {
            [value] if random.once_in(2) => format!("{key}{blank}{}{blank}{value}", random.pick(&signs)),
            _ => format!("{key} {set}{blank}({blank}{})", values.join(&format!("{blank},"))),
        }
    }
}

#[test]
fn a_selector_means_what_its_requirements_mean() {
    harness::run(
        bolero::check!(),
        "restrictions",
        1000,
        |_, random| random.below(usize::MAX).to_ne_bytes().to_vec(),
        |seed| {
            let seed = seed.iter().fold(0_u64, |sum, byte| (sum << 8) + u64::from(*byte));
            let mut random = Random::seeded(seed);
            let requirements: Vec<_> = (0..=random.below(3)).map(|_| Requirement::any(&mut random)).collect();
            let texts: Vec<_> = requirements.iter().map(|one| one.written(&mut random)).collect();
            let one = texts.join(",");
            let each: Vec<&str> = texts.iter().map(String::as_str).collect();
            let one = parse(&[&one], &[], ScopeKind::Cluster)?;
            let several = parse(&each, &[], ScopeKind::Namespace)?;
            for name in VALUES {
                let class = ClassProperties { name, external_name: "arr", external_id: "in" };
                let expected = requirements.iter().all(|requirement| requirement.holds(&class));
                promise!(
                    one.admit_class(&class) == expected,
                    "{texts:?} as one: not {expected} of {class:?}"
                );
                promise!(
                    several.admit_class(&class) == expected,
                    "{texts:?} as a list: not {expected} of {class:?}"
                );
            }
            Ok(())
        },
    );
}
