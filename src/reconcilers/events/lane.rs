//! How are Events published? One after the other, and only while the operator has few other writes: a status is more
//! important than an Event about it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{api::events::v1 as api, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{Api, Client, core::ObjectMeta};
use tokio::sync::Notify;

use super::queue::{Pending, Queue};
use crate::{
    kube_api::request::{MANAGER, post_params, timed},
    metrics::Metrics,
    reconcilers::writes::permits::WritePermits,
};

/// How often the lane looks whether the operator still has many writes in progress.
const POLL: Duration = Duration::from_millis(100);

/// After so many looks it publishes one Event even so. A long burst must not hide every warning.
const LOOKS: usize = 10;

/// The longest name of an object in the name of its Event. The API server accepts 253 characters in all.
const NAME_LIMIT: usize = 230;

/// The Events that wait, and the call that wakes their task.
#[derive(Default)]
pub struct EventLane {
    queue: Mutex<Queue>,
    pushed: Notify,
}

impl EventLane {
    /// Adds an Event, and counts the one that is dropped for it.
    pub fn push(&self, event: Pending, metrics: &Metrics) {
        if let Some(type_) = self.queue().push(event) {
            metrics.dropped_event(type_.name());
        }
        self.pushed.notify_one();
    }

    /// Publishes the Events for as long as the operator runs.
    pub async fn run(&self, client: &Client, writes: &WritePermits, metrics: &Metrics) -> ! {
        loop {
            self.wait().await;
            // The Event is taken after the wait: until then others can be added before it or to it.
            wait_for_quiet(writes).await;
            let event = self.queue().pop();
            if let Some(event) = event {
                publish(&event, client, metrics).await;
            }
        }
    }

    async fn wait(&self) {
        // A push between the two lines leaves a permit behind. Then the wait ends at once.
        while self.queue().is_empty() {
            self.pushed.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait_for_quiet(writes: &WritePermits) {
    for _ in 0..LOOKS {
        if !writes.are_scarce() {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn publish(event: &Pending, client: &Client, metrics: &Metrics) {
    // Events about cluster-wide objects are in this namespace.
    let namespace = event.object.namespace.as_deref().unwrap_or("default");
    let api: Api<api::Event> = Api::namespaced(client.clone(), namespace);
    let created = timed("create an Event", api.create(&post_params(), &to_object(event))).await;
    let result = created.as_ref().map_or_else(crate::kube_api::Error::category, |_| "success");
    metrics.api_write("Event", "create", result);
    if let Err(error) = created {
        tracing::debug!(error = &error as &dyn std::error::Error, "cannot publish an Event");
    }
}

fn to_object(event: &Pending) -> api::Event {
    let Pending { object, type_, reason, note, time } = event;
    api::Event {
        metadata: ObjectMeta { name: Some(name(event)), ..ObjectMeta::default() },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(*time)),
        note: Some(note.clone()),
        reason: Some(reason.clone()),
        regarding: Some(object.clone()),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(MANAGER.to_owned()),
        type_: Some(type_.name().to_owned()),
        ..api::Event::default()
    }
}

/// As client-go forms it: the name of the object, and the time in hexadecimal.
fn name(Pending { object, time, .. }: &Pending) -> String {
    let object: String = object.name.iter().flat_map(|name| name.chars()).take(NAME_LIMIT).collect();
    format!("{}.{:x}", object.trim_end_matches(['.', '-']), time.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ObjectReference;
    use tokio::time::Instant;

    use super::{super::queue::EventType, *};

    async fn quiet_after(writes: &WritePermits) -> Duration {
        let begun = Instant::now();
        wait_for_quiet(writes).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_while_many_writes_are_in_progress_but_not_for_ever() {
        let writes = WritePermits::new(4);
        let held = [writes.acquire().await, writes.acquire().await];
        assert_eq!(quiet_after(&writes).await, Duration::ZERO);
        let scarce = writes.acquire().await;
        assert_eq!(quiet_after(&writes).await, Duration::from_secs(1));
        drop((held, scarce));
        assert_eq!(quiet_after(&writes).await, Duration::ZERO);
    }

    #[test]
    fn an_event_says_when_it_happened_and_has_a_valid_name() {
        let about = |name: &str| Pending {
            object: ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() },
            type_: EventType::Warning,
            reason: "ProvisionCallFailed".to_owned(),
            note: "no".to_owned(),
            time: Timestamp::from_nanosecond(0x1f).unwrap(),
        };
        let object = to_object(&about("db"));
        assert_eq!(object.metadata.name.as_deref(), Some("db.1f"));
        assert_eq!(object.type_.as_deref(), Some("Warning"));
        assert_eq!(object.event_time, Some(MicroTime(about("db").time)));
        let long = format!("{}-.{}", "a".repeat(229), "b".repeat(20));
        assert_eq!(name(&about(&long)), format!("{}.1f", "a".repeat(229)));
    }
}
