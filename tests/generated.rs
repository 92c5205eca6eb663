//! The committed YAML is what the Rust types say.
//!
//! With `UPDATE_GENERATED=1` (which is what `make crds` sets) the files are written instead of compared.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use service_catalog::generate;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn compare(folder: &Path, expected: &[(String, String)]) {
    let update = env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1");
    for (name, text) in expected {
        let path = folder.join(name);
        if update {
            fs::create_dir_all(folder).expect("a folder for the generated files");
            fs::write(&path, text).expect("a generated file is written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            &committed == text,
            "{} is not what the Rust types say: run `make crds` and commit the result",
            path.display()
        );
    }
}

/// Files that no type stands behind any more, and kustomizations that forget one, are found as well.
fn listed(folder: &Path, expected: &[(String, String)]) {
    let expected: BTreeSet<_> = expected.iter().map(|(name, _)| name.clone()).collect();
    let found: BTreeSet<_> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(found, expected, "the files in {}", folder.display());

    let text = fs::read_to_string(folder.join("kustomization.yaml")).expect("a kustomization");
    let kustomization: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let resources: BTreeSet<_> = kustomization["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|name| name.as_str().expect("a file name").to_owned())
        .collect();
    assert_eq!(resources, expected, "the kustomization in {}", folder.display());
}

#[test]
fn crds() {
    let expected = generate::crds_yaml().expect("YAML");
    compare(&folder("crds"), &expected);
    listed(&folder("crds"), &expected);
}

#[test]
fn admission_policies() {
    let expected = generate::admission_yaml().expect("YAML");
    compare(&folder("config/admission"), &expected);
    listed(&folder("config/admission"), &expected);
}
