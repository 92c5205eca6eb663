//! Placeholder-free entry point follows with the runtime.
fn main() {}
