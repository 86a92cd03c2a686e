//! Runs the binary, and nodes of it that end with the test.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes so long, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The command, in no particular environment.
pub fn neurath() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neurath"));
    for variable in ["NEURATH_DATA", "NEURATH_AS", "NEURATH_AT", "NEURATH_ON", "NEURATH_ANSWER_WITHIN", "NEURATH_LOG"] {
        command.env_remove(variable);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It succeeded; what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// It succeeded and printed JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// It failed with this exit code, and says all of this beside its answer.
    #[track_caller]
    pub fn fails_with_answer(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for part in says {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
    }

    /// It failed with this exit code, and says all of this.
    #[track_caller]
    pub fn fails(&self, code: i32, says: &[&str]) {
        self.fails_with_answer(code, says);
        assert_eq!(self.out, "", "a failure prints nothing as its answer");
    }
}

/// A guest program of `programs/`, built.
pub fn guest(name: &str) -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let dir = std::env::var_os("NEURATH_GUESTS").map_or(default, PathBuf::from);
    let path = dir.join(name).with_extension("wasm");
    assert!(path.is_file(), "{} is not there: `cargo xtask test` builds it", path.display());
    path
}

/// A running node; it ends with this.
pub struct Node {
    pub child: Child,
    data: PathBuf,
    _dir: Option<TempDir>,
}

impl Node {
    /// A node on a data directory of its own.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Self::start_on(&dir.path().join("data"));
        node._dir = Some(dir);
        node
    }

    /// A node on this data directory, ready.
    pub fn start_on(data: &Path) -> Self {
        Self::start_with(data, &[], Stdio::null()).0
    }

    /// A node on this data directory with more arguments, ready, and what it said before; what it tells goes to `log`.
    #[track_caller]
    pub fn start_with(data: &Path, arguments: &[&str], log: impl Into<Stdio>) -> (Self, Vec<String>) {
        let mut command = neurath();
        command.arg("node").arg("--data").arg(data).args(arguments).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let node = Self { child, data: data.to_owned(), _dir: None };
        let mut said: Vec<String> = Vec::new();
        while !said.last().is_some_and(|line| line.starts_with("ready")) {
            let Some(line) = lines.next() else {
                let log = std::fs::read_to_string(data.join("log")).unwrap_or_default();
                panic!("the node in {} did not start: {said:?}\n{log}", data.display());
            };
            said.push(line);
        }
        (node, said)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A command about this node.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = neurath();
        command.args(arguments).env("NEURATH_DATA", &self.data);
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    /// What a command prints with `--json`.
    #[track_caller]
    pub fn json<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        Outcome::of(self.command(arguments).arg("--json")).json()
    }

    /// Installs guests.
    #[track_caller]
    pub fn install(&self, guests: &[&str]) {
        for name in guests {
            self.run(["install", guest(name).to_str().unwrap()]).ok();
        }
    }

    /// Starts a process; its pid as other commands take it.
    #[track_caller]
    pub fn spawn<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        self.run(["spawn"].into_iter().chain(arguments)).ok().trim().to_owned()
    }

    /// Asks a process; its answer.
    #[track_caller]
    pub fn call(&self, target: &str, question: impl Display) -> Value {
        serde_json::from_str(&self.run(["call", target, &question.to_string(), "--within", "60s"]).ok()).unwrap()
    }

    /// Waits for something that a listing will show.
    #[track_caller]
    pub fn until<'a>(&self, arguments: impl IntoIterator<Item = &'a str> + Clone, shown: impl Fn(&Value) -> bool) {
        let started = std::time::Instant::now();
        while !shown(&self.json(arguments.clone())) {
            assert!(started.elapsed() < PATIENCE, "it never came");
            std::thread::yield_now();
        }
    }

    /// Sends raw HTTP; the status and the body.
    pub fn http(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut stream = UnixStream::connect(self.data.join("control.sock")).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
            .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a child a signal by name.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A command that goes on, and its lines; it ends with this.
pub struct Background {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Background {
    /// The lines are those of standard error if `errors`, else of standard output.
    pub fn start(command: &mut Command, errors: bool) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let command = if errors { command.stderr(Stdio::piped()) } else { command.stdout(Stdio::piped()) };
        let mut child = command.spawn().unwrap();
        let from: Box<dyn Read + Send> =
            if errors { Box::new(child.stderr.take().unwrap()) } else { Box::new(child.stdout.take().unwrap()) };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The lines that were passed over.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Waits for a line that contains this; the line.
    #[track_caller]
    pub fn line(&mut self, part: &str) -> String {
        match self.find(part) {
            Some(line) => line,
            None => panic!("no `{part}` came, but:\n{}", self.seen.join("\n")),
        }
    }

    /// The same, or `None` if the command ends first.
    pub fn find(&mut self, part: &str) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE).ok()? {
                line if line.contains(part) => return Some(line),
                line => self.seen.push(line),
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
