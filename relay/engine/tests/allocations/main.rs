//! Counts heap allocations and what they hold.
#![allow(clippy::unwrap_used)]

mod forwarding;
mod turn;

#[global_allocator]
static ALLOCATOR: plausch_allocation_count::Counting = plausch_allocation_count::Counting;
