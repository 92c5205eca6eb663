//! One target: its corpus as it is, then changed entries. Which changes are made is drawn by bolero: by chance in
//! `cargo test`, by what they lead to under `cargo bolero`.

use std::{
    fmt, fs,
    ops::Bound,
    panic::RefUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use bolero::{BorrowedInput, ByteSliceGenerator, DefaultEngine, Driver, TestTarget, ValueGenerator};

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

/// For how long parts of a broken input are tried to be left out.
const SMALLER: Duration = Duration::from_secs(5);

/// `bolero::check!()`, which stands in the test itself, to be found by the test's name.
type Target = TestTarget<ByteSliceGenerator, DefaultEngine, BorrowedInput>;

/// Runs a target: `change` makes a new input of one that is known, `check` says what is promised of every input.
/// `iterations` is for `cargo test`.
pub fn run(
    target: Target,
    corpus: &str,
    iterations: usize,
    change: impl Fn(&[u8], &mut Random<'_>) -> Vec<u8>,
    check: impl Fn(&[u8]) -> Check + RefUnwindSafe,
) {
    let known = known(corpus);
    for (path, input) in &known {
        hold(&path.display(), &check, input);
    }
    target
        .with_generator(Changed { known, change })
        .with_iterations(iterations)
        .with_shrink_time(SMALLER)
        .for_each(|input: &Input| hold(&corpus, &check, &input.0));
}

struct Changed<F> {
    known: Vec<(PathBuf, Vec<u8>)>,
    change: F,
}

impl<F: Fn(&[u8], &mut Random<'_>) -> Vec<u8>> ValueGenerator for Changed<F> {
    type Output = Input;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Input> {
        let mut draw = |limit: usize| {
            // A fuzzer that has nothing more to say says 0.
            driver.gen_usize(Bound::Included(&0), Bound::Excluded(&limit)).unwrap_or(0)
        };
        let mut random = Random::drawn(&mut draw);
        let mut input = self.known[random.below(self.known.len())].1.clone();
        for _ in 0..=random.below(3) {
            input = (self.change)(&input, &mut random);
        }
        Some(Input(input))
    }
}

/// An input that prints so that it can be copied.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) => formatter.write_str(text),
            Err(_) => write!(formatter, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// Panics when a promise is broken.
fn hold(what: &dyn fmt::Display, check: &impl Fn(&[u8]) -> Check, input: &[u8]) {
    if let Err(broken) = check(input) {
        panic!("{what}: {broken}");
    }
}

/// The committed inputs of a target, in the order of their names.
fn known(corpus: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(corpus);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
