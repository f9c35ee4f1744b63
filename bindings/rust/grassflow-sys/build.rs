//! Asks pkg-config (the program, so that no other crate is needed) where libgrassflow is.

use std::env;
use std::process::{exit, Command};

const REQUIRED: &str = "grassflow >= 0.1";

fn main() {
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = match Command::new(&program).args(["--libs", REQUIRED]).output() {
        Ok(output) => output,
        Err(error) => fail(&format!("cannot run {program}: {error}")),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        fail(&format!("{program} --libs '{REQUIRED}' failed:\n{said}"));
    }
    for flag in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Some(directory) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={directory}");
        } else if let Some(library) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib={library}");
        }
    }
}

fn fail(text: &str) -> ! {
    eprintln!("grassflow-sys: {text}");
    eprintln!(
        "Install libgrassflow first; if it is in a prefix of your own, PKG_CONFIG_PATH has to"
    );
    eprintln!("name the prefix's lib/pkgconfig.");
    exit(1)
}
