//! How our relay sends and receives.

use clap::ValueEnum;
use std::fmt;

/// `driver` of relay.toml.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring, or recvmmsg where that is forbidden.
    #[default]
    Auto,
    Uring,
    Mmsg,
    /// Past the kernel's UDP; needs --lab.
    Xdp,
}

impl Driver {
    /// Whether it works there: AF_XDP is not for loopback.
    pub(crate) fn suits(self, lab: bool) -> bool {
        self != Self::Xdp || lab
    }
}

/// As relay.toml calls it.
impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
            Self::Xdp => "xdp",
        })
    }
}
