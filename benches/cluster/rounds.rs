//! The rounds of one size of the cluster.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    Size, burst,
    process::{Memory, Process},
    stand::Stand,
};

/// What was measured in a cluster of one size.
#[derive(Deserialize, Serialize)]
pub struct Level {
    pub size: Size,
    /// The orders of a round.
    pub orders: usize,
    /// The provisions of the operator, round by round.
    pub provisions: Vec<Burst>,
    /// The binds of the operator.
    pub binds: Vec<Burst>,
    /// The provisions of the null writer.
    pub null_provisions: Vec<Burst>,
    /// The memory of the operator in MiB, round by round: before the bursts, the most during them, and after them.
    pub memory: Vec<[f64; 3]>,
}

/// One burst.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub struct Burst {
    /// From the first order to the last that is ready, in seconds.
    pub seconds: f64,
    /// The CPU time of the process that did the work, until it was at rest again, in seconds.
    pub cpu_seconds: f64,
}

/// Measures this many times: operator, null writer, null writer, operator.
pub async fn measure(stand: &Stand, size: Size, orders: usize, repeat: usize) -> Result<Level> {
    let mut level = Level {
        size,
        orders,
        provisions: Vec::new(),
        binds: Vec::new(),
        null_provisions: Vec::new(),
        memory: Vec::new(),
    };
    for _ in 0..repeat {
        level.operator_round(stand).await?;
        level.null_round(stand).await?;
        level.null_round(stand).await?;
        level.operator_round(stand).await?;
    }
    Ok(level)
}

impl Level {
    async fn operator_round(&mut self, stand: &Stand) -> Result<()> {
        let (orders, offerings, client) = (self.orders, stand.offerings(), &stand.client);
        let operator = stand.start_operator().await?;
        let Memory { now: before, .. } = operator.memory()?;
        let burst = during(&operator, async || burst::provision(client, orders, offerings).await).await?;
        self.note("operator, provision", burst);
        self.provisions.push(burst);
        let burst = during(&operator, async || burst::bind(client, orders).await).await?;
        self.note("operator, bind", burst);
        self.binds.push(burst);
        let Memory { now: after, peak } = operator.memory()?;
        self.memory.push([before, peak, after]);
        operator.stop().await?;
        burst::clear(client).await
    }

    async fn null_round(&mut self, stand: &Stand) -> Result<()> {
        let (orders, offerings, client) = (self.orders, stand.offerings(), &stand.client);
        let writer = stand.start_null_writer().await?;
        let burst = during(&writer, async || burst::provision(client, orders, offerings).await).await?;
        self.note("null writer, provision", burst);
        self.null_provisions.push(burst);
        writer.stop().await?;
        burst::clear(client).await
    }

    /// Shows that something happens.
    fn note(&self, what: &str, Burst { seconds, cpu_seconds }: Burst) {
        let rate = self.orders as f64 / seconds;
        eprintln!("  {what}: {rate:.0}/s, {cpu_seconds:.2} s of CPU");
    }
}

/// Measures the CPU time of a process during a burst, with what it still does after it.
async fn during(
    process: &Process,
    burst: impl AsyncFnOnce() -> Result<std::time::Duration>,
) -> Result<Burst> {
    let before = process.cpu()?;
    let seconds = burst().await?.as_secs_f64();
    process.rest().await?;
    Ok(Burst { seconds, cpu_seconds: process.cpu()?.saturating_sub(before).as_secs_f64() })
}
