//! The files that are generated from the types and committed: the definitions in `crds/`, the policies in
//! `config/admission/`, and the page `docs/reference/configuration.md`.
//!
//! `tests/generated/main.rs` compares the files with the types, and `make generated` writes them.

use std::fmt::Write as _;

use clap::{Arg, Args as _};
use serde::Serialize;
use serde_json::{Number, Value};

use crate::{admission, config::Config, crd, telemetry::DEFAULT_FILTER};

/// The first line of every generated YAML file.
const HEADER: &str = "# Generated from the Rust types by `make generated`. Do not edit.\n";

/// A document cannot be serialized. The documents of this crate never cause it.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The document has no JSON form.
    #[error("cannot write a document as JSON")]
    Json(#[from] serde_json::Error),
    /// The document has no YAML form.
    #[error("cannot write a document as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The definitions of the eight kinds: file name in `crds/` and content.
pub fn crds_yaml() -> Result<Vec<(String, String)>, GenerateError> {
    crd::all()
        .iter()
        .map(|definition| {
            let file = format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
            Ok((file, yaml([definition])?))
        })
        .collect()
}

/// The admission policies: file name in `config/admission/` and content. `operator` is the account of the
/// operator.
pub fn admission_yaml(operator: &str) -> Result<Vec<(String, String)>, GenerateError> {
    policies_yaml(&admission::policies(operator))
}

/// The policy of `config/restricted-plans/`: file name and content. `operator` is the account of the operator.
pub fn restricted_plans_yaml(operator: &str) -> Result<Vec<(String, String)>, GenerateError> {
    policies_yaml(&admission::restricted_plans(operator))
}

fn policies_yaml(policies: &[admission::Policy]) -> Result<Vec<(String, String)>, GenerateError> {
    policies.iter().map(|policy| Ok((format!("{}.yaml", policy.topic), yaml(&policy.documents)?))).collect()
}

const CONFIGURATION_INTRODUCTION: &str = "\
<!-- Generated from src/config.rs by `make generated`. Do not edit. -->

# Configuration

`service-catalog run` reads its settings once, when it starts. Each setting is a flag and an environment variable. If both
are set, the flag has precedence. Names and defaults are those of Kubernetes Service Catalog v0.3 where v0.3 has the setting.

In a cluster, set them in the Deployment, for example:

```sh
kubectl set env -n service-catalog deployment/service-catalog LOG_FORMAT=json RUST_LOG=warn,service_catalog=debug
```

A duration is written as in `1h30m`, `20s` or `500ms`. `service-catalog run --help` prints the same settings.
";

const OPERATOR_ACCOUNT: &str = "
## The account of the operator

The admission policies leave alone what the operator writes, so they must know its account. It is the ServiceAccount
`service-catalog` in the namespace `service-catalog`. If you install the operator under another name or in another
namespace, include the component [config/operator-account](../../config/operator-account/kustomization.yaml) in your
overlay. For any other account, install the output of `service-catalog policies --operator-account=<USER>` in place of
`config/admission`. The variable is `OPERATOR_ACCOUNT`. With a wrong account the operator can change nothing, and its
log says that its user \"is not the operator\".
";

const OTHER_VARIABLES: &str = "
## Variables without a flag

| Variable | Meaning |
| --- | --- |
| `RUST_LOG` | The filter of the log, as in `warn,service_catalog=debug`. The default is `{FILTER}`. |
| `NO_COLOR` | If set, the log has no colours on a terminal. Without a terminal it never has colours. |
| `KUBECONFIG` | The kubeconfig of the cluster. Without it, the operator tries `~/.kube/config`, then the service account of its pod. |
| `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | The proxy for requests to brokers. The operator cannot use a proxy for the API server. |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | The certificate authorities for brokers without `spec.caBundle`, in place of those of the system. |
";

/// The content of `docs/reference/configuration.md`: every setting of `service-catalog run`, in its group.
#[must_use]
pub fn configuration_page() -> String {
    let mut command = Config::augment_args(clap::Command::new("run"));
    command.build();
    let mut page = CONFIGURATION_INTRODUCTION.to_owned();
    let mut group = "";
    for setting in command.get_arguments().filter(|setting| setting.get_id() != "help") {
        let heading = setting.get_help_heading().unwrap_or_default();
        if heading != group {
            group = heading;
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "\n## {group}\n\n| Flag | Variable | Default | Meaning | Change it when |\n\
                 | --- | --- | --- | --- | --- |\n"
            );
        }
        page.push_str(&setting_row(setting));
    }
    page + OPERATOR_ACCOUNT + &OTHER_VARIABLES.replace("{FILTER}", DEFAULT_FILTER)
}

fn setting_row(setting: &Arg) -> String {
    let help = setting.get_long_help().map(ToString::to_string).unwrap_or_default();
    let (meaning, change_when) = help.split_once("\n\n").unwrap_or((&help, ""));
    let flag = setting.get_long().unwrap_or_default();
    let value = match setting.get_value_names() {
        Some([name]) if setting.get_action().takes_values() => format!("=<{name}>"),
        _ => String::new(),
    };
    let variable = setting.get_env().unwrap_or_default().to_string_lossy();
    let default = setting.get_default_values().iter().map(|value| value.to_string_lossy());
    let default = default.collect::<Vec<_>>().join(",");
    let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
    format!("| `--{flag}{value}` | `{variable}` | {default} | {meaning} | {change_when} |\n")
}

/// Documents as one YAML stream.
pub fn yaml<'a, T: Serialize + 'a>(
    documents: impl IntoIterator<Item = &'a T>,
) -> Result<String, GenerateError> {
    let options = serde_saphyr::ser_options! {
        // Folded text is hard to compare line by line, and only descriptions are longer.
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

/// Writes whole numbers without a point, as kubectl shows them. Schema limits are floating-point numbers in
/// the API types.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole_number(number) {
                *number = whole;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(integers),
        Value::Object(values) => values.values_mut().for_each(integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn whole_number(number: &Number) -> Option<Number> {
    if !number.is_f64() {
        return None;
    }
    // The shortest text of a whole f64 ends in ".0" up to 10^16. Larger numbers stay as they are.
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
    fn the_yaml_has_the_same_documents() {
        for policy in admission::policies(admission::OPERATOR) {
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
    fn the_files_have_the_names_of_the_kinds() {
        let names: Vec<_> = crds_yaml().expect("yaml").into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"servicecatalog.k8s.io_serviceinstances.yaml".to_owned()));
        assert_eq!(names.len(), 8);
    }
}
