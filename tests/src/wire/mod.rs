//! Packet formats as the simulated clients write and read them: own code, so that a misreading in the engine is
//! not mirrored here.

pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod turn;
pub mod twcc;
