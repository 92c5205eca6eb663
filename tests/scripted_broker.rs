//! The scripted broker itself: that its model is truthful, that each fault is the fault it claims to
//! be, and that ledger, journal and violations tell what happened. Every other suite relies on that.

#[path = "support/broker/mod.rs"]
mod broker;

#[path = "scripted_broker/faults.rs"]
mod faults;
#[path = "scripted_broker/model.rs"]
mod model;
#[path = "scripted_broker/platform.rs"]
mod platform;
#[path = "scripted_broker/requests.rs"]
mod requests;
