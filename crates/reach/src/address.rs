//! Which network an address belongs to.
//!
//! A name that a stranger chose may resolve to the machine itself, to its neighbours, or to the cloud's metadata service;
//! [`zone`] says so, also where an IPv4 address is wrapped in an IPv6 one. The ranges are the IANA special-purpose
//! registries (RFC 6890 and its updates).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// The open internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of somebody's own: RFC 1918, unique local, carrier-grade NAT.
    Private,
    /// The same wire, where clouds answer with credentials.
    LinkLocal,
    /// Known addresses of metadata services outside the link-local range.
    Metadata,
    /// Multicast, broadcast, documentation, benchmarks, tunnels that hide where they lead, and what is not assigned.
    Special,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata service",
            Self::Special => "special-purpose",
        })
    }
}

/// The zone of `address`.
pub fn zone(address: IpAddr) -> Zone {
    match address {
        IpAddr::V4(address) => zone_v4(address),
        IpAddr::V6(address) => zone_v6(address),
    }
}

fn zone_v4(address: Ipv4Addr) -> Zone {
    match address.octets() {
        [127, ..] => Zone::Loopback,
        [169, 254, ..] => Zone::LinkLocal,
        // Alibaba Cloud and Oracle Cloud answer for metadata inside ranges that are otherwise private or special.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Zone::Metadata,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Zone::Private,
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 175, 48, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Zone::Special,
        _ => Zone::Public,
    }
}

fn zone_v6(address: Ipv6Addr) -> Zone {
    if let Some(inner) = address.to_ipv4_mapped() {
        return zone_v4(inner);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Zone::Loopback,
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Zone::Metadata,
        // NAT64 carries an IPv4 address, and a translator will go wherever that one leads.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            zone_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0xfe80..=0xfebf, ..] => Zone::LinkLocal,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Zone::Private,
        // Of the space only 2000::/3 is handed out; Teredo, ORCHID, documentation, 6to4 and SRv6 inside it lead elsewhere.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => Zone::Special,
        [0x2000..=0x3fff, ..] => Zone::Public,
        _ => Zone::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::{Zone, zone};

    #[test]
    fn every_disguise_of_a_neighbour_is_seen() {
        let table = [
            ("8.8.8.8", Zone::Public),
            ("2606:4700::1111", Zone::Public),
            ("127.0.0.1", Zone::Loopback),
            ("127.255.0.9", Zone::Loopback),
            ("::1", Zone::Loopback),
            ("::ffff:127.0.0.1", Zone::Loopback),
            ("::127.0.0.1", Zone::Special),
            ("64:ff9b::7f00:1", Zone::Loopback),
            ("64:ff9b::a9fe:a9fe", Zone::LinkLocal),
            ("64:ff9b:1::1", Zone::Special),
            ("169.254.169.254", Zone::LinkLocal),
            ("::ffff:a9fe:a9fe", Zone::LinkLocal),
            ("fe80::1", Zone::LinkLocal),
            ("fd00:ec2::254", Zone::Metadata),
            ("100.100.100.200", Zone::Metadata),
            ("168.63.129.16", Zone::Metadata),
            ("10.0.0.1", Zone::Private),
            ("172.31.255.255", Zone::Private),
            ("172.32.0.1", Zone::Public),
            ("100.64.0.1", Zone::Private),
            ("fc00::1", Zone::Private),
            ("fec0::1", Zone::Private),
            ("0.0.0.0", Zone::Special),
            ("::", Zone::Special),
            ("255.255.255.255", Zone::Special),
            ("224.0.0.1", Zone::Special),
            ("ff02::1", Zone::Special),
            ("2002:7f00:1::", Zone::Special),
            ("2001::1", Zone::Special),
            ("2001:db8::1", Zone::Special),
            ("198.18.0.1", Zone::Special),
            ("203.0.113.9", Zone::Special),
        ];
        for (text, wanted) in table {
            assert_eq!(zone(text.parse().expect("an address")), wanted, "{text}");
        }
    }
}
