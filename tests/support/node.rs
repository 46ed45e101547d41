//! A broker that ends and starts again on the same data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Ternmq, command, write_config};

/// How a broker ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// SIGKILL: as in a crash.
    Killed,
    /// SIGTERM: in order.
    Stopped,
}

/// Both, for tests of what survives either.
pub const ENDS: [End; 2] = [End::Killed, End::Stopped];

/// A data directory with a configuration, and the broker that runs there.
pub struct Node {
    broker: Option<Ternmq>,
    config: PathBuf,
    data: PathBuf,
    directory: TempDir,
}

impl Node {
    /// Starts on an empty directory.
    pub fn start(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        Self::start_in(directory, data, config)
    }

    /// Starts on a data directory anywhere.
    pub fn start_in(directory: TempDir, data: PathBuf, config: &str) -> Self {
        let mut node = Self {
            broker: None,
            config: write_config(directory.path(), config),
            data,
            directory,
        };
        node.start_again();
        node
    }

    /// Starts on what is there.
    pub fn start_again(&mut self) {
        assert!(self.broker.is_none(), "it runs");
        let (config, data) = (self.config.to_str().unwrap(), self.data.to_str().unwrap());
        self.broker = Some(Ternmq::start(&["--config", config, "--data-dir", data]));
    }

    /// Another configuration from the next start on.
    pub fn configure(&mut self, config: &str) {
        write_config(self.directory.path(), config);
    }

    /// Ends, and returns how it ended.
    pub fn end(&mut self, end: End) -> ExitStatus {
        let mut broker = self.broker.take().expect("it runs");
        broker.signal(match end {
            End::Killed => Signal::KILL,
            End::Stopped => Signal::TERM,
        });
        let status = broker.wait();
        if end == End::Stopped {
            assert!(status.success(), "{status}\n{}", broker.log().join("\n"));
        }
        status
    }

    /// Kills it unless it has ended already, and returns how it ended.
    pub fn end_or_ended(&mut self) -> ExitStatus {
        let mut broker = self.broker.take().expect("it was started");
        broker.signal(Signal::KILL);
        broker.wait()
    }

    /// Ends and starts again.
    pub fn restart(&mut self, end: End) {
        self.end(end);
        self.start_again();
    }

    /// The running broker.
    pub fn broker(&mut self) -> &mut Ternmq {
        self.broker.as_mut().expect("it runs")
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs the binary on the data directory until it ends by itself.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command();
        command.arg("--config").arg(&self.config);
        command.arg("--data-dir").arg(&self.data).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.output().unwrap()
    }

    /// Bytes that the data takes on the disk.
    pub fn data_bytes(&self) -> u64 {
        directory_bytes(&self.data)
    }

    /// Memory that the process takes, in bytes.
    pub fn resident_bytes(&mut self) -> u64 {
        let pid = self.broker().pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }
}

fn directory_bytes(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // The broker may delete it meanwhile.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        bytes += if metadata.is_dir() {
            directory_bytes(&path)
        } else {
            metadata.len()
        };
    }
    bytes
}
