//! Which addresses a broker may have. Pure.
//!
//! Whoever may create a broker object chooses where the operator connects to. The operator stands inside the
//! cluster, and could reach what this user cannot: the API server, the pods of others, the metadata service
//! of the cloud. So addresses are checked. [`super::resolve`] does it for names, each time that it connects.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How far the address of a broker is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Egress {
    /// An administrator of the cluster chose it: every address but those that [`Egress::allows`] never
    /// allows.
    #[default]
    Open,
    /// A user of one namespace chose it.
    Limited(Arc<Limits>),
}

/// The addresses of brokers whose address is chosen by a user of one namespace. Without any entry: those of
/// the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Ranges that are allowed although they are private, loopback or reserved.
    pub allowed: Vec<IpNet>,
    /// Ranges that are not allowed, even if `allowed` has them.
    pub denied: Vec<IpNet>,
    /// The addresses of the API server. Only an entry of `allowed` with exactly one address allows them.
    pub api_server: Vec<IpAddr>,
}

impl Egress {
    /// Whether a broker may have this address. An IPv6 address that carries an IPv4 address (mapped,
    /// compatible, NAT64, 6to4) is judged by the latter.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        !has(&NEVER, address)
            && match self {
                Self::Open => true,
                Self::Limited(limits) => limits.allow(address),
            }
    }

    /// Whether the messages of errors say what the broker at the address has answered or which name has which
    /// address. A user could otherwise read what only the operator can reach.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

impl Limits {
    fn allow(&self, address: IpAddr) -> bool {
        let mut allowed = self.allowed.iter().filter(|range| range.contains(&address));
        if self.denied.iter().any(|range| range.contains(&address)) {
            false
        } else if self.api_server.iter().any(|server| canonical(*server) == address) {
            allowed.any(|range| range.prefix_len() == range.max_prefix_len())
        } else {
            allowed.next().is_some() || is_public(address)
        }
    }
}

/// Link-local addresses, and the metadata services of clouds at other addresses. No broker has them, and the
/// metadata service of a cloud gives credentials to whoever asks.
const NEVER: [IpNet; 7] = [
    v4(169, 254, 0, 0, 16),
    v6(0xfe80 << 112, 10),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v4(192, 0, 0, 192, 32),
    v6((0xfd00_0ec2 << 96) + 0x254, 128),
    v6((0xfd20_00ce << 96) + 0x254, 128),
];

/// The ranges of IPv4 that are not of the public internet (registry "IPv4 Special-Purpose Address Space" of
/// IANA, and multicast). The addresses of pods, Services and nodes are nearly always in them.
const SPECIAL_V4: [IpNet; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// The only range of IPv6 that is of the public internet, and the ranges in it that are not.
const GLOBAL_V6: [IpNet; 1] = [v6(0x2000 << 112, 3)];
const SPECIAL_V6: [IpNet; 3] = [v6(0x2001 << 112, 23), v6(0x2001_0db8 << 96, 32), v6(0x3fff << 112, 20)];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(bits: u128, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length))
}

fn has(ranges: &[IpNet], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(&address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !has(&SPECIAL_V4, address),
        IpAddr::V6(_) => has(&GLOBAL_V6, address) && !has(&SPECIAL_V6, address),
    }
}

/// The IPv4 address that an IPv6 address stands for, or else the address itself.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match six.segments() {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // Compatible, mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 6to4 (RFC 3056).
        | [0x2002, high, low, _, _, _, _, _] => four(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn limited(allowed: &[&str], denied: &[&str], api_server: &[&str]) -> Egress {
        let api_server = api_server.iter().map(|text| text.parse().unwrap()).collect();
        Egress::Limited(Arc::new(Limits { allowed: ranges(allowed), denied: ranges(denied), api_server }))
    }

    fn allows(egress: &Egress, address: &str) -> bool {
        egress.allows(address.parse().unwrap())
    }

    const PUBLIC: [&str; 6] = [
        "8.8.8.8",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "172.32.0.1",
    ];
    const METADATA: [&str; 9] = [
        "169.254.169.254",
        "169.254.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ];
    const INTERNAL: [&str; 24] = [
        "127.0.0.1",
        "127.255.255.255",
        "::1",
        "::",
        "0.0.0.0",
        "0.1.2.3",
        "10.96.0.10",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "fd12:3456::1",
        "fec0::1",
        "::ffff:127.0.0.1",
        "::ffff:0:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "ff02::1",
    ];

    #[test]
    fn a_user_of_a_namespace_reaches_the_public_internet_only() {
        let egress = limited(&[], &[], &[]);
        for address in PUBLIC {
            assert!(allows(&egress, address), "{address}");
        }
        for address in METADATA.iter().chain(&INTERNAL) {
            assert!(!allows(&egress, address), "{address}");
        }
    }

    #[test]
    fn an_administrator_reaches_all_but_metadata_services() {
        for address in PUBLIC.iter().chain(&INTERNAL) {
            assert!(allows(&Egress::Open, address), "{address}");
        }
        for address in METADATA {
            assert!(!allows(&Egress::Open, address), "{address}");
        }
    }

    #[test]
    fn a_setting_allows_and_denies_more() {
        let egress = limited(&["10.0.0.0/8", "0.0.0.0/0"], &["10.96.0.0/12", "8.8.8.0/24"], &[]);
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("64:ff9b::a01:203", true),
            ("127.0.0.1", true),
            ("10.96.0.1", false),
            ("::ffff:10.96.0.1", false),
            ("8.8.8.8", false),
            ("9.9.9.9", true),
            ("169.254.169.254", false),
            ("::1", false),
        ] {
            assert_eq!(allows(&egress, address), allowed, "{address}");
        }
    }

    #[test]
    fn the_api_server_is_not_reached_through_a_range_that_happens_to_hold_it() {
        for (allowed, expected) in [
            (&["10.96.0.0/12"][..], false),
            (&["10.96.0.1/32"], true),
            (&["0.0.0.0/0"], false),
            (&["10.96.0.0/12", "10.96.0.1/32"], true),
            (&[], false),
        ] {
            let egress = limited(allowed, &[], &["10.96.0.1", "34.1.2.3"]);
            assert_eq!(allows(&egress, "10.96.0.1"), expected, "{allowed:?}");
            assert!(!allows(&egress, "34.1.2.3") && !allows(&egress, "::ffff:34.1.2.3"));
        }
    }
}
