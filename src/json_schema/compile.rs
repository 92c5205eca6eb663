//! From the text of a schema to its rules.
//!
//! Each schema in the document becomes one node, however often it is referred to. A list of what is still to be read
//! takes the place of recursion.

use std::{
    cmp::Ordering,
    collections::{HashMap, hash_map::Entry},
};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};

use super::{
    NodeId, Unusable,
    pattern::Pattern,
    rule::{Rule, Type},
};
use crate::printable::clip;

/// How much of a text of the schema is quoted, in bytes.
const QUOTED: usize = 64;

type Object = Map<String, Value>;

/// The versions of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Draft {
    Draft4,
    Draft6,
    Draft7,
    Draft201909,
    Draft202012,
}

/// The nodes of a schema.
pub(super) fn nodes(document: &Value, room: &mut usize) -> Result<Vec<Vec<Rule>>, Unusable> {
    let draft = match document.get("$schema") {
        None => None,
        Some(Value::String(uri)) => draft(uri)?,
        Some(_) => return Err(wrong("$schema", "a string")),
    };
    let id = ["$id", "id"].into_iter().find_map(|key| document.get(key)?.as_str()).unwrap_or_default();
    let mut compiler = Compiler {
        document,
        draft,
        id: id.trim_end_matches('#'),
        places: HashMap::new(),
        pending: Vec::new(),
        nodes: Vec::new(),
        room,
    };
    compiler.node(document, "the schema", false);
    while let Some(Pending { schema, node, keyword, embedded }) = compiler.pending.pop() {
        compiler.nodes[node] = compiler.rules(schema, keyword, embedded)?;
    }
    refuse_circles(&compiler.nodes)?;
    Ok(compiler.nodes)
}

/// The draft that `$schema` names. `None` if it names the newest, whichever that is.
fn draft(uri: &str) -> Result<Option<Draft>, Unusable> {
    let name = uri.trim_end_matches('#').trim_start_matches("https://").trim_start_matches("http://");
    Ok(Some(match name {
        "json-schema.org/draft-04/schema" => Draft::Draft4,
        "json-schema.org/draft-06/schema" => Draft::Draft6,
        "json-schema.org/draft-07/schema" => Draft::Draft7,
        "json-schema.org/draft/2019-09/schema" => Draft::Draft201909,
        "json-schema.org/draft/2020-12/schema" => Draft::Draft202012,
        "json-schema.org/schema" => return Ok(None),
        _ => {
            let uri = clip(uri, QUOTED);
            return Err(Unusable(format!("$schema {uri:?} is not a draft from draft-04 to 2020-12")));
        }
    }))
}

/// Whether a keyword counts in a draft.
fn is_keyword(keyword: &str, draft: Option<Draft>) -> bool {
    use Draft::{Draft4, Draft6, Draft7, Draft201909, Draft202012};
    let drafts = match keyword {
        "const" | "contains" | "propertyNames" => Draft6..=Draft202012,
        "if" | "then" | "else" => Draft7..=Draft202012,
        "dependentRequired"
        | "dependentSchemas"
        | "minContains"
        | "maxContains"
        | "unevaluatedProperties"
        | "unevaluatedItems" => Draft201909..=Draft202012,
        "$recursiveRef" => Draft201909..=Draft201909,
        "prefixItems" | "$dynamicRef" => Draft202012..=Draft202012,
        "dependencies" => Draft4..=Draft7,
        "additionalItems" => Draft4..=Draft201909,
        _ => return true,
    };
    draft.is_none_or(|draft| drafts.contains(&draft))
}

fn wrong(keyword: &str, what: &str) -> Unusable {
    Unusable(format!("{keyword} is not {what}"))
}

struct Pending<'d> {
    schema: &'d Value,
    node: NodeId,
    /// The keyword whose value the schema is.
    keyword: &'static str,
    /// It is in a schema with an address of its own, which references in it count from.
    embedded: bool,
}

struct Compiler<'d, 'p> {
    document: &'d Value,
    draft: Option<Draft>,
    /// The address of the document.
    id: &'d str,
    /// The nodes of the schemas in the document, which are the same if they have the same place in memory.
    places: HashMap<*const Value, NodeId>,
    pending: Vec<Pending<'d>>,
    nodes: Vec<Vec<Rule>>,
    /// The room for regular expressions that is left.
    room: &'p mut usize,
}

