//! The addresses that stand for allowed names inside one run.
//!
//! Each name gets one of each family, from ranges that lead nowhere: 198.18.0.0/15 (RFC 2544) and a unique local network
//! (RFC 4193). They mean something only to the supervisor of this run, which maps them back to the name.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Names and their addresses.
#[derive(Default)]
pub(super) struct Names {
    places: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    /// The addresses of `name`; `None` when a run has asked for too many names.
    pub(super) fn addresses(&mut self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None if self.names.len() >= NAMES_MAX => return None,
            None => {
                let place = u32::try_from(self.names.len()).ok()?;
                self.names.push(name.to_owned());
                self.places.insert(name.to_owned(), place);
                place
            }
        };
        let v6 = FIRST_V6.to_bits() + u128::from(place);
        Some((Ipv4Addr::from_bits(FIRST_V4.to_bits() + place), Ipv6Addr::from_bits(v6)))
    }

    /// The name for which `address` stands.
    pub(super) fn name(&self, address: IpAddr) -> Option<&str> {
        let place = match address.to_canonical() {
            IpAddr::V4(address) => address.to_bits().checked_sub(FIRST_V4.to_bits())?,
            IpAddr::V6(address) => address.to_bits().checked_sub(FIRST_V6.to_bits())?.try_into().ok()?,
        };
        self.names.get(usize::try_from(place).ok()?).map(String::as_str)
    }
}

/// The first address of each family; the job's own lies below.
const FIRST_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 0);
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x696e, 0x6766, 1, 0, 0, 0, 0);
/// Most names of one run: with a family of names allowed, a job chooses them.
const NAMES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_belong_together() {
        let mut names = Names::default();
        let first = names.addresses("a.org").unwrap();
        let second = names.addresses("b.org").unwrap();
        assert_eq!((names.addresses("a.org"), first != second), (Some(first), true));
        assert_eq!(names.name(second.0.into()), Some("b.org"));
        assert_eq!(names.name(second.1.into()), Some("b.org"));
        assert_eq!(names.name(first.0.to_ipv6_mapped().into()), Some("a.org"));
        for other in
            ["198.18.0.1", "198.18.1.2", "8.8.8.8", "::1", "fd72:696e:6766::1", "fd72:696e:6766:1::2", "ffff::"]
        {
            assert_eq!(names.name(other.parse().unwrap()), None, "{other}");
        }
        for index in 2..NAMES_MAX {
            assert!(names.addresses(&index.to_string()).is_some());
        }
        assert_eq!((names.addresses("one more"), names.addresses("a.org")), (None, Some(first)));
    }
}
