//! The scripted broker itself: that its model is truthful, that each fault is the fault it claims to
//! be, and that ledger, journal and violations tell what happened. Every other suite relies on that.

mod faults;
mod model;
mod platform;
mod requests;
