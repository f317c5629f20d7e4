//! Who may come in: rate limits by address, and tokens by which somebody is known again.

pub mod rates;
pub mod tokens;