impl<'d> Compiler<'d, '_> {
    /// The node of a schema, which is read later.
    fn node(&mut self, schema: &'d Value, keyword: &'static str, embedded: bool) -> NodeId {
        match self.places.entry(schema) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let node = *new.insert(self.nodes.len());
                self.nodes.push(Vec::new());
                self.pending.push(Pending { schema, node, keyword, embedded });
                node
            }
        }
    }

    fn rules(
        &mut self,
        schema: &'d Value,
        keyword: &'static str,
        embedded: bool,
    ) -> Result<Vec<Rule>, Unusable> {
        match schema {
            Value::Bool(true) => Ok(Vec::new()),
            Value::Bool(false) => Ok(vec![Rule::Never(keyword)]),
            Value::Object(object) => {
                let has_id =
                    |key| object.get(key).and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'));
                let embedded =
                    embedded || (!std::ptr::eq(schema, self.document) && (has_id("$id") || has_id("id")));
                let mut keywords = Keywords { compiler: self, object, embedded, rules: Vec::new() };
                keywords.read()?;
                Ok(keywords.rules)
            }
            _ => Err(wrong(keyword, "a schema")),
        }
    }

    /// The schema that a reference means.
    fn target(&self, reference: &str) -> Result<&'d Value, Unusable> {
        let quoted = clip(reference, QUOTED);
        let local = reference.strip_prefix(self.id).unwrap_or(reference);
        let Some(fragment) = local.strip_prefix('#').or(local.is_empty().then_some("")) else {
            return Err(Unusable(format!("$ref {quoted:?} is outside of the schema")));
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let found = if fragment.is_empty() || fragment.starts_with('/') {
            self.document.pointer(&fragment)
        } else {
            anchored(self.document, &fragment)
        };
        found.ok_or_else(|| Unusable(format!("$ref {quoted:?} leads nowhere")))
    }
}

/// The schema with this anchor. The search goes on in values that are no schemas, which does no harm.
fn anchored<'d>(value: &'d Value, name: &str) -> Option<&'d Value> {
    match value {
        Value::Object(object) => {
            let text = |key| object.get(key).and_then(Value::as_str);
            let by_id =
                || ["$id", "id"].into_iter().filter_map(text).any(|id| id.strip_prefix('#') == Some(name));
            let by_anchor =
                ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text).any(|anchor| anchor == name);
            if by_anchor || by_id() {
                return Some(value);
            }
            object.values().find_map(|member| anchored(member, name))
        }
        Value::Array(items) => items.iter().find_map(|item| anchored(item, name)),
        _ => None,
    }
}

/// One schema while its keywords are read.
struct Keywords<'c, 'd, 'p> {
    compiler: &'c mut Compiler<'d, 'p>,
    object: &'d Object,
    embedded: bool,
    rules: Vec<Rule>,
}

