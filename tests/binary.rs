//! The process as an operator sees it: flags, configuration, ready file, signals, exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;

use rustix::process::Signal;
use support::{DEADLINE, Ternmq, command, write_config};

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command();
    command.env("STATE_DIRECTORY", directory.path().join("data"));
    command.args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends AMQP's protocol header and returns the frame type and class and method id of the answer: connection.start.
fn amqp_greeting(addr: SocketAddr) -> (TcpStream, [u8; 11]) {
    let mut stream = connect(addr);
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    let mut start = [0; 11];
    stream.read_exact(&mut start).unwrap();
    (stream, start)
}

/// Sends an MQTT 3.1.1 CONNECT as guest and returns the CONNACK.
fn mqtt_greeting(addr: SocketAddr) -> (TcpStream, [u8; 4]) {
    let mut stream = connect(addr);
    let connect = b"\x10\x1e\x00\x04MQTT\x04\xc2\x00\x3c\x00\x04test\x00\x05guest\x00\x05guest";
    assert_eq!(connect.len(), 2 + 0x1e);
    stream.write_all(connect).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    (stream, connack)
}

/// One method frame on channel 0.
fn amqp_method(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    let size = u32::try_from(arguments.len() + 4).unwrap();
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(&class.to_be_bytes());
    frame.extend_from_slice(&method.to_be_bytes());
    frame.extend_from_slice(arguments);
    frame.push(0xce);
    frame
}

/// Reads one frame and returns its payload.
fn amqp_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).unwrap();
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
    stream.read_exact(&mut payload).unwrap();
    payload
}

/// An open AMQP connection of guest to vhost `/`.
fn amqp_open(addr: SocketAddr) -> TcpStream {
    let mut stream = connect(addr);
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    assert!(
        amqp_frame(&mut stream).starts_with(&[0, 10, 0, 10]),
        "connection.start"
    );
    let start_ok = b"\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US";
    stream.write_all(&amqp_method(10, 11, start_ok)).unwrap();
    assert!(
        amqp_frame(&mut stream).starts_with(&[0, 10, 0, 30]),
        "connection.tune"
    );
    let tune_ok = b"\x07\xff\x00\x02\x00\x00\x00\x00";
    stream.write_all(&amqp_method(10, 31, tune_ok)).unwrap();
    stream
        .write_all(&amqp_method(10, 40, b"\x01/\x00\x00"))
        .unwrap();
    assert!(
        amqp_frame(&mut stream).starts_with(&[0, 10, 0, 41]),
        "connection.open-ok"
    );
    stream
}

#[test]
fn version_is_printed() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    let expected = format!("ternmq {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn help_names_every_flag() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--config",
        "--data-dir",
        "--amqp",
        "--mqtt",
        "--management",
        "--prometheus",
        "--mqtt-websocket",
        "--mqtt-anonymous",
        "--ready-file",
    ] {
        assert!(help.contains(flag), "{flag} in {help}");
    }
}

