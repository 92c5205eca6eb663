//! `ServiceBinding`: bind, Secret, unbind.
