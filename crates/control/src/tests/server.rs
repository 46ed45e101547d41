//! An HTTP server of a few lines: one request after the other, answers as told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// No wait is longer; it only passes when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    pub(super) fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
        }
    }
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(its, _)| its.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `GET /api/queues`
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub(super) struct FakeServer {
    address: SocketAddr,
    thread: JoinHandle<Vec<Asked>>,
}

impl FakeServer {
    /// Serves as many requests as there are answers, each on a connection of its own; then, and without any answer at
    /// once, it waits for nothing but [`FakeServer::stop`].
    pub(super) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut asked = Vec::new();
            let mut answers = answers.into_iter();
            loop {
                let (stream, _) = listener.accept().unwrap();
                let Some(request) = read(&stream) else {
                    return asked;
                };
                asked.push(request);
                let answer = answers
                    .next()
                    .unwrap_or(Answer::json(500, "{\"reason\":\"unexpected\"}"));
                write(&stream, &answer);
            }
        });
        Self { address, thread }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and returns what it was asked.
    pub(super) fn stop(self) -> Vec<Asked> {
        // A connection that says nothing is the sign.
        drop(TcpStream::connect(self.address).unwrap());
        self.thread.join().unwrap()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap() == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut asked = Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = asked.header("content-length").unwrap_or("0");
    asked.body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut asked.body).unwrap();
    Some(asked)
}

fn write(mut stream: &TcpStream, answer: &Answer) {
    let Answer { status, body } = answer;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // 204 has no body, whatever it was told to say.
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
}
