//! A small model of one object, its operator and its broker, walked breadth-first: every answer, every crash, every edit
//! and every late effect. It checks what must never break, in all states that can be reached; and, with deliberate
//! mistakes, that it would notice.
//!
//! [`state`]: what is true at one moment. [`surprises`]: what happens without the operator. [`broker`]: what is true at the
//! broker. [`pass`]: what the operator does, and what comes of it. [`rules`]: what must never break. [`walk`]: breadth first. [`wander`]: at
//! random, and deeper.
//! [`rest`]: where it ends when all mends. [`subject`]: what a walk has to know of a kind; [`instance`] and [`binding`]: those. [`correct`]: the machines as
//! they are; [`mistakes`]: and as they must not be.
//!
//! `MODEL_STATES=20000 cargo test --test model` walks further than by default, and more often at random.

// What the tests share is no test itself, and may unwrap as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod binding;
mod broker;
mod correct;
mod instance;
mod mistakes;
mod pass;
mod rest;
mod rules;
mod state;
mod subject;
mod surprises;
mod walk;
mod wander;
mod wire;
