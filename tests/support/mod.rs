//! Starts the real binary on free ports, for end-to-end tests.
//!
//! ```ignore
//! let broker = Ternmq::start(&["--mqtt-anonymous"]);
//! let connection = lapin::Connection::connect(&broker.amqp_uri(), ...);
//! ```
//! The process is killed when the value is dropped.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test binary uses its part"
)]

pub mod amqp;
pub mod http;
pub mod mqtt;
pub mod node;
pub mod oracle;
pub mod raw;
pub mod secure;
pub mod token;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// No wait in a test is longer; it only passes when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Log lines kept for [`Ternmq::wait_for_log`]; a process that logs more is a failure of its own.
const LOG_LINES_MAX: usize = 100_000;

/// A running broker.
pub struct Ternmq {
    /// Where it speaks AMQP.
    pub amqp: SocketAddr,
    /// Where it speaks MQTT.
    pub mqtt: SocketAddr,
    /// Where it speaks anything, by RabbitMQ's name for it.
    pub addresses: HashMap<String, SocketAddr>,
    /// Where it serves the management API.
    pub management: SocketAddr,
    /// Where it serves metrics.
    pub prometheus: SocketAddr,
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    directory: TempDir,
}

/// The binary under test, with nothing set.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ternmq"));
    command.stdin(Stdio::null());
    command
}

impl Ternmq {
    /// Starts on free ports with these further arguments, and returns when all listeners accept.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_from(command(), arguments)
    }

    /// Starts in a process that may have no more than this many files open.
    pub fn start_with_open_files(limit: u32, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_ternmq")).stdin(Stdio::null());
        Self::start_from(shell, arguments)
    }

    fn start_from(mut command: Command, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ready_file = directory.path().join("ready.json");
        if !arguments.contains(&"--data-dir") {
            command.arg("--data-dir").arg(directory.path().join("data"));
        }
        let mut child = command
            .args([
                "--amqp",
                "127.0.0.1:0",
                "--mqtt",
                "127.0.0.1:0",
                "--management",
                "127.0.0.1:0",
                "--prometheus",
                "127.0.0.1:0",
                "--ready-file",
            ])
            .arg(&ready_file)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines(&mut child);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Self {
            amqp: nowhere,
            mqtt: nowhere,
            addresses: HashMap::new(),
            management: nowhere,
            prometheus: nowhere,
            child,
            log,
            seen: Vec::new(),
            directory,
        };
        broker.wait_for_log("ready");
        let addresses = read_ready_file(&ready_file);
        broker.amqp = addresses["amqp"];
        broker.mqtt = addresses["mqtt"];
        broker.management = addresses["http"];
        broker.prometheus = addresses["http/prometheus"];
        broker.addresses = addresses;
        broker
    }

    /// Starts with a configuration file of this content.
    pub fn start_with_config(config: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = write_config(directory.path(), config);
        let mut all = vec!["--config", path.to_str().unwrap()];
        all.extend_from_slice(arguments);
        Self::start(&all)
    }

    /// `amqp://guest:guest@127.0.0.1:port/%2f`
    pub fn amqp_uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.amqp)
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line that contains `text`, and returns it. Lines before it are kept in [`Ternmq::log`].
    pub fn wait_for_log(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.log.recv_timeout(DEADLINE) else {
                panic!(
                    "no log line with {text:?} came, but:\n{}",
                    self.seen.join("\n")
                );
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The log lines that came until now.
    pub fn log(&mut self) -> &[String] {
        self.seen.extend(self.log.try_iter());
        &self.seen
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks the process to end, as an init system does, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        // The end of the log is the end of the process; should it close its log and live, the test's own limit ends it.
        while let Ok(line) = self.log.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Ternmq {
    fn drop(&mut self) {
        // Both fail if it has ended and was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's log, line by line, read by a thread that ends with it.
fn lines(child: &mut Child) -> Receiver<String> {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, receiver) = sync_channel(LOG_LINES_MAX);
    thread::spawn(move || {
        for line in stderr.lines() {
            let Ok(line) = line else { break };
            // Nobody listens any more: go on reading, so that the process never waits for its log.
            let _ = sender.try_send(line);
        }
    });
    receiver
}

/// Writes a configuration file and returns its path.
pub fn write_config(directory: &Path, config: &str) -> PathBuf {
    let path = directory.join("ternmq.toml");
    fs::write(&path, config).unwrap();
    path
}

/// What a future comes to, which it must before the deadline.
pub async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future.into_future())
        .await
        .expect("nothing came before the deadline")
}

/// Addresses by protocol.
pub fn read_ready_file(path: &Path) -> HashMap<String, SocketAddr> {
    let addresses: HashMap<String, String> =
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    addresses
        .into_iter()
        .map(|(protocol, addr)| (protocol, addr.parse().unwrap()))
        .collect()
}
