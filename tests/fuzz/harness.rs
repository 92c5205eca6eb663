//! One target: its corpus as it is, then changed entries. In `cargo test` the changes are always the same ones, so that what
//! has passed passes again. Who looks for more lets bolero draw them: by chance, or by what they lead to.

use std::{
    env, fmt, fs,
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

/// Runs a target: `change` makes a new input of one that is known, `check` says what is promised of every input. So many
/// inputs are made, unless bolero is asked for others.
pub fn run(
    target: Target,
    corpus: &str,
    inputs: u64,
    change: impl Fn(&[u8], &mut Random<'_>) -> Vec<u8>,
    check: impl Fn(&[u8]) -> Check + RefUnwindSafe,
) {
    let known = known(corpus);
    for (path, input) in &known {
        hold(&path.display(), &check, input);
    }
    let changed = Changed { known, change };
    if is_bolero_asked() {
        let target = target.with_generator(changed).with_shrink_time(SMALLER);
        target.for_each(|input: &Input| hold(&corpus, &check, input));
    } else {
        for seed in 0..inputs {
            hold(&format_args!("{corpus}, seed {seed}"), &check, &changed.input(&mut Random::seeded(seed)));
        }
    }
}

/// Whether `cargo bolero` runs this, or somebody has set one of bolero's variables (`BOLERO_RANDOM_TEST_TIME_MS`).
fn is_bolero_asked() -> bool {
    env::vars_os().any(|(name, _)| name.to_string_lossy().contains("BOLERO_"))
}

struct Changed<F> {
    known: Vec<(PathBuf, Input)>,
    change: F,
}

impl<F: Fn(&[u8], &mut Random<'_>) -> Vec<u8>> Changed<F> {
    fn input(&self, random: &mut Random<'_>) -> Input {
        let mut input = self.known[random.below(self.known.len())].1.clone();
        for _ in 0..=random.below(3) {
            input = Input((self.change)(&input.0, random));
        }
        input
    }
}

impl<F: Fn(&[u8], &mut Random<'_>) -> Vec<u8>> ValueGenerator for Changed<F> {
    type Output = Input;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Input> {
        let mut draw = |limit: usize| {
            // A fuzzer that has nothing more to say says 0.
            driver.gen_usize(Bound::Included(&0), Bound::Excluded(&limit)).unwrap_or(0)
        };
        Some(self.input(&mut Random::drawn(&mut draw)))
    }
}

/// An input that prints so that it can be copied.
#[derive(Clone)]
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
fn hold(what: &dyn fmt::Display, check: &impl Fn(&[u8]) -> Check, input: &Input) {
    if let Err(broken) = check(&input.0) {
        panic!("{what}: {broken}\nthe input: {input:?}");
    }
}

/// The committed inputs of a target, in the order of their names.
fn known(corpus: &str) -> Vec<(PathBuf, Input)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(corpus);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| (path.clone(), Input(fs::read(path).unwrap()))).collect()
}
