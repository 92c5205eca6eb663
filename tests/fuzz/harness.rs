//! One target: its corpus as it is, then a fixed number of changed entries; what breaks a promise is made small and kept.
//!
//! `FUZZ_SEED` chooses other changes, `FUZZ_SECONDS` runs each target for so long.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::random::Random;

/// What is promised of an input, or which promise it broke.
pub type Check = Result<(), String>;

/// Returns a broken promise unless the condition holds.
#[macro_export]
macro_rules! promise {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

/// The seed unless another is given: what passed once passes again.
const SEED: u64 = 2017;
/// For how long parts of a broken input are tried to be left out.
const SMALLER: Duration = Duration::from_secs(5);

/// Runs a target. `change` makes a new input of one that is known, `check` says what is promised of every input.
pub fn run(
    target: &str,
    iterations: u64,
    change: impl Fn(&[u8], &mut Random) -> Vec<u8>,
    check: impl Fn(&[u8]) -> Check,
) {
    let corpus = corpus(target);
    for (path, input) in &corpus {
        if let Err(broken) = guarded(&check, input) {
            panic!("{target}: {}: {broken}", path.display());
        }
    }
    let seed = number("FUZZ_SEED");
    let time = number("FUZZ_SECONDS").map(Duration::from_secs);
    let seed = seed.unwrap_or_else(|| if time.is_some() { by_the_clock() } else { SEED });
    let started = Instant::now();
    let mut iteration = 0;
    while time.map_or(iteration < iterations, |time| started.elapsed() < time) {
        let mut random = Random::new(seed ^ iteration.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut input = corpus[random.below(corpus.len())].1.clone();
        for _ in 0..=random.below(3) {
            input = change(&input, &mut random);
        }
        if let Err(broken) = guarded(&check, &input) {
            let small = smaller(&input, &check);
            let broken = guarded(&check, &small).err().unwrap_or(broken);
            let kept = keep(target, &small);
            panic!(
                "{target}: {broken}\n\ninput ({} bytes, with FUZZ_SEED={seed}, iteration {iteration}): {}\n\
                 kept in {}: when it is mended, copy it to tests/fuzz/corpus/{target}/",
                small.len(),
                shown(&small),
                kept.display()
            );
        }
        iteration += 1;
    }
}

/// The committed inputs of a target, in the order of their names.
pub fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

fn by_the_clock() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A panic is a broken promise like any other.
fn guarded(check: &impl Fn(&[u8]) -> Check, input: &[u8]) -> Check {
    catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        Err(format!("panicked: {text}"))
    })
}

/// Takes out of a broken input what is not needed to break it: halves first, single bytes at the end.
fn smaller(input: &[u8], check: &impl Fn(&[u8]) -> Check) -> Vec<u8> {
    let mut small = input.to_vec();
    let (mut length, started) = (small.len() / 2, Instant::now());
    while length > 0 {
        let mut at = 0;
        while at < small.len() && started.elapsed() < SMALLER {
            let mut without = small.clone();
            without.drain(at..(at + length).min(small.len()));
            if guarded(check, &without).is_err() {
                small = without;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    small
}

fn keep(target: &str, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target);
    fs::create_dir_all(&folder).unwrap();
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let path = folder.join(format!("{sum:016x}"));
    fs::write(&path, input).unwrap();
    path
}

/// The beginning of an input, with what does not print escaped.
fn shown(input: &[u8]) -> String {
    let more = if input.len() > 600 { "…" } else { "" };
    format!("\"{}\"{more}", input[..input.len().min(600)].escape_ascii())
}
