//! The request that turns HTTP into a WebSocket (RFC 6455 §4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Bytes of a request at most.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Header fields of a request at most.
const FIELDS_MAX: usize = 64;

/// What a key is joined with before it is hashed (§1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a WebSocket listener takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebSocketConfig {
    /// Paths that lead to the protocol. Others are not found.
    pub paths: Vec<String>,
    /// Sub-protocols spoken. The first of these that a client offers is agreed on; a client that offers none of them is
    /// refused.
    pub subprotocols: Vec<&'static str>,
    /// Origins that pages may come from; empty for any. A client that names none is no page.
    pub origins: Vec<String>,
    /// Payload of a frame at most, in bytes.
    pub frame_bytes_max: u64,
}

/// What the beginning of a connection came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// There is more to come.
    Partial,
    /// It is a request of `head_bytes` bytes, to be answered with this; then frames follow.
    Accepted {
        /// The length of the request.
        head_bytes: usize,
        /// The answer.
        answer: String,
    },
    /// It is to be answered with [`Refusal::answer`], and the connection ends.
    Refused(Refusal),
}

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not HTTP/1.1, or a field that is missing or wrong.
    #[error("no WebSocket request: {0}")]
    Bad(&'static str),
    /// Another path.
    #[error("no such path")]
    NotFound,
    /// Another method than GET.
    #[error("not a GET request")]
    Method,
    /// Plain HTTP, or another version of WebSocket.
    #[error("no upgrade to version 13 of WebSocket")]
    UpgradeRequired,
    /// A page from elsewhere.
    #[error("an origin that is not allowed")]
    Origin,
    /// More than [`HEAD_BYTES_MAX`] bytes, or too many fields.
    #[error("a request that is too long")]
    TooLong,
}

impl Refusal {
    /// What the client is told.
    pub fn answer(self) -> String {
        let (status, fields) = match self {
            Self::Bad(_) => ("400 Bad Request", ""),
            Self::NotFound => ("404 Not Found", ""),
            Self::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Self::UpgradeRequired => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            Self::Origin => ("403 Forbidden", ""),
            Self::TooLong => ("431 Request Header Fields Too Large", ""),
        };
        let body = format!("{self}\n");
        let connection = if self == Self::UpgradeRequired {
            "Upgrade, close"
        } else {
            "close"
        };
        format!(
            "HTTP/1.1 {status}\r\n{fields}Connection: {connection}\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// Reads the beginning of a connection.
pub fn read(bytes: &[u8], config: &WebSocketConfig) -> Request {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let outcome = match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Request::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Err(Refusal::TooLong)
        }
        Ok(httparse::Status::Complete(head_bytes)) if head_bytes > HEAD_BYTES_MAX => {
            Err(Refusal::TooLong)
        }
        Ok(httparse::Status::Complete(head_bytes)) => {
            check(&request, config).map(|answer| (head_bytes, answer))
        }
        Err(_) => Err(Refusal::Bad("malformed")),
    };
    match outcome {
        Ok((head_bytes, answer)) => Request::Accepted { head_bytes, answer },
        Err(refusal) => Request::Refused(refusal),
    }
}

fn check(request: &httparse::Request<'_, '_>, config: &WebSocketConfig) -> Result<String, Refusal> {
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if !config.paths.iter().any(|known| known == path) {
        return Err(Refusal::NotFound);
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    if request.version != Some(1) {
        return Err(Refusal::Bad("HTTP/1.1 is needed"));
    }
    let fields = Fields(request.headers);
    if !fields.lists("upgrade", "websocket") || !fields.lists("connection", "upgrade") {
        return Err(Refusal::UpgradeRequired);
    }
    if fields.only("sec-websocket-version")? != Some("13") {
        return Err(Refusal::UpgradeRequired);
    }
    check_origin(fields.only("origin")?, config)?;
    let key = fields.only("sec-websocket-key")?;
    let key = key.ok_or(Refusal::Bad("Sec-WebSocket-Key is missing"))?;
    if BASE64.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(Refusal::Bad("Sec-WebSocket-Key is no key"));
    }
    let agreed = config.subprotocols.iter().find(|known| {
        let mut offered = fields.tokens("sec-websocket-protocol");
        offered.any(|token| token == **known)
    });
    let agreed = agreed.ok_or(Refusal::Bad("no sub-protocol that is spoken here"))?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {agreed}\r\n\r\n",
        accept_key(key)
    ))
}

fn check_origin(origin: Option<&str>, config: &WebSocketConfig) -> Result<(), Refusal> {
    let Some(origin) = origin else { return Ok(()) };
    let known = config
        .origins
        .iter()
        .any(|known| known.eq_ignore_ascii_case(origin));
    if config.origins.is_empty() || known {
        Ok(())
    } else {
        Err(Refusal::Origin)
    }
}

fn accept_key(key: &str) -> String {
    let joined = [key.as_bytes(), KEY_SUFFIX].concat();
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &joined))
}

/// Header fields, by name in lower case.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    /// The values of a field, wherever it stands.
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
    }

    /// The value of a field that must not come twice.
    fn only(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Refusal::Bad("a field that comes twice")),
        }
    }

    /// The elements of a field that is a list.
    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    fn lists(&self, name: &'static str, token: &str) -> bool {
        self.tokens(name)
            .any(|listed| listed.eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests;
