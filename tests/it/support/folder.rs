//! The binary in a folder of its own, as a person runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::service::paidup;

/// A folder to run in, gone afterwards.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = hex::encode(paidup::dev::random::<8>().expect("random"));
        let path = std::env::temp_dir().join(format!("paidup_cli_{name}"));
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with these words and settings, to run in the folder.
pub fn command(folder: &Folder, words: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = paidup();
    command
        .args(words.split_whitespace())
        .current_dir(folder.path())
        .envs(settings.iter().copied());
    command
}

/// How a run ended, and what it printed.
pub struct Ran {
    pub is_content: bool,
    pub out: String,
    pub err: String,
}

/// Runs it to its end.
pub fn run(folder: &Folder, words: &str, settings: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } =
        command(folder, words, settings).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { is_content: status.success(), out: text(stdout), err: text(stderr) }
}
