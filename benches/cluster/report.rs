//! What the measurements mean: a table with targets and verdicts, and the same as JSON.

use std::{fs, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::{
    Size,
    rounds::{Burst, Level},
};

pub struct Report {
    /// The orders of a round.
    pub orders: usize,
    /// The memory of the operator in a cluster without objects, in MiB.
    pub empty_mib: f64,
    /// The small cluster first.
    pub levels: Vec<Level>,
}

/// One line of the table.
#[derive(Serialize)]
struct Measure {
    name: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
    /// `None` without a target.
    met: Option<bool>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Target {
    AtMost(f64),
    AtLeast(f64),
    Between(f64, f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Between(low, high) => (low..=high).contains(&value),
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::Between(low, high) => format!("{low} to {high}"),
        }
    }
}

fn measure(name: impl Into<String>, value: f64, unit: &'static str, target: Option<Target>) -> Measure {
    Measure { name: name.into(), value, unit, target, met: target.map(|target| target.is_met(value)) }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Figures of a level, per 1,000 orders where they depend on the number of orders.
pub struct Figures {
    pub provision_cpu: f64,
    pub bind_cpu: f64,
    ready_per_second: f64,
    null_ready_per_second: f64,
    /// Before the bursts, the most during them, and after them, in MiB.
    pub memory: [f64; 3],
}

impl Level {
    pub fn figures(&self) -> Figures {
        let orders = self.orders as f64;
        let cpu = |bursts: &[Burst]| median(bursts.iter().map(|burst| burst.cpu_seconds)) * 1000.0 / orders;
        let rate = |bursts: &[Burst]| median(bursts.iter().map(|burst| orders / burst.seconds));
        Figures {
            provision_cpu: cpu(&self.provisions),
            bind_cpu: cpu(&self.binds),
            ready_per_second: rate(&self.provisions),
            null_ready_per_second: rate(&self.null_provisions),
            memory: [0, 1, 2].map(|column| median(self.memory.iter().map(|row| row[column]))),
        }
    }

    fn measures(&self) -> Vec<Measure> {
        let Figures { provision_cpu, bind_cpu, ready_per_second, null_ready_per_second, memory } =
            self.figures();
        let [before, peak, after] = memory;
        let ratio = 100.0 * ready_per_second / null_ready_per_second;
        let limit = memory_limit(self.size).map(Target::AtMost);
        vec![
            measure("CPU for 1,000 provisions", provision_cpu, "s", Some(Target::AtMost(1.0))),
            measure("CPU for 1,000 binds", bind_cpu, "s", Some(Target::AtMost(1.2))),
            measure("operator", ready_per_second, "ready/s", None),
            measure("null writer", null_ready_per_second, "ready/s", None),
            measure("operator ÷ null writer", ratio, "%", Some(Target::AtLeast(90.0))),
            measure("memory before the bursts", before, "MiB", limit),
            measure("memory, the most during them", peak, "MiB", limit),
            measure("memory after them", after, "MiB", limit),
        ]
    }
}

/// The most memory that the operator may need, in MiB. `None`: there is no target for this size.
fn memory_limit(Size { objects, plans }: Size) -> Option<f64> {
    match objects {
        ..=10_000 if plans <= 2_000 => Some(96.0),
        10_001..=50_000 => Some(400.0),
        _ => None,
    }
}

impl Report {
    /// The measures, under the title of each part.
    fn parts(&self) -> Vec<(String, Vec<Measure>)> {
        let empty = measure("memory", self.empty_mib, "MiB", Some(Target::AtMost(14.0)));
        let mut parts = vec![("without objects".to_owned(), vec![empty])];
        for level in &self.levels {
            let Size { objects, plans } = level.size;
            let title = format!("beside {objects} instances, {objects} bindings and {plans} plans");
            parts.push((title, level.measures()));
        }
        if let [small, larger] = &self.levels[..] {
            parts.push(("what grows: the larger cluster ÷ the small one".to_owned(), growth(small, larger)));
        }
        parts
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("Medians of the rounds, {} orders each.", self.orders);
        for (title, measures) in self.parts() {
            println!("\n{title}\n");
            println!("| measure | value | target | verdict |\n| --- | --- | --- | --- |");
            for Measure { name, value, unit, target, met } in measures {
                let target = target.map(Target::text).unwrap_or_default();
                let verdict = met.map(|met| if met { "met" } else { "**missed**" }).unwrap_or_default();
                println!("| {name} | {value:.2} {unit} | {target} | {verdict} |");
            }
        }
    }

    /// Writes the table as JSON, and what was measured in each cluster.
    pub fn save(&self, out: &Path) -> Result<()> {
        let parts: serde_json::Map<_, _> = self
            .parts()
            .into_iter()
            .map(|(title, measures)| Ok((title, serde_json::to_value(measures)?)))
            .collect::<Result<_>>()?;
        fs::write(out.join("report.json"), serde_json::to_string_pretty(&parts)?)?;
        for level in &self.levels {
            let Size { objects, plans } = level.size;
            let path = out.join(format!("beside-{objects}-{plans}.json"));
            fs::write(path, serde_json::to_string_pretty(level)?)?;
        }
        Ok(())
    }
}

/// What an order costs in the larger cluster, compared with the small one.
fn growth(small: &Level, larger: &Level) -> Vec<Measure> {
    let (few, many) = (small.figures(), larger.figures());
    let same = Some(Target::Between(0.9, 1.1));
    let objects = (larger.size.objects - small.size.objects) as f64;
    let mut measures = vec![
        measure("CPU for a provision", many.provision_cpu / few.provision_cpu, "", same),
        measure("CPU for a bind", many.bind_cpu / few.bind_cpu, "", same),
        measure("ready/s of the operator", many.ready_per_second / few.ready_per_second, "", None),
        measure(
            "ready/s of the null writer",
            many.null_ready_per_second / few.null_ready_per_second,
            "",
            None,
        ),
    ];
    if objects > 0.0 && small.size.plans == larger.size.plans {
        let kibibytes = (many.memory[0] - few.memory[0]) * 1024.0 / objects;
        measures.push(measure("memory for an instance with its binding", kibibytes, "KiB", None));
    }
    measures
}
