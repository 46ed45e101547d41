//! Data that is damaged, missing or in use: the broker starts with what it had, or not at all.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use lapin::types::FieldTable;

use crate::support::amqp::{declare, drain, open, send};
use crate::support::node::{End, Node};

/// No checkpoint but the one at an orderly end: everything is in the journal.
const CONFIG: &str = "[storage]\nsegment_bytes = 1048576\n";

const MESSAGES: u32 = 200;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn body(number: u32) -> Vec<u8> {
    let mut body = format!("message {number}.").into_bytes();
    body.resize(1_000, b'.');
    body
}

/// A node that was killed with messages in its journal.
async fn killed() -> Node {
    let mut node = Node::start(CONFIG);
    let (_connection, channel) = open(node.broker()).await;
    declare(&channel, "q", FieldTable::default()).await;
    for number in 0..MESSAGES {
        send(&channel, "q", &body(number)).await;
    }
    node.end(End::Killed);
    node
}

/// The journal's segment that has this in it, and where.
fn find(data: &Path, wanted: &[u8]) -> (PathBuf, u64) {
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(wanted.len()).position(|w| w == wanted) {
            return (path, u64::try_from(at).unwrap());
        }
    }
    panic!("{} is nowhere", wanted.escape_ascii());
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Changes a byte of message 100.
fn corrupt(node: &Node) -> PathBuf {
    let (path, at) = find(node.data(), b"message 100.");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"M", at).unwrap();
    path
}

#[track_caller]
fn is_refused(output: &Output, code: i32) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let last = error.lines().last().unwrap().to_owned();
    assert!(last.starts_with("ternmq: data directory"), "{error}");
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_that_changed_is_refused_until_the_loss_is_accepted() {
    let mut node = killed().await;
    let path = corrupt(&node);
    let before = fs::read(&path).unwrap();
    let line = is_refused(&node.run(&[]), 65);
    assert!(
        line.contains(file_name(&path)) && line.contains("at byte "),
        "{line}"
    );

    let check = node.run(&["store", "check"]);
    let said = text(&check.stdout);
    assert_eq!(check.status.code(), Some(65), "{said}");
    assert!(
        said.contains("PROBLEM") && said.contains(file_name(&path)) && said.ends_with("damaged\n"),
        "{said}"
    );

    let refused = node.run(&["store", "repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--accept-loss"));
    assert!(fs::read(&path).unwrap() == before, "nothing was changed");
    is_refused(&node.run(&[]), 65);

    let repaired = node.run(&["store", "repair", "--accept-loss"]);
    let said = text(&repaired.stdout);
    assert!(repaired.status.success(), "{said}");
    assert!(node.run(&["store", "check"]).status.success());
    node.start_again();
    let (_connection, channel) = open(node.broker()).await;
    let left = drain(&channel, "q").await;
    let expected: Vec<_> = (0..100).map(body).collect();
    assert!(left == expected, "{} messages, {said}", left.len());
    // It goes on from there.
    send(&channel, "q", b"after").await;
    node.restart(End::Killed);
    let (_connection, channel) = open(node.broker()).await;
    assert_eq!(drain(&channel, "q").await, [b"after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_under_way_is_cut() {
    for garbage in [&[0xA5; 500][..], b"TQ", &[0; 64]] {
        let mut node = killed().await;
        let last = body(MESSAGES - 1);
        let (path, at) = find(node.data(), &last);
        let end = at + u64::try_from(last.len()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // A batch ends with padding at most.
        let behind = end.next_multiple_of(64) + 64;
        file.write_all_at(garbage, behind).unwrap();
        node.start_again();
        let (_connection, channel) = open(node.broker()).await;
        let left = drain(&channel, "q").await;
        assert_eq!(left.len(), MESSAGES as usize);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_write_at_the_end_is_cut_with_a_warning() {
    let mut node = killed().await;
    let (path, at) = find(node.data(), &body(MESSAGES - 1));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(at + 100).unwrap();
    let check = node.run(&["store", "check"]);
    let said = text(&check.stdout);
    assert!(check.status.success(), "{said}");
    assert!(said.contains("nothing of it was confirmed"), "{said}");
    node.start_again();
    let log = node.broker().log().join("\n");
    assert!(
        log.contains("WARN") && log.contains("torn tail was cut"),
        "{log}"
    );
    let (_connection, channel) = open(node.broker()).await;
    let left = drain(&channel, "q").await;
    assert_eq!(left.len(), MESSAGES as usize - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_without_its_manifest_is_refused() {
    let node = killed().await;
    for name in ["manifest.a", "manifest.b"] {
        let path = node.data().join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
    let line = is_refused(&node.run(&[]), 65);
    assert!(line.contains("no manifest"), "{line}");
    assert_eq!(node.run(&["store", "check"]).status.code(), Some(65));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_segment_is_refused() {
    let node = killed().await;
    let (path, _) = find(node.data(), b"message 0.");
    fs::remove_file(&path).unwrap();
    let line = is_refused(&node.run(&[]), 65);
    assert!(line.contains(file_name(&path)), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_is_refused() {
    let mut node = killed().await;
    node.start_again();
    node.end(End::Stopped);
    let mut checkpoints: Vec<_> = fs::read_dir(node.data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| file_name(path).starts_with("checkpoint"))
        .collect();
    checkpoints.sort();
    let newest = checkpoints
        .last()
        .expect("an orderly end leaves a checkpoint");
    let mut content = fs::read(newest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(newest, content).unwrap();
    let line = is_refused(&node.run(&[]), 65);
    assert!(line.contains("checkpoint"), "{line}");
    let check = node.run(&["store", "check"]);
    assert_eq!(check.status.code(), Some(65), "{}", text(&check.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_used_by_one_process() {
    let mut node = Node::start(CONFIG);
    let second = node.run(&["--amqp", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    let line = is_refused(&second, 1);
    assert!(line.contains("in use by another process"), "{line}");
    assert_eq!(text(&second.stderr).lines().count(), 1);
    let check = node.run(&["store", "check"]);
    assert_eq!(check.status.code(), Some(1));
    let (_connection, channel) = open(node.broker()).await;
    declare(&channel, "q", FieldTable::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_can_be_written_out() {
    let node = killed().await;
    let dump = node.run(&["store", "dump"]);
    let said = text(&dump.stdout);
    assert!(dump.status.success(), "{said}");
    assert!(
        said.matches("Published").count() >= MESSAGES as usize,
        "{said}"
    );
    assert!(!said.contains("UNREADABLE"), "{said}");
    let batches = text(&node.run(&["store", "dump", "--batches"]).stdout);
    assert!(
        batches.lines().all(|line| line.contains(": batch ")),
        "{batches}"
    );
    assert!(node.run(&["store", "check"]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_is_promised() {
    for (durability, said) in [("fsync", "fsync: "), ("os", "os: ")] {
        let mut node = Node::start(&format!("[storage]\ndurability = \"{durability}\"\n"));
        let log = node.broker().log().join("\n");
        assert!(log.contains(&format!("durability=\"{said}")), "{log}");
        let (_connection, channel) = open(node.broker()).await;
        declare(&channel, "q", FieldTable::default()).await;
        send(&channel, "q", b"kept").await;
        // The operating system lives on.
        node.restart(End::Killed);
        let (_connection, channel) = open(node.broker()).await;
        assert_eq!(drain(&channel, "q").await, [b"kept"]);
    }
}
