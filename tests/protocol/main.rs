//! The broker client on real sockets: what it sends, byte for byte, and what it makes of every way a connection fails.

#[cfg(test)]
mod catalog;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod log;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod script;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transport;
