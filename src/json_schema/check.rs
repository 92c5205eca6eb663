//! Which rules does a value break? Each step of the check is counted.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    NodeId, SHOWN, Step, Undecided, Violation,
    pattern::Pattern,
    rule::{Rule, Type},
    values::{canonical, compare, is_multiple, is_same},
    wording::{quoted, text},
};

/// The most steps of a check. A step looks at one value, or at some bytes of one.
const MAX_STEPS: usize = 1_000_000;

/// The most bytes that regular expressions look at in a check. The larger ones count each byte many times, as they may
/// take microseconds for it.
const MAX_MATCHED: usize = 1 << 20;

/// How many schemas may hold for one another, with those of the levels of the value. It limits the stack.
const MAX_NESTING: usize = 200;

pub(super) fn violations(nodes: &[Vec<Rule>], value: &Value) -> Result<Vec<Violation>, Undecided> {
    let mut check = Check {
        nodes,
        steps: MAX_STEPS,
        matched: MAX_MATCHED,
        nesting: 0,
        is_quiet: false,
        found: Vec::new(),
    };
    match check.follows(0, value, &Path::Whole) {
        Err(Undecided) if check.found.is_empty() => Err(Undecided),
        // What is found counts, whatever else there is.
        _ => Ok(check.found),
    }
}

/// Where the check is in the value.
enum Path<'p> {
    Whole,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn steps(&self) -> Vec<Step> {
        match self {
            Self::Whole => Vec::new(),
            Self::Key(holder, key) => with(holder, Step::Key((*key).to_owned())),
            Self::Index(holder, index) => with(holder, Step::Index(*index)),
        }
    }
}

fn with(holder: &Path<'_>, step: Step) -> Vec<Step> {
    let mut steps = holder.steps();
    steps.push(step);
    steps
}

/// The keys or indices of a value that its rules have evaluated.
#[derive(Default)]
struct Evaluated<'v> {
    all: bool,
    keys: HashSet<&'v str>,
    items: HashSet<usize>,
}

struct Check<'s> {
    nodes: &'s [Vec<Rule>],
    steps: usize,
    matched: usize,
    nesting: usize,
    /// Only whether the rules are followed matters, and not which one is broken.
    is_quiet: bool,
    found: Vec<Violation>,
}

