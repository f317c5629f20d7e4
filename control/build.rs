//! The web client is part of the program, so it must be built before. What shrinks by it is compressed here, once, and
//! not for every visitor.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../web/dist");
    println!("cargo:rerun-if-changed=build.rs");
    let dist = Path::new("../web/dist");
    if !dist.join("index.html").is_file() {
        println!("cargo:error=The web client is not built: run `npm ci && npm run build` in web/, or scripts/run.");
        std::process::exit(1);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo says no OUT_DIR")?);
    let mut table = String::from("&[\n");
    for (number, path) in files(dist)?.iter().enumerate() {
        let content = fs::read(path)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        let small = encoder.finish()?;
        // Pictures and fonts are compressed already.
        if small.len() * 10 < content.len() * 9 {
            let to = out.join(format!("{number}.gz"));
            fs::write(&to, small)?;
            let name = path.strip_prefix(dist)?.to_str().ok_or("a name of the web client is not UTF-8")?;
            writeln!(table, "    ({name:?}, include_bytes!({to:?})),")?;
        }
    }
    table.push_str("]\n");
    fs::write(out.join("gzip.rs"), table)?;
    Ok(())
}

/// All files of a folder and its folders, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}
