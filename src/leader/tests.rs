//! What is decided, as tables, and the candidates in time: against a lease in memory, on a clock that the tests move.

mod candidates;
mod memory;
mod verdicts;
