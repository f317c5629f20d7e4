//! Who is one stranger: an address as the networks that it is in, from a household to a provider's customer.

use std::fmt;
use std::net::IpAddr;

/// How wide a network is that shares are counted for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Width {
    /// One IPv4 address (/32), or one IPv6 link (/64): a household behind NAT, a large site at the most.
    Narrow,
    /// An IPv4 /24, or an IPv6 /56, which providers give to a household.
    Middle,
    /// An IPv6 /48, which anybody gets for the asking; for IPv4 the same as [`Self::Middle`].
    Wide,
}

/// From narrow to wide.
pub const WIDTHS: [Width; 3] = [Width::Narrow, Width::Middle, Width::Wide];

/// A network, without saying which: `Debug` shows nothing of the address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    width: Width,
    ipv6: bool,
    bits: u64,
}

impl Prefix {
    /// The network of this width that an address is in.
    pub fn of(address: IpAddr, width: Width) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let kept = if width == Width::Narrow { 32 } else { 24 };
                Self { width, ipv6: false, bits: u64::from(u32::from(v4) >> (32 - kept)) }
            }
            IpAddr::V6(v6) => {
                let kept = match width {
                    Width::Narrow => 64,
                    Width::Middle => 56,
                    Width::Wide => 48,
                };
                Self { width, ipv6: true, bits: (u128::from(v6) >> (128 - kept)) as u64 }
            }
        }
    }

    pub fn width(self) -> Width {
        self.width
    }

    pub fn is_ipv6(self) -> bool {
        self.ipv6
    }
}

/// The networks that one address is in, from narrow to wide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Networks(pub [Prefix; 3]);

impl Networks {
    /// `None` for this machine itself, which is not limited.
    pub fn of(address: IpAddr) -> Option<Self> {
        (!address.to_canonical().is_loopback()).then(|| Self::of_any(address))
    }

    /// Also of this machine.
    pub fn of_any(address: IpAddr) -> Self {
        Self(WIDTHS.map(|width| Prefix::of(address, width)))
    }

    pub fn narrow(self) -> Prefix {
        self.0[0]
    }

    pub fn wide(self) -> Prefix {
        self.0[2]
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prefix(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str, width: Width) -> Prefix {
        Prefix::of(address.parse().unwrap(), width)
    }

    #[test]
    fn networks_are_told_apart_by_their_bits_and_family() {
        use Width::{Middle, Narrow, Wide};
        assert_eq!(of("192.0.2.1", Wide), of("::ffff:192.0.2.77", Wide));
        assert_ne!(of("192.0.2.1", Wide), of("192.0.3.1", Wide));
        assert_ne!(of("192.0.2.1", Narrow), of("192.0.2.2", Narrow));
        assert_eq!(of("192.0.2.1", Middle), of("192.0.2.2", Middle));
        assert_eq!(of("2001:db8::1", Narrow), of("2001:db8::ffff:2", Narrow));
        assert_ne!(of("2001:db8:0:1::1", Narrow), of("2001:db8:0:2::1", Narrow));
        assert_eq!(of("2001:db8:0:1::1", Middle), of("2001:db8:0:ff::1", Middle));
        assert_ne!(of("2001:db8:0:1::1", Middle), of("2001:db8:0:100::1", Middle));
        assert_eq!(of("2001:db8:0:1::1", Wide), of("2001:db8:0:ff00::1", Wide));
        assert_ne!(of("2001:db8:0::1", Wide), of("2001:db8:1::1", Wide));
        assert_ne!(of("0.0.0.1", Narrow), of("::0.0.0.1", Narrow), "small numbers of both families");
        assert_eq!(Networks::of("127.0.0.9".parse().unwrap()), None);
        assert_eq!(format!("{:?}", of("192.0.2.1", Wide)), "Prefix(…)");
    }
}
