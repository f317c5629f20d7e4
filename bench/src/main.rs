//! The program; see the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    plausch_bench::run_command_line().await
}