impl<'d> Keywords<'_, 'd, '_> {
    /// Reads all keywords. The order of the rules is the order of messages.
    fn read(&mut self) -> Result<(), Unusable> {
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if self.get(keyword).is_some() {
                return Err(Unusable(format!("the operator does not know {keyword}")));
            }
        }
        if let Some(reference) = self.text("$ref")? {
            if self.embedded {
                return Err(Unusable("it has a $ref in a schema with an $id of its own".to_owned()));
            }
            let target = self.compiler.target(reference)?;
            let node = self.compiler.node(target, "$ref", false);
            self.rules.push(Rule::All(vec![node]));
            // The others beside it count since 2019-09.
            if self.compiler.draft.is_none_or(|draft| draft < Draft::Draft201909) {
                return Ok(());
            }
        }
        self.values()?;
        self.numbers()?;
        self.sizes()?;
        self.members()?;
        self.items()?;
        self.combinations()?;
        // These look at what the others have evaluated.
        if let Some(node) = self.schema("unevaluatedProperties") {
            self.rules.push(Rule::OtherMembers(node));
        }
        if let Some(node) = self.schema("unevaluatedItems") {
            self.rules.push(Rule::OtherItems(node));
        }
        Ok(())
    }

    fn values(&mut self) -> Result<(), Unusable> {
        match self.get("type") {
            None => {}
            Some(Value::String(name)) => {
                let one = Type::of(name).ok_or_else(|| wrong("type", "a type of JSON"))?;
                self.rules.push(Rule::Types(vec![one]));
            }
            // There are seven types.
            Some(Value::Array(names)) if names.len() <= 7 => {
                let types = names.iter().map(|name| name.as_str().and_then(Type::of)).collect::<Option<_>>();
                self.rules.push(Rule::Types(types.ok_or_else(|| wrong("type", "a list of types of JSON"))?));
            }
            Some(_) => return Err(wrong("type", "a type of JSON, or a list of types")),
        }
        match self.get("enum") {
            None => {}
            Some(Value::Array(values)) => self.rules.push(among("enum", values.clone())),
            Some(_) => return Err(wrong("enum", "an array")),
        }
        if let Some(value) = self.get("const") {
            self.rules.push(among("const", vec![value.clone()]));
        }
        Ok(())
    }

    fn numbers(&mut self) -> Result<(), Unusable> {
        for (keyword, exclusive, is_upper) in
            [("maximum", "exclusiveMaximum", true), ("minimum", "exclusiveMinimum", false)]
        {
            // In draft-04 it is a boolean beside the other.
            let is_exclusive = self.get(exclusive).and_then(Value::as_bool);
            if let Some(limit) = self.number(keyword)? {
                let exclusive_beside = is_exclusive == Some(true);
                let keyword = if exclusive_beside { exclusive } else { keyword };
                self.rules.push(bound(keyword, limit, is_upper, exclusive_beside));
            }
            if is_exclusive.is_none()
                && let Some(limit) = self.number(exclusive)?
            {
                self.rules.push(bound(exclusive, limit, is_upper, true));
            }
        }
        if let Some(divisor) = self.number("multipleOf")? {
            if divisor.as_f64().is_none_or(|divisor| divisor <= 0.0) {
                return Err(wrong("multipleOf", "a positive number"));
            }
            self.rules.push(Rule::MultipleOf(divisor));
        }
        Ok(())
    }

    fn sizes(&mut self) -> Result<(), Unusable> {
        for (keyword, of, is_upper) in [
            ("minLength", Type::String, false),
            ("maxLength", Type::String, true),
            ("minItems", Type::Array, false),
            ("maxItems", Type::Array, true),
            ("minProperties", Type::Object, false),
            ("maxProperties", Type::Object, true),
        ] {
            if let Some(limit) = self.size(keyword)? {
                let is_followed = if is_upper { Ordering::is_le } else { Ordering::is_ge };
                self.rules.push(Rule::Size { keyword, of, limit, is_followed });
            }
        }
        if let Some(source) = self.text("pattern")? {
            let pattern = Pattern::compile(source, self.compiler.room)?;
            self.rules.push(Rule::Pattern(pattern));
        }
        match self.get("uniqueItems") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => self.rules.push(Rule::Unique),
            Some(_) => return Err(wrong("uniqueItems", "a boolean")),
        }
        Ok(())
    }

    fn members(&mut self) -> Result<(), Unusable> {
        if let Some(required) = self.get("required") {
            let names = texts(required).ok_or_else(|| wrong("required", "an array of strings"))?;
            self.rules.push(Rule::Required(names));
        }
        let named = self.object("properties")?;
        let matching = self.object("patternProperties")?;
        let others = self.schema("additionalProperties");
        if named.is_some() || matching.is_some() || others.is_some() {
            let named = named.into_iter().flatten();
            let named = named.map(|(key, schema)| (key.clone(), self.node(schema, "properties"))).collect();
            let matching = matching.into_iter().flatten();
            let matching = matching.map(|(source, schema)| {
                Ok((Pattern::compile(source, self.compiler.room)?, self.node(schema, "patternProperties")))
            });
            let matching = matching.collect::<Result<_, Unusable>>()?;
            self.rules.push(Rule::Members { named, matching, others });
        }
        if let Some(node) = self.schema("propertyNames") {
            self.rules.push(Rule::Names(node));
        }
        for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
            for (key, given) in self.object(keyword)?.into_iter().flatten() {
                let key = key.clone();
                let rule = if given.is_array() && keyword != "dependentSchemas" {
                    let others =
                        texts(given).ok_or_else(|| wrong(keyword, "an object of arrays of strings"))?;
                    Rule::RequiredWith { keyword, key, others }
                } else if keyword == "dependentRequired" {
                    return Err(wrong(keyword, "an object of arrays of strings"));
                } else {
                    Rule::With { key, node: self.node(given, keyword) }
                };
                self.rules.push(rule);
            }
        }
        Ok(())
    }

    fn items(&mut self) -> Result<(), Unusable> {
        let mut first = self.schemas("prefixItems")?;
        let others = match self.get("items") {
            Some(Value::Array(_)) if self.compiler.draft != Some(Draft::Draft202012) => {
                first = self.schemas("items")?;
                self.schema("additionalItems")
            }
            Some(schema) => Some(self.node(schema, "items")),
            None => None,
        };
        if !first.is_empty() || others.is_some() {
            self.rules.push(Rule::Items { first, others });
        }
        if let Some(item) = self.schema("contains") {
            let least = self.size("minContains")?.unwrap_or(1);
            let evaluates = self.compiler.draft.is_none_or(|draft| draft == Draft::Draft202012);
            let most = self.size("maxContains")?;
            self.rules.push(Rule::Contains { item, least, most, evaluates });
        }
        Ok(())
    }

    fn combinations(&mut self) -> Result<(), Unusable> {
        for (keyword, rule) in
            [("allOf", Rule::All as fn(Vec<NodeId>) -> Rule), ("anyOf", Rule::Any), ("oneOf", Rule::One)]
        {
            if self.get(keyword).is_some() {
                let nodes = self.schemas(keyword)?;
                self.rules.push(rule(nodes));
            }
        }
        if let Some(node) = self.schema("not") {
            self.rules.push(Rule::Not(node));
        }
        if let Some(condition) = self.schema("if") {
            let (then, otherwise) = (self.schema("then"), self.schema("else"));
            self.rules.push(Rule::If { condition, then, otherwise });
        }
        Ok(())
    }

    /// The value of a keyword, if the draft has it.
    fn get(&self, keyword: &str) -> Option<&'d Value> {
        self.object.get(keyword).filter(|_| is_keyword(keyword, self.compiler.draft))
    }

    fn node(&mut self, schema: &'d Value, keyword: &'static str) -> NodeId {
        self.compiler.node(schema, keyword, self.embedded)
    }

    fn schema(&mut self, keyword: &'static str) -> Option<NodeId> {
        let schema = self.get(keyword)?;
        Some(self.node(schema, keyword))
    }

    fn schemas(&mut self, keyword: &'static str) -> Result<Vec<NodeId>, Unusable> {
        match self.get(keyword) {
            None => Ok(Vec::new()),
            Some(Value::Array(schemas)) => {
                Ok(schemas.iter().map(|schema| self.node(schema, keyword)).collect())
            }
            Some(_) => Err(wrong(keyword, "an array of schemas")),
        }
    }

    fn object(&self, keyword: &str) -> Result<Option<&'d Object>, Unusable> {
        let value = self.get(keyword);
        value.map(|value| value.as_object().ok_or_else(|| wrong(keyword, "an object"))).transpose()
    }

    fn text(&self, keyword: &str) -> Result<Option<&'d str>, Unusable> {
        let value = self.get(keyword);
        value.map(|value| value.as_str().ok_or_else(|| wrong(keyword, "a string"))).transpose()
    }

    fn number(&self, keyword: &str) -> Result<Option<Number>, Unusable> {
        match self.get(keyword) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.clone())),
            Some(_) => Err(wrong(keyword, "a number")),
        }
    }

    /// A number that is not negative. `2.0` is one too.
    fn size(&self, keyword: &str) -> Result<Option<u64>, Unusable> {
        let size =
            |number: &Number| number.as_u64().or_else(|| format!("{:.0}", number.as_f64()?).parse().ok());
        self.number(keyword)?
            .map(|number| {
                let whole =
                    Some(&number).filter(|number| Type::Integer.has(&Value::Number((*number).clone())));
                whole.and_then(size).ok_or_else(|| wrong(keyword, "a number of things"))
            })
            .transpose()
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn among(keyword: &'static str, values: Vec<Value>) -> Rule {
    let length = values.iter().map(|value| value.to_string().len()).sum();
    Rule::Among { keyword, values, length }
}

fn bound(keyword: &'static str, limit: Number, is_upper: bool, is_exclusive: bool) -> Rule {
    let is_followed = match (is_upper, is_exclusive) {
        (true, true) => Ordering::is_lt,
        (true, false) => Ordering::is_le,
        (false, true) => Ordering::is_gt,
        (false, false) => Ordering::is_ge,
    };
    Rule::Bound { keyword, limit, is_followed }
}

/// Refuses schemas that hold for the same value without end: each node is taken away when no other one leads to it.
fn refuse_circles(nodes: &[Vec<Rule>]) -> Result<(), Unusable> {
    let next: Vec<Vec<NodeId>> =
        nodes.iter().map(|rules| rules.iter().flat_map(Rule::in_place).collect()).collect();
    let mut leading = vec![0_usize; nodes.len()];
    next.iter().flatten().for_each(|node| leading[*node] += 1);
    let mut free: Vec<NodeId> = (0..nodes.len()).filter(|node| leading[*node] == 0).collect();
    let mut taken = 0;
    while let Some(node) = free.pop() {
        taken += 1;
        for next in &next[node] {
            leading[*next] -= 1;
            if leading[*next] == 0 {
                free.push(*next);
            }
        }
    }
    if taken == nodes.len() { Ok(()) } else { Err(Unusable("a $ref leads back to itself".to_owned())) }
}
