//! The YAML files that are generated from the types and committed: `crds/` and the policies in `config/admission/`.
//!
//! `tests/generated.rs` compares them with what the types say, and `make crds` writes them.

use serde::Serialize;
use serde_json::{Number, Value};

use crate::{admission, crd};

/// What every generated file begins with.
const HEADER: &str = "# Generated from the Rust types by `make crds`. Do not edit.\n";

/// A value that has no YAML. Nothing in these documents can cause it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON either.
    #[error("a document cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// It is no YAML.
    #[error("a document cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The definitions of the eight kinds: name of the file in `crds/`, and its text.
pub fn crds_yaml() -> Result<Vec<(String, String)>, Error> {
    crd::all()
        .iter()
        .map(|definition| {
            let file = format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
            Ok((file, yaml([definition])?))
        })
        .collect()
}

/// The admission policies: name of the file in `config/admission/`, and its text.
pub fn admission_yaml() -> Result<Vec<(String, String)>, Error> {
    admission::policies()
        .iter()
        .map(|policy| Ok((format!("{}.yaml", policy.topic), yaml(&policy.documents)?)))
        .collect()
}

/// Documents as one YAML stream.
pub fn yaml<'a, T: Serialize + 'a>(documents: impl IntoIterator<Item = &'a T>) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! {
        // Folded text is hard to compare line by line, and longer than this are only descriptions.
        folded_wrap_chars: 4096,
    };
    let mut text = HEADER.to_owned();
    for document in documents {
        let mut value = serde_json::to_value(document)?;
        integers(&mut value);
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string_with_options(&value, options.clone())?);
    }
    Ok(text)
}

/// Schema limits are floating-point numbers in the API types; where they are whole, they are written without a point, as
/// kubectl shows them.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(integers),
        Value::Object(values) => values.values_mut().for_each(integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn whole(number: &Number) -> Option<Number> {
    if !number.is_f64() {
        return None;
    }
    // The shortest text of a whole f64 ends in ".0" up to 10^16; larger ones stay as they are.
    let text = number.to_string();
    text.strip_suffix(".0")?.parse::<i64>().ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_have_no_point() {
        let mut value = json!({"minimum": 0.0, "maximum": [63.0, 0.5], "already": 7});
        integers(&mut value);
        assert_eq!(value, json!({"minimum": 0, "maximum": [63, 0.5], "already": 7}));
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_documents() {
        for policy in admission::policies() {
            let text = yaml(&policy.documents).expect("yaml");
            let read: Vec<Value> = serde_saphyr::from_multiple(&text).expect("documents");
            assert_eq!(read, policy.documents);
        }
        for definition in crd::all() {
            let text = yaml([&definition]).expect("yaml");
            let mut expected = serde_json::to_value(&definition).expect("json");
            integers(&mut expected);
            assert_eq!(serde_saphyr::from_str::<Value>(&text).expect("a document"), expected);
        }
    }

    #[test]
    fn the_original_s_file_names() {
        let names: Vec<_> = crds_yaml().expect("yaml").into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"servicecatalog.k8s.io_serviceinstances.yaml".to_owned()));
        assert_eq!(names.len(), 8);
    }
}
