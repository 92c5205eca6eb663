//! Choices: drawn from whatever drives a target, or following from a seed.

/// Chooses what to break.
pub struct Random<'a>(Source<'a>);

enum Source<'a> {
    /// Gives a number below its argument, which is never 0.
    Drawn(&'a mut dyn FnMut(usize) -> usize),
    Seeded(u64),
}

impl<'a> Random<'a> {
    /// Choices that somebody else makes: chance, or a fuzzer that watches what they lead to.
    pub fn drawn(draw: &'a mut dyn FnMut(usize) -> usize) -> Self {
        Self(Source::Drawn(draw))
    }

    /// Choices that follow from a seed: the same on every machine.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(seed))
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1);
        match &mut self.0 {
            Source::Drawn(draw) => draw(limit),
            Source::Seeded(state) => {
                usize::try_from(split_mix(state) % u64::try_from(limit).unwrap()).unwrap()
            }
        }
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// `SplitMix64`: a few lines, and good enough to choose what to break.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
