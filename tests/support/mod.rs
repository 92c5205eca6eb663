//! What the test binaries, the examples and the demo share.
//!
//! Every test binary compiles its own copy of this module and uses a part of it, so unused items are
//! normal here and only here.

#![allow(dead_code, unused_imports)]

pub mod broker;
pub mod control_plane;
