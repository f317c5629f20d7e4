//! Secrets and personal data as types. `Debug` says of which kind a value is and nothing of it, and there is no `Display`:
//! what is to leave the program asks for it by `reveal`, and whatever is written to a log, an error or a panic by accident
//! gives nobody away. On the wire they are what they hold.

use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;

/// Defines types that hold a value which no log may show: `Name(String as str)` owns a `String` and reveals a `str`.
#[macro_export]
macro_rules! private {
    ($($(#[$attribute:meta])* $name:ident($owned:ty as $revealed:ty);)+) => {$(
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name($owned);

        impl $name {
            pub fn new(value: impl Into<$owned>) -> Self {
                Self(value.into())
            }

            /// The value itself, for the wire and for whoever it belongs to.
            pub fn reveal(&self) -> &$revealed {
                &self.0
            }

            /// As [`Self::reveal`], for keeps.
            pub fn into_revealed(self) -> $owned {
                self.0
            }
        }

        impl From<$owned> for $name {
            fn from(value: $owned) -> Self {
                Self(value)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

private! {
    /// An ICE password (RFC 8445, section 5.3).
    IcePassword(String as str);
    /// Control's memory of a participant: names of people and rooms are in it.
    Note(Bytes as [u8]);
    /// A secret from which passwords of time-limited TURN users follow.
    TurnSecret(Bytes as [u8]);
    /// A private key of TLS, PEM.
    TlsKey(Bytes as [u8]);
    /// A password of a TURN user.
    TurnPassword(String as str);
}

/// Where a client is, or says that it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientAddress(SocketAddr);

impl ClientAddress {
    pub fn reveal(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_printed() {
        let password = IcePassword::new("tell-nobody");
        let note = Note::new(&b"tell-nobody"[..]);
        let address = ClientAddress::from(SocketAddr::from(([192, 0, 2, 77], 4321)));
        let printed = format!("{password:?} {note:#?} {:?} {address:?}", Some(&password));
        assert_eq!(printed, "IcePassword(…) Note(…) Some(IcePassword(…)) ClientAddress(…)");
        assert_eq!((password.reveal(), note.reveal()), ("tell-nobody", &b"tell-nobody"[..]));
    }

    #[test]
    fn the_wire_has_the_value_alone() {
        let password: IcePassword = serde_json::from_str("\"abc\"").unwrap();
        assert_eq!(password, IcePassword::new("abc"));
        assert_eq!(serde_json::to_string(&password).unwrap(), "\"abc\"");
        let note: Note = serde_json::from_str("[1,2]").unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), serde_json::to_string(&Bytes::from_static(&[1, 2])).unwrap());
    }
}
