//! Tables of decisions, and candidates over time with a lease in memory and a clock that the tests move.

mod candidates;
mod decisions;
mod memory;
