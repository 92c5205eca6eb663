//! Classes and plans.
