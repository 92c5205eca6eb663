//! A picture of what grows: CPU and memory of the operator against the number of objects, from all results in a folder.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;

use crate::rounds::Level;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;

/// A line of the picture.
struct Line {
    name: &'static str,
    color: &'static str,
    /// Objects, and the value.
    points: Vec<(f64, f64)>,
}

/// Draws `cluster.svg` from the results that runs of any size have left in the folder.
pub fn draw(out: &Path) -> Result<()> {
    let mut levels: Vec<Level> = Vec::new();
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("beside-")) {
            levels.push(serde_json::from_str(&fs::read_to_string(path)?)?);
        }
    }
    levels.sort_by_key(|level| (level.size.objects, level.size.plans));
    let line = |name, color, value: fn(&Level) -> f64| {
        let points = levels.iter().map(|level| (level.size.objects as f64, value(level))).collect();
        Line { name, color, points }
    };
    let cpu = [
        line("1,000 provisions", "#0969da", |level| level.figures().provision_cpu),
        line("1,000 binds", "#bf3989", |level| level.figures().bind_cpu),
    ];
    let memory = [
        line("before the bursts", "#0969da", |level| level.figures().memory[0]),
        line("the most", "#bf3989", |level| level.figures().memory[1]),
        line("after them", "#1a7f37", |level| level.figures().memory[2]),
    ];
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
"##,
        2.0 * HEIGHT
    );
    svg.push_str(&panel("CPU of the operator, in seconds", &cpu, 0.0)?);
    svg.push_str(&panel("memory of the operator, in MiB", &memory, HEIGHT)?);
    svg.push_str("</svg>\n");
    Ok(fs::write(out.join("cluster.svg"), svg)?)
}

/// One diagram, this far from the top. The number of objects grows by factors to the right.
fn panel(title: &str, lines: &[Line], top: f64) -> Result<String> {
    let values = || lines.iter().flat_map(|line| &line.points);
    let highest = values().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max) * 1.1;
    let (least, most) = values().fold((f64::MAX, 1.0), |(least, most): (f64, f64), point| {
        (least.min(point.0.max(1.0)), most.max(point.0))
    });
    let factors = (most / least).ln().max(f64::MIN_POSITIVE);
    let x = |objects: f64| LEFT + (objects.max(1.0) / least).ln() / factors * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| top + HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n", top + 20.0);
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        let (end, at, text) = (WIDTH - RIGHT, y(value), LEFT - 6.0);
        writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#d0d7de\"/>")?;
        writeln!(svg, "<text x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>", at + 4.0)?;
    }
    for (number, Line { name, color, points }) in lines.iter().enumerate() {
        let path: Vec<String> =
            points.iter().map(|(objects, value)| format!("{:.1},{:.1}", x(*objects), y(*value))).collect();
        writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\"/>", path.join(" "))?;
        for (objects, value) in points {
            writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"/>",
                x(*objects),
                y(*value)
            )?;
        }
        let (left, at) = (WIDTH - RIGHT + 12.0, top + TOP + 18.0 * number as f64);
        writeln!(svg, "<text x=\"{left}\" y=\"{at:.1}\" fill=\"{color}\">{name}</text>")?;
    }
    let mut shown = Vec::new();
    for (objects, _) in values() {
        if !shown.contains(objects) {
            shown.push(*objects);
            let at = top + HEIGHT - BOTTOM + 18.0;
            writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{at}\" text-anchor=\"middle\">{objects}</text>",
                x(*objects)
            )?;
        }
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\">objects</text>",
        WIDTH - RIGHT + 12.0,
        top + HEIGHT - BOTTOM + 18.0
    )?;
    Ok(svg)
}
