//! Which network an address belongs to.
//!
//! A name that a stranger chose may resolve to the machine itself, to its neighbours, or to the cloud's metadata service;
//! [`zone`] says so, also where an IPv4 address is wrapped in an IPv6 one; [`is_metadata`] names the addresses that hand
//! out credentials, in every disguise. The ranges are the IANA special-purpose registries (RFC 6890 and its updates).

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

/// Whether a cloud's metadata service answers there, also behind an IPv4 address that an IPv6 one carries: mapped
/// (RFC 4291), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
pub fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_metadata_v4(address),
        IpAddr::V6(address) => match address.segments() {
            // OpenStack answers on the same wire.
            [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => true,
            _ => zone_v6(address) == Zone::Metadata || carried(address).into_iter().flatten().any(is_metadata_v4),
        },
    }
}

/// Metadata and the credentials of containers are spread over these two networks of the link-local range (AWS, Azure, Google
/// Cloud, DigitalOcean); the rest is in [`zone_v4`].
fn is_metadata_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [169, 254, 169 | 170, _]) || zone_v4(address) == Zone::Metadata
}

/// The IPv4 addresses that an IPv6 address can carry.
fn carried(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let pair = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0x2002, high, low, ..] => [pair(high, low), None],
        // Teredo: the server as it is, the client inverted.
        [0x2001, 0, high, low, _, _, inverted_high, inverted_low] => {
            [pair(high, low), pair(!inverted_high, !inverted_low)]
        }
        [0x64, 0xff9b, .., high, low] | [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [.., 0 | 0x200, 0x5efe, high, low] => {
            [pair(high, low), None]
        }
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::{Zone, is_metadata, zone};

    #[test]
    fn no_disguise_hides_a_metadata_service() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.169.123",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::",
            "2001:0:1:2:3:4:5601:5601",
            "2606:4700::5efe:169.254.169.254",
        ] {
            assert!(is_metadata(text.parse().expect("an address")), "{text}");
        }
        for text in ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.1.1", "::1", "fe80::1", "2606:4700::1111", "fd00::1"]
        {
            assert!(!is_metadata(text.parse().expect("an address")), "{text}");
        }
    }

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
