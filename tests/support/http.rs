//! Requests to the management API in a line each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::DEADLINE;

/// `guest:guest`
pub const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// Sends a request of guest's on a connection of its own. Returns status and body.
pub fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    ask_as(GUEST, addr, method, path, body)
}

/// The same, with these credentials.
pub fn ask_as(
    credentials: &str,
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "{method} /api{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {credentials}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body).unwrap()
    };
    (status, body)
}

/// What is there.
pub fn get(addr: SocketAddr, path: &str) -> Value {
    let (status, body) = ask(addr, "GET", path, "");
    assert_eq!(status, 200, "{path}: {body}");
    body
}
