//! Parameters from the spec and from Secrets: one object whatever the order, fingerprinted by content alone, and no value of
//! a Secret in what is shown.
//!
//! An input is `{"inline": {…}, "sources": […]}`; a source that is a text is taken as it is. What is no such document is one
//! source. Each text in a source gets a mark, which tells wherever it turns up that a secret does.

use serde_json::{Map, Value};
use service_catalog::{
    crd::common::SecretKeyReference,
    json::{MAX_DEPTH, RawObject, depth},
    printable::display,
    reconcilers::parameters::{Parameters, ParametersError, Source, SourceValue, merge},
};

use crate::{
    MARK,
    harness::{self, Check},
    is_shown, json as changes, mark, promise,
    random::Random,
    texts,
};

const LONGEST: usize = 1024;

#[test]
fn parameters_are_one_object_and_what_comes_from_secrets_is_not_shown() {
    harness::run(bolero::check!(), "parameters", 400, changes::change, check);
}

/// What is given: the spec's own, and what stands in each Secret.
struct Given {
    inline: Option<Map<String, Value>>,
    sources: Vec<Vec<u8>>,
}

impl Given {
    fn read(input: &[u8]) -> Self {
        let document = serde_json::from_slice::<Value>(input).ok();
        let Some(sources) = document.as_ref().and_then(|document| document["sources"].as_array()) else {
            return Self { inline: None, sources: vec![input.to_vec()] };
        };
        let bytes = |source: &Value| match source {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(read) => marked(read),
                Err(_) => format!("{MARK}{text}").into_bytes(),
            },
            other => marked(other.clone()),
        };
        let inline = document.as_ref().and_then(|document| document["inline"].as_object().cloned());
        Self { inline, sources: sources.iter().map(bytes).collect() }
    }

    fn merge(&self) -> Result<Parameters, ParametersError> {
        let reference = |index| SecretKeyReference { name: format!("s{index}"), key: "k".to_owned() };
        let source = |(index, bytes): (usize, &Vec<u8>)| Source {
            reference: reference(index),
            value: SourceValue::of(bytes.clone()),
        };
        let sources: Vec<Source> = self.sources.iter().enumerate().map(source).collect();
        merge(self.inline.clone().map(RawObject::from).as_ref(), &sources)
    }

    /// The same, in another order, down to the members of each object.
    fn shuffled(&self, random: &mut Random<'_>) -> Self {
        let shuffle = |bytes: &Vec<u8>, random: &mut Random<'_>| match serde_json::from_slice::<Value>(bytes)
        {
            // Reading it would lose what a second member of the same name hides.
            Ok(_) if depth(bytes) > MAX_DEPTH => bytes.clone(),
            Ok(mut document) => {
                reorder(&mut document, random);
                document.to_string().into_bytes()
            }
            Err(_) => bytes.clone(),
        };
        let mut sources: Vec<_> = self.sources.iter().map(|bytes| shuffle(bytes, random)).collect();
        random.shuffle(&mut sources);
        let mut inline = self.inline.clone().map(Value::Object);
        if let Some(inline) = &mut inline {
            reorder(inline, random);
        }
        Self { inline: inline.and_then(|inline| inline.as_object().cloned()), sources }
    }
}

fn reorder(value: &mut Value, random: &mut Random<'_>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| reorder(item, random)),
        Value::Object(members) => {
            let mut all: Vec<_> = std::mem::take(members).into_iter().collect();
            random.shuffle(&mut all);
            for (_, member) in &mut all {
                reorder(member, random);
            }
            members.extend(all);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn marked(mut value: Value) -> Vec<u8> {
    mark(&mut value);
    value.to_string().into_bytes()
}

fn check(input: &[u8]) -> Check {
    let given = Given::read(input);
    let sum: u64 = input.iter().map(|byte| u64::from(*byte)).sum();
    let other = given.shuffled(&mut Random::seeded(sum));
    match (given.merge(), other.merge()) {
        (Ok(parameters), Ok(same)) => {
            promise!(parameters.checksum() == same.checksum(), "the checksum is one of the order");
            promise!(parameters.to_send() == same.to_send(), "what is sent depends on the order");
            promise!(parameters.to_show() == same.to_show(), "what is shown depends on the order");
            merged(&given, &parameters)?;
            hidden(&given, &parameters)
        }
        (Err(error), Err(_)) => refused(&given, &error.message),
        _ => Err("merged in one order, and not in the other".to_owned()),
    }
}

fn refused(given: &Given, message: &str) -> Check {
    promise!(!message.contains(MARK), "a secret value is shown: {message}");
    promise!(is_shown(message, LONGEST), "not fit to be shown ({} bytes): {message:?}", message.len());
    let is_broken = |bytes: &Vec<u8>| match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => !is_shallow(&object) || depth(bytes) > MAX_DEPTH,
        Ok(_) | Err(_) => true,
    };
    let conflict = message.starts_with("conflict: ");
    let field = match given.sources.iter().position(is_broken) {
        _ if given.inline.as_ref().is_some_and(|inline| !is_shallow(inline)) => "spec.parameters:".to_owned(),
        Some(index) => format!("spec.parametersFrom[{index}]."),
        None => String::new(),
    };
    let named = !field.is_empty() && message.starts_with(&field);
    promise!(named || conflict, "neither the field nor a conflict is named: {message}");
    Ok(())
}

fn is_shallow(object: &Map<String, Value>) -> bool {
    fn is_within(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
            Value::Object(members) => {
                levels > 0 && members.values().all(|member| is_within(member, levels - 1))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    object.values().all(|value| is_within(value, MAX_DEPTH - 1))
}

/// All that was given is sent, and nothing else.
fn merged(given: &Given, parameters: &Parameters) -> Check {
    let mut expected = given.inline.clone().unwrap_or_default();
    let mut count = expected.len();
    for bytes in &given.sources {
        let source: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|_| "merged what is no object")?;
        count += source.len();
        expected.extend(source);
    }
    promise!(count == expected.len(), "a key that is given twice is sent");
    let sent = parameters.to_send();
    promise!(sent.unwrap_or_default() == expected.clone().into(), "what is sent is not what was given");
    promise!(is_shallow(&expected), "sent, and so deep that no list can be read that shows it");
    promise!(parameters.checksum().is_empty() == expected.is_empty(), "the checksum of nothing");
    let mut changed = given.inline.clone().unwrap_or_default();
    changed.insert("one more".to_owned(), Value::Null);
    let changed = Given { inline: Some(changed), sources: given.sources.clone() };
    let same = changed.merge().is_ok_and(|changed| changed.checksum() == parameters.checksum());
    promise!(!same || expected.contains_key("one more"), "another content, and the same checksum");
    Ok(())
}

fn hidden(given: &Given, parameters: &Parameters) -> Check {
    let shown = parameters.to_show().map(|shown| shown.text().to_owned()).unwrap_or_default();
    let inline = given.inline.clone().map(|inline| Value::Object(inline).to_string()).unwrap_or_default();
    promise!(inline.contains(MARK) || !shown.contains(MARK), "a secret value is shown: {shown}");
    for bytes in &given.sources {
        let source: Value = serde_json::from_slice(bytes).unwrap_or_default();
        // Shorter ones are no secrets.
        let secrets = texts(&source).into_iter().filter(|secret| display(secret).chars().count() >= 4);
        for secret in secrets.take(5) {
            let said = display(&format!("no: {secret} is wrong"));
            let shown = parameters.redact(&said);
            promise!(!shown.contains(MARK), "a secret value is repeated: {said:?} became {shown:?}");
        }
    }
    Ok(())
}
