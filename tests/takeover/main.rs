//! A cluster that the original Service Catalog left behind goes on under this operator.
//!
//! The original's definitions, which have no schema, are installed first, and objects are made as it left them: one file
//! a state under `states/`, with what the broker had at that moment. Then an administrator follows `docs/migration.md`: the
//! commands of its steps 1 to 3 are run as they are there, the new definitions and policies are applied, and the operator
//! starts. One namespace and one scripted broker a state.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bindings;
mod catalog;
mod chart;
mod instances;
mod left;

use std::{
    collections::HashMap,
    future::Future,
    sync::{LazyLock, Mutex},
};

use anyhow::{Context as _, Result};
use testkit::{
    control_plane::ControlPlane,
    stage::{
        Stage, WITH_POLICIES,
        install::{install, kubectl},
        operator::Operator,
    },
};
use tokio::{runtime::Runtime, sync::OnceCell};

use left::Left;

const OPERATOR: &str = env!("CARGO_BIN_EXE_service-catalog");

/// Everything runs here: what one test sets up, the brokers above all, has to outlive it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Takes the place of the original where a state is `name`, and says what is to come of it.
fn take_over<F: Future<Output = ()>>(name: &str, expected: impl FnOnce(Left) -> F) {
    RUNTIME.block_on(async {
        let taken = everything().await.lock().unwrap().remove(name);
        expected(taken.unwrap_or_else(|| panic!("there is no states/{name}.yaml, or it is tested twice")))
            .await;
    });
}

/// All states, after the takeover.
async fn everything() -> &'static Mutex<HashMap<String, Left>> {
    static TAKEN: OnceCell<Mutex<HashMap<String, Left>>> = OnceCell::const_new();
    match TAKEN.get_or_try_init(take_all_over).await {
        Ok(taken) => taken,
        Err(error) => panic!("the takeover failed: {error:#}"),
    }
}

async fn take_all_over() -> Result<Mutex<HashMap<String, Left>>> {
    let plane = ControlPlane::shared().await?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/takeover");
    // As helm made them: unlike `kubectl apply`, it leaves no note of what it wanted.
    kubectl(plane, &["create", "-f", &format!("{folder}/crds.yaml")]).await?;
    let established = ["wait", "--for=condition=Established", "crd", "-l", "svcat=true", "--timeout=60s"];
    kubectl(plane, &established).await?;

    let stage: &'static Stage =
        Box::leak(Box::new(Stage { plane, operator: Operator::idle(OPERATOR, plane, &[]) }));
    let mut all = HashMap::new();
    for file in std::fs::read_dir(format!("{folder}/states"))? {
        let path = file?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a file without a name")?;
        let left = Left::behind(stage, name, &std::fs::read_to_string(&path)?).await;
        all.insert(name.to_owned(), left.with_context(|| format!("states/{name}.yaml"))?);
    }
    chart::install(plane).await?;
    chart::follow_steps_1_to_3(plane).await?;
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/config/migration");
    kubectl(plane, &["apply", "-k", definitions]).await?;
    install(plane, WITH_POLICIES).await?;
    stage.operator.begin().await?;
    Ok(Mutex::new(all))
}
