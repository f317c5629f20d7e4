//! The web client is part of the program, so it must be built before.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=../web/dist");
    if !Path::new("../web/dist/index.html").is_file() {
        println!("cargo:error=The web client is not built: run `npm ci && npm run build` in web/, or scripts/run.");
        std::process::exit(1);
    }
}