impl Check<'_> {
    fn spend(&mut self, steps: usize) -> Result<(), Undecided> {
        self.steps = self.steps.checked_sub(steps).ok_or(Undecided)?;
        Ok(())
    }

    /// Looks at a schema, which counts as a step and as a level.
    fn nested<T>(&mut self, look: impl FnOnce(&mut Self) -> Result<T, Undecided>) -> Result<T, Undecided> {
        self.spend(1)?;
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Undecided);
        }
        let seen = look(self)?;
        self.nesting -= 1;
        Ok(seen)
    }

    fn is_match(&mut self, pattern: &Pattern, text: &str) -> Result<bool, Undecided> {
        self.spend(1)?;
        self.matched = self.matched.checked_sub(text.len() * pattern.cost).ok_or(Undecided)?;
        Ok(pattern.is_match(text))
    }

    /// Whether more violations do not matter.
    fn is_done(&self) -> bool {
        self.is_quiet || self.found.len() > SHOWN
    }

    /// Whether a value follows the rules of a node.
    fn follows(&mut self, node: NodeId, value: &Value, at: &Path<'_>) -> Result<bool, Undecided> {
        let nodes = self.nodes;
        self.nested(|check| {
            let mut follows = true;
            for rule in &nodes[node] {
                check.spend(1)?;
                follows &= check.obeys(rule, node, value, at)?;
                if !follows && check.is_done() {
                    break;
                }
            }
            Ok(follows)
        })
    }

    /// Whether a value follows a node, without a word if it does not.
    fn would_follow(&mut self, node: NodeId, value: &Value) -> Result<bool, Undecided> {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let follows = self.follows(node, value, &Path::Whole);
        self.is_quiet = was_quiet;
        follows
    }

    fn how_many(&mut self, nodes: &[NodeId], value: &Value) -> Result<usize, Undecided> {
        nodes.iter().try_fold(0, |count, node| Ok(count + usize::from(self.would_follow(*node, value)?)))
    }

    /// Notes the rule if it is broken.
    fn verdict(&mut self, follows: bool, at: &Path<'_>, rule: impl FnOnce() -> String) -> bool {
        if !follows && !self.is_done() {
            let violation = Violation { path: at.steps(), rule: rule() };
            // Two schemas may say the same.
            if !self.found.contains(&violation) {
                self.found.push(violation);
            }
        }
        follows
    }

    /// Whether a value follows a rule of a node.
    fn obeys(&mut self, rule: &Rule, node: NodeId, value: &Value, at: &Path<'_>) -> Result<bool, Undecided> {
        match rule {
            Rule::Members { .. } | Rule::Names(_) | Rule::OtherMembers(_) => {
                self.members_obey(rule, node, value, at)
            }
            Rule::Items { .. } | Rule::Contains { .. } | Rule::OtherItems(_) => {
                self.items_obey(rule, node, value, at)
            }
            Rule::All(nodes) => {
                let mut follows = true;
                for node in nodes {
                    follows &= self.follows(*node, value, at)?;
                    if !follows && self.is_done() {
                        break;
                    }
                }
                Ok(follows)
            }
            Rule::Any(nodes) => {
                let follows = self.how_many(nodes, value)? > 0;
                let text = || format!("must follow one of the {} schemas of anyOf (anyOf)", nodes.len());
                Ok(self.verdict(follows, at, text))
            }
            Rule::One(nodes) => {
                let count = self.how_many(nodes, value)?;
                let text = || {
                    format!(
                        "must follow one of the {} schemas of oneOf, and follows {count} (oneOf)",
                        nodes.len()
                    )
                };
                Ok(self.verdict(count == 1, at, text))
            }
            Rule::Not(node) => {
                let follows = !self.would_follow(*node, value)?;
                Ok(self.verdict(follows, at, || "must not follow the schema of not (not)".to_owned()))
            }
            Rule::If { condition, then, otherwise } => {
                let next = if self.would_follow(*condition, value)? { then } else { otherwise };
                next.map_or(Ok(true), |node| self.follows(node, value, at))
            }
            Rule::With { key, node } => {
                if value.get(key).is_some() {
                    self.follows(*node, value, at)
                } else {
                    Ok(true)
                }
            }
            _ => {
                let broken = self.broken(rule, value)?;
                Ok(self.verdict(broken.is_none(), at, || broken.unwrap_or_default()))
            }
        }
    }

    fn members_obey(
        &mut self,
        rule: &Rule,
        node: NodeId,
        value: &Value,
        at: &Path<'_>,
    ) -> Result<bool, Undecided> {
        let Value::Object(members) = value else { return Ok(true) };
        let seen = self.seen(rule, node, value)?;
        let mut all_follow = true;
        for (key, member) in members {
            self.spend(1)?;
            let at = Path::Key(at, key);
            let follows = match rule {
                Rule::Members { named, matching, others } => {
                    let mut nodes: Vec<_> = named.get(key).copied().into_iter().collect();
                    for (pattern, node) in matching {
                        if self.is_match(pattern, key)? {
                            nodes.push(*node);
                        }
                    }
                    if nodes.is_empty() {
                        nodes.extend(others);
                    }
                    let mut follows = true;
                    for node in nodes {
                        follows &= self.follows(node, member, &at)?;
                    }
                    follows
                }
                Rule::Names(node) => {
                    let follows = self.would_follow(*node, &Value::String(key.clone()))?;
                    self.verdict(follows, &at, || "has a name that is not allowed (propertyNames)".to_owned())
                }
                Rule::OtherMembers(_) if seen.all || seen.keys.contains(&**key) => true,
                Rule::OtherMembers(node) => self.follows(*node, member, &at)?,
                _ => true,
            };
            all_follow &= follows;
            if !all_follow && self.is_done() {
                break;
            }
        }
        Ok(all_follow)
    }

    fn items_obey(
        &mut self,
        rule: &Rule,
        node: NodeId,
        value: &Value,
        at: &Path<'_>,
    ) -> Result<bool, Undecided> {
        let Value::Array(items) = value else { return Ok(true) };
        let seen = self.seen(rule, node, value)?;
        let (mut all_follow, mut contained) = (true, 0);
        for (index, item) in items.iter().enumerate() {
            self.spend(1)?;
            let at = Path::Index(at, index);
            all_follow &= match rule {
                Rule::Items { first, others } => match first.get(index).or(others.as_ref()) {
                    Some(node) => self.follows(*node, item, &at)?,
                    None => true,
                },
                Rule::Contains { item: node, .. } => {
                    contained += u64::from(self.would_follow(*node, item)?);
                    true
                }
                Rule::OtherItems(_) if seen.all || seen.items.contains(&index) => true,
                Rule::OtherItems(node) => self.follows(*node, item, &at)?,
                _ => true,
            };
            if !all_follow && self.is_done() {
                break;
            }
        }
        if let Rule::Contains { least, most, .. } = rule {
            all_follow &= self.verdict(contained >= *least, at, || {
                format!("must have at least {least} items that follow the schema of contains (contains)")
            });
            all_follow &= self.verdict(most.is_none_or(|most| contained <= most), at, || {
                let most = most.unwrap_or_default();
                format!("must have at most {most} items that follow the schema of contains (maxContains)")
            });
        }
        Ok(all_follow)
    }

    /// What the other rules of a node have evaluated, if this rule is about the rest.
    fn seen<'v>(&mut self, rule: &Rule, node: NodeId, value: &'v Value) -> Result<Evaluated<'v>, Undecided> {
        let is_about_rest = |rule: &Rule| matches!(rule, Rule::OtherMembers(_) | Rule::OtherItems(_));
        let mut seen = Evaluated::default();
        if is_about_rest(rule) {
            let nodes = self.nodes;
            for other in nodes[node].iter().filter(|other| !is_about_rest(other)) {
                self.look(other, value, &mut seen)?;
            }
        }
        Ok(seen)
    }

    fn look_at<'v>(
        &mut self,
        node: NodeId,
        value: &'v Value,
        seen: &mut Evaluated<'v>,
    ) -> Result<(), Undecided> {
        let nodes = self.nodes;
        self.nested(|check| nodes[node].iter().try_for_each(|rule| check.look(rule, value, seen)))
    }

    /// Adds what a rule has evaluated. Schemas count only if the value follows them.
    fn look<'v>(&mut self, rule: &Rule, value: &'v Value, seen: &mut Evaluated<'v>) -> Result<(), Undecided> {
        match rule {
            Rule::Members { named, matching, others } => {
                for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
                    self.spend(1)?;
                    let mut counts = others.is_some() || named.contains_key(key);
                    for (pattern, _) in matching {
                        counts = counts || self.is_match(pattern, key)?;
                    }
                    if counts {
                        seen.keys.insert(key);
                    }
                }
            }
            Rule::Items { others: Some(_), .. } | Rule::OtherItems(_) => seen.all |= value.is_array(),
            Rule::Items { first, others: None } if value.is_array() => seen.items.extend(0..first.len()),
            Rule::Contains { item: node, evaluates: true, .. } => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    if self.would_follow(*node, item)? {
                        seen.items.insert(index);
                    }
                }
            }
            Rule::OtherMembers(_) => seen.all |= value.is_object(),
            Rule::If { condition, then, otherwise } => {
                let holds = self.would_follow(*condition, value)?;
                let branch = if holds { then } else { otherwise };
                for node in [Some(*condition).filter(|_| holds), *branch].into_iter().flatten() {
                    self.look_at(node, value, seen)?;
                }
            }
            Rule::With { key, node } if value.get(key).is_some() => self.look_at(*node, value, seen)?,
            Rule::All(nodes) | Rule::Any(nodes) | Rule::One(nodes) => {
                for node in nodes {
                    if self.would_follow(*node, value)? {
                        self.look_at(*node, value, seen)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a rule about a value itself says, if the value breaks it.
    fn broken(&mut self, rule: &Rule, value: &Value) -> Result<Option<String>, Undecided> {
        let follows = match (rule, value) {
            (Rule::Never(_), _) => false,
            (Rule::Types(types), _) => types.iter().any(|one| one.has(value)),
            (Rule::Among { values, length, .. }, _) => {
                self.spend(length / 16)?;
                values.iter().any(|one| is_same(one, value))
            }
            (Rule::Bound { limit, is_followed, .. }, Value::Number(number)) => {
                is_followed(compare(number, limit))
            }
            (Rule::MultipleOf(divisor), Value::Number(number)) => is_multiple(number, divisor),
            (Rule::Size { of: Type::String, limit, is_followed, .. }, Value::String(text)) => {
                self.spend(text.len() / 64)?;
                is_followed(size(text.chars().count()).cmp(limit))
            }
            (Rule::Size { of: Type::Array, limit, is_followed, .. }, Value::Array(items)) => {
                is_followed(size(items.len()).cmp(limit))
            }
            (Rule::Size { of: Type::Object, limit, is_followed, .. }, Value::Object(members)) => {
                is_followed(size(members.len()).cmp(limit))
            }
            (Rule::Pattern(pattern), Value::String(text)) => self.is_match(pattern, text)?,
            (Rule::Unique, Value::Array(items)) => self.is_unique(items)?,
            (Rule::Required(keys), Value::Object(members)) => {
                self.spend(keys.len())?;
                let missing = keys.iter().find(|key| !members.contains_key(*key));
                return Ok(missing.map(|key| format!("must have {} (required)", quoted(key))));
            }
            (Rule::RequiredWith { keyword, key, others }, Value::Object(members))
                if members.contains_key(key) =>
            {
                self.spend(others.len())?;
                let missing = others.iter().find(|key| !members.contains_key(*key));
                let text = |missing: &String| {
                    format!("must have {}, because it has {} ({keyword})", quoted(missing), quoted(key))
                };
                return Ok(missing.map(text));
            }
            _ => true,
        };
        Ok((!follows && !self.is_quiet).then(|| text(rule)).or((!follows).then(String::new)))
    }

    /// Whether no two items are the same. Items are compared as texts with sorted keys.
    fn is_unique(&mut self, items: &[Value]) -> Result<bool, Undecided> {
        let mut texts = HashSet::new();
        for item in items {
            let text = canonical(item);
            self.spend(1 + text.len() / 16)?;
            if !texts.insert(text) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
