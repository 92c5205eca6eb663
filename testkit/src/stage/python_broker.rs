//! A broker by somebody else: `demo/broker`, which is written on openbrokerapi, as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::repository;

pub const USERNAME: &str = "platform";
pub const PASSWORD: &str = "an-0ther-secret";

/// The broker. It ends with the value, and with the test process.
pub struct PythonBroker {
    /// Its base URL.
    pub url: String,
    journal: PathBuf,
    client: reqwest::Client,
    /// Held: the broker ends when its standard input does.
    _process: Child,
}

/// A line of its journal.
#[derive(Clone, Debug)]
pub struct Line {
    pub method: String,
    pub path: String,
    pub status: u64,
    pub user: Option<String>,
    /// When it was answered, since the epoch.
    pub at: Duration,
}

impl PythonBroker {
    /// Starts it with its memory backend; `journal` is a folder that exists.
    pub async fn start(folder: &Path, name: &str) -> Result<Self> {
        let root = repository();
        // Makes the environment if this is the first time.
        let venv =
            Command::new(root.join("demo/run")).arg("--venv").stderr(Stdio::inherit()).output().await?;
        ensure!(venv.status.success(), "demo/run --venv failed");
        let python = String::from_utf8(venv.stdout)?.trim().to_owned();
        let journal = folder.join(format!("{name}.journal"));
        let log = std::fs::File::create(folder.join(format!("{name}.broker.log")))?;
        let mut process = Command::new(python)
            .arg(root.join("demo/broker"))
            .args([
                "--backend",
                "memory",
                "--until-stdin-closes",
                "--mischief",
                "--async-seconds",
                "0.3",
                "--journal",
            ])
            .arg(&journal)
            .env("BROKER_USERNAME", USERNAME)
            .env("BROKER_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the Python broker")?;
        let output = process.stdout.take().context("the broker has no standard output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the broker ended at once")?;
        let ready: Value = serde_json::from_str(&line)?;
        let url = ready["url"].as_str().context("the broker did not say its URL")?.to_owned();
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url, journal, client, _process: process })
    }

    /// The requests so far.
    pub fn journal(&self) -> Result<Vec<Line>> {
        let text = std::fs::read_to_string(&self.journal)?;
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line)?;
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            Ok(Line {
                method: text("method").unwrap_or_default(),
                path: text("path").unwrap_or_default(),
                status: line["status"].as_u64().unwrap_or_default(),
                user: text("user"),
                at: Duration::from_secs_f64(line["time"].as_f64().unwrap_or_default()),
            })
        };
        text.lines().map(line).collect()
    }

    /// Tells it to do wrong, or to wait: see `demo/broker/mischief.py`.
    pub async fn mischief(&self, wishes: Value) -> Result<()> {
        self.client.put(format!("{}/mischief", self.url)).json(&wishes).send().await?.error_for_status()?;
        Ok(())
    }

    /// The ids of the instances and bindings that it remembers.
    pub async fn remembered(&self) -> Result<Vec<String>> {
        let answer: Value = self.client.get(format!("{}/mischief", self.url)).send().await?.json().await?;
        let ids = ["instances", "bindings"].into_iter().filter_map(|kind| answer[kind].as_array()).flatten();
        Ok(ids.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The status of a GET, for what exists.
    pub async fn look(&self, path: &str) -> Result<u16> {
        let request = self.client.get(format!("{}{path}", self.url)).basic_auth(USERNAME, Some(PASSWORD));
        Ok(request.header("X-Broker-API-Version", "2.17").send().await?.status().as_u16())
    }
}