#[test]
fn unknown_flag_is_refused() {
    let output = run(&["--amqps", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--amqps"));
}

#[test]
fn port_in_use_is_one_clear_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (arguments, protocol) in [
        (["--amqp", &addr, "--mqtt", "127.0.0.1:0"], "amqp"),
        (["--amqp", "127.0.0.1:0", "--mqtt", &addr], "mqtt"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("ternmq: cannot listen for {protocol} on {addr}: the port is in use\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn unknown_key_in_the_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (config, key) in [
        ("[amqp]\nheart_beat = 3\n", "amqp.heart_beat"),
        ("[mqtt]\nanonymus = true\n", "mqtt.anonymus"),
        ("[limits]\nconnections = 3\n", "limits.connections"),
        ("[kafka]\nlisten = []\n", "kafka"),
    ] {
        let path = write_config(directory.path(), config);
        let output = run(&["--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let error = stderr(&output);
        assert!(
            error.contains(&format!("`{key}`")) && error.contains("ternmq.toml"),
            "{error}"
        );
    }
}

#[test]
fn setting_outside_its_range_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_config(directory.path(), "[amqp]\nframe_max = 1\n");
    let output = run(&["--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("amqp.frame_max must be"));
}

#[test]
fn missing_configuration_file_is_named() {
    let output = run(&["--config", "/nowhere/ternmq.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nowhere/ternmq.toml"));
}

#[test]
fn ready_file_names_listeners_that_accept_and_speak() {
    let broker = Ternmq::start(&[]);
    assert_ne!(broker.amqp.port(), 0);
    assert_ne!(broker.mqtt.port(), 0);
    let (_amqp, start) = amqp_greeting(broker.amqp);
    assert_eq!(
        (start[0], &start[7..]),
        (1, [0, 10, 0, 10].as_slice()),
        "connection.start"
    );
    let (_mqtt, connack) = mqtt_greeting(broker.mqtt);
    assert_eq!(connack, [0x20, 2, 0, 0]);
}

#[test]
fn log_says_what_listens_where_and_where_data_is() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("new/data");
    let mut broker = Ternmq::start(&["--data-dir", data.to_str().unwrap()]);
    let (amqp, mqtt) = (broker.amqp, broker.mqtt);
    let log = broker.log().join("\n");
    for text in [
        format!("protocol=\"amqp\" addr={amqp}"),
        format!("protocol=\"mqtt\" addr={mqtt}"),
        "durability=\"fsync".into(),
        data.display().to_string(),
        format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(log.contains(&text), "{text} in {log}");
    }
    assert!(data.join("manifest.a").exists());
}

#[test]
fn configuration_file_is_used_and_flags_override_it() {
    let config =
        "[amqp]\nlisten = [\"127.0.0.1:1\"]\n[mqtt]\nanonymous = true\n[log]\nformat = \"json\"\n";
    let mut broker = Ternmq::start_with_config(config, &[]);
    assert!(
        broker.log().iter().all(|line| line.starts_with('{')),
        "JSON lines"
    );
    assert_ne!(broker.amqp.port(), 1);
    let mut stream = connect(broker.mqtt);
    stream
        .write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04anon")
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "anonymous clients are let in");
}

#[test]
fn clients_without_credentials_are_let_in_only_when_told_so() {
    let anonymous = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04anon";
    for (arguments, code) in [(&["--mqtt-anonymous"][..], 0), (&[][..], 4)] {
        let broker = Ternmq::start(arguments);
        let mut stream = connect(broker.mqtt);
        stream.write_all(anonymous).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, code]);
    }
}

#[test]
fn terminating_signals_end_it_with_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Ternmq::start(&[]);
        let (mut amqp, _) = amqp_greeting(broker.amqp);
        let (mut mqtt, _) = mqtt_greeting(broker.mqtt);
        broker.signal(signal);
        let status = broker.wait();
        assert_eq!(status.code(), Some(0), "{}", broker.log().join("\n"));
        for stream in [&mut amqp, &mut mqtt] {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        }
        assert!(
            TcpStream::connect(broker.amqp).is_err(),
            "nobody listens any more"
        );
        let log = broker.log().join("\n");
        assert!(log.contains("stopping") && log.contains("cut=0"), "{log}");
    }
}

#[test]
fn stopping_is_said_in_the_protocols_words_and_a_second_signal_does_not_wait_for_the_answer() {
    let mut broker = Ternmq::start(&[]);
    let mut amqp = amqp_open(broker.amqp);
    broker.signal(Signal::TERM);
    assert!(
        amqp_frame(&mut amqp).starts_with(&[0, 10, 0, 50, 1, 64]),
        "connection.close 320"
    );
    broker.signal(Signal::TERM);
    assert_eq!(broker.wait().code(), Some(1));
    assert!(
        broker
            .log()
            .iter()
            .any(|line| line.contains("stopped at once"))
    );
}

#[test]
fn process_that_cannot_start_writes_no_ready_file() {
    let directory = tempfile::tempdir().unwrap();
    let ready_file = directory.path().join("mine.json");
    let path = ready_file.to_str().unwrap();
    let output = run(&[
        "--amqp",
        "127.0.0.1:0",
        "--mqtt",
        "0.0.0.0:99999",
        "--ready-file",
        path,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        !ready_file.exists(),
        "a process that did not start is not ready"
    );
    assert!(stderr(&output).contains("0.0.0.0:99999"));
}

#[test]
fn connections_above_the_limit_are_closed() {
    let mut broker = Ternmq::start_with_config("[limits]\nconnections_max = 1\n", &[]);
    let (_first, _) = amqp_greeting(broker.amqp);
    let mut second = connect(broker.amqp);
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = second.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    broker.wait_for_log("connection limit reached");
}

#[test]
fn running_out_of_file_descriptors_passes_when_connections_go() {
    const OPEN_FILES: u32 = 100;
    let directory = tempfile::tempdir().unwrap();
    // Above what the descriptors allow, so that they run out first.
    let path = write_config(directory.path(), "[limits]\nconnections_max = 1000\n");
    let arguments = ["--config", path.to_str().unwrap()];
    let mut broker = Ternmq::start_with_open_files(OPEN_FILES, &arguments);
    let crowd: Vec<_> = (0..OPEN_FILES).map(|_| connect(broker.amqp)).collect();
    broker.wait_for_log("cannot accept connections");
    drop(crowd);
    broker.wait_for_log("accepting connections again");
    amqp_greeting(broker.amqp);
    let complaints = broker
        .log()
        .iter()
        .filter(|line| line.contains("cannot accept"))
        .count();
    assert_eq!(complaints, 1, "said once, not at every attempt");
}
