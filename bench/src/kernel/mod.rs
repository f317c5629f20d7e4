//! What the ablation and the floor need of the kernel and the standard library does not give: raw sends and receives,
//! CPU clocks of a thread, and network namespaces. The only place in this crate with `unsafe`; everything that it gives
//! out is safe to use, because senders and receivers own the memory that the kernel reads or writes.
//!
//! The relay has drivers of its own; these here are apart on purpose, so that variants can be compared which the
//! relay has not, and so that the floor does not move when the relay's drivers do.

mod clock;
mod message;
mod namespace;
mod receive;
mod send;
mod uring;

pub use clock::{ThreadUse, cpus, pin, thread_cpu_ns};
pub use namespace::{drop_all_at, enter_new_namespace, thread_id};
pub use plausch_client::arrival::set_option;
pub use receive::{ReceiveMethod, Receiver};
pub use send::{Message, SendMethod, Sender, Sockets};
