//! An HTTP server that says who may log in, and what they may do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// What it is asked: the path, and the fields of the form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// `GET` or `POST`.
    pub method: String,
    /// Without what is behind the question mark.
    pub path: String,
    /// From the address, or from the body.
    pub fields: BTreeMap<String, String>,
}

impl Question {
    /// A field; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The server. Its threads end with the process.
pub struct Oracle {
    /// Where it listens.
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
}

type Answer = dyn Fn(&Question) -> String + Send + Sync;

impl Oracle {
    /// Answers with what this says: a status line's code and reason, a line break, and the body.
    pub fn start(answer: impl Fn(&Question) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &*answer, &asked));
            }
        });
        Self { addr, asked }
    }

    /// What it was asked until now at this path.
    pub fn asked(&self, path: &str) -> Vec<Question> {
        let asked = self.asked.lock();
        asked
            .iter()
            .filter(|one| one.path == path)
            .cloned()
            .collect()
    }

    /// A configuration that asks it.
    pub fn config(&self, method: &str) -> String {
        let paths: String = ["user", "vhost", "resource", "topic"]
            .map(|name| format!("{name}_path = \"http://{}/auth/{name}\"\n", self.addr))
            .concat();
        format!("[auth.http]\nhttp_method = \"{method}\"\nrequest_timeout = 30000\n{paths}")
    }
}

/// Requests of one connection, one after the other.
fn serve(stream: TcpStream, answer: &Answer, asked: &Mutex<Vec<Question>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(question) = read(&mut reader) {
        asked.lock().push(question.clone());
        let answer = answer(&question);
        let (status, body) = answer.split_once('\n').unwrap_or(("200 OK", &answer));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if writer
            .write_all(format!("{head}{body}").as_bytes())
            .is_err()
        {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Question> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, address) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|read| *read > 0)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let body = String::from_utf8(body).ok()?;
    let form = if query.is_empty() { &body } else { query };
    let fields = form.split('&').filter_map(|pair| pair.split_once('='));
    let fields = fields.map(|(name, value)| (name.to_owned(), decoded(value)));
    Some(Question {
        method,
        path: path.to_owned(),
        fields: fields.collect(),
    })
}

fn decoded(value: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
