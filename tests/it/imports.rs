//! Imports go one way: domain ← store ← ingest ← http, and domain ← store ← notify. And the domain knows no I/O, no clock, no async.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the innermost; each may use itself and those before it.
const LAYERS: [&str; 5] = ["domain", "store", "ingest", "http", "notify"];
/// What sends stands beside what takes calls in; neither knows of the other.
const BESIDE: [(&str, &str); 2] = [("notify", "ingest"), ("notify", "http")];
/// What only the wiring and the command line use. No layer does.
const OUTSIDE: [&str; 8] =
    ["admin_token", "check", "config", "dev", "notifications", "recovery", "tell", "trigger"];
/// What the domain does without.
const IMPURE: [&str; 12] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "tokio",
    "sqlx",
    "async fn",
];

fn files(of: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: no comments, and none of its own tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("text");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn layer(path: &Path) -> Option<&'static str> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(&source).ok()?.components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs");
    LAYERS.into_iter().find(|layer| *layer == name)
}

/// The modules of this crate that the code names, by `crate::…` or from the root by `super::…`.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                used.insert(
                    rest.split(|char: char| !char.is_alphanumeric() && char != '_')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            // use crate::{a::b, c};
            Some(list) => {
                let list = list.split(';').next().unwrap_or_default();
                used.extend(list.split(',').map(|item| {
                    item.trim()
                        .split(|char: char| !char.is_alphanumeric() && char != '_')
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                }));
            }
        }
    }
    used
}

#[test]
fn imports_go_one_way() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let mut seen = BTreeSet::new();
    for path in &all {
        let Some(layer) = layer(path) else { continue };
        seen.insert(layer);
        let rank = LAYERS.iter().position(|one| *one == layer);
        for module in used(&code(path)) {
            let is_outer = LAYERS.iter().position(|one| *one == module) > rank;
            let is_beside = BESIDE.contains(&(layer, module.as_str()));
            let is_outside = OUTSIDE.contains(&module.as_str());
            assert!(!is_outer && !is_beside && !is_outside, "{} uses {module}", path.display());
        }
    }
    assert_eq!(seen, BTreeSet::from(LAYERS), "a layer has moved; tell this test where to");
}

#[test]
fn the_domain_is_pure() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain"), &mut all);
    assert!(all.len() > 5, "{all:?}");
    for path in &all {
        let code = code(path);
        for impure in IMPURE {
            assert!(!code.contains(impure), "{} uses {impure}", path.display());
        }
    }
}
