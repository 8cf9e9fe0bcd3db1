//! The other side, by programs that are not ours: Python packages that `./test.sh` installs in a folder
//! of its own. Without them the tests fail; they are not skipped.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The Python that has the packages of `tests/it/peers/requirements.txt`.
fn python() -> String {
    std::env::var("PAIDUP_TEST_PYTHON").expect(
        "PAIDUP_TEST_PYTHON is not set; ./test.sh makes a Python with what the tests need and sets it, or \
         name one that has tests/it/peers/requirements.txt",
    )
}

/// A script of `tests/it/peers` that runs, until this is dropped.
pub struct Peer {
    process: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    pub fn start(script: &str, arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers").join(script);
        let mut command = Command::new(python());
        command.arg(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("PAIDUP_TEST_PYTHON runs");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                into.lock().expect("no panic").push(line);
            }
        });
        Self { process, input, lines }
    }

    pub fn write(&mut self, line: &Value) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    /// All lines, once there are so many.
    pub async fn has(&self, count: usize) -> Vec<String> {
        let what = format!("{count} lines of a peer");
        super::service::eventually(&what, async || {
            self.lines.lock().expect("no panic").len() >= count
        })
        .await;
        self.lines.lock().expect("no panic").clone()
    }
}
