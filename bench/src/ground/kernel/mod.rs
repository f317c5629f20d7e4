//! What the bench needs of the kernel and the standard library does not give: raw sends, CPU clocks of a thread, and
//! network namespaces. The only place in this crate with `unsafe`; everything that it gives
//! out is safe to use, because senders and receivers own the memory that the kernel reads or writes.
//!
//! The relay has drivers of its own; these here are apart on purpose, so that the floor does not move when they do.

mod clock;
mod message;
mod namespace;
mod send;

pub use clock::{ThreadUse, cpus, pin, thread_cpu_ns};
pub use namespace::{drop_all_at, enter_new_namespace, thread_id};
pub use send::{Message, SendMethod, Sender};
