//! The PROXY protocol, versions 1 and 2: what a load balancer says about the connection it passes on, before the
//! connection's own bytes.
//!
//! ```text
//! 1: PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n
//! 2: [12 bytes signature | version, command | family, transport | length | addresses, further fields]
//! ```
//! [`read`] says where the header ends: what comes after it is not the proxy's.

use std::net::{IpAddr, SocketAddr};

/// Bytes of a header at most: 107 in version 1; in version 2 what addresses and a reasonable number of further fields
/// take.
pub const HEADER_BYTES_MAX: usize = 4096;

const V1_BYTES_MAX: usize = 107;
const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// What the first bytes of a connection come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// All of it belongs to the header, and there is more to come.
    Partial,
    /// The header is whole.
    Done {
        /// Its length. What comes after it is the connection's own.
        header_bytes: usize,
        /// What it says.
        source: Source,
    },
}

/// Who is at the other side of the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The proxy itself, or somebody it does not name: the connection's own addresses stand.
    Unnamed,
    /// A client of the proxy.
    Client {
        /// Its address.
        from: SocketAddr,
        /// The proxy's address that it connected to.
        to: SocketAddr,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Somebody speaks the protocol itself, without a proxy in between.
    #[error("no PROXY header")]
    Missing,
    /// Version 1 with fields that are wrong or missing.
    #[error("a malformed PROXY header")]
    Malformed,
    /// Neither version 1 nor 2, or a command, family or transport that is not defined.
    #[error("a PROXY header of an unknown kind")]
    Unknown,
    /// More than [`HEADER_BYTES_MAX`] bytes.
    #[error("a PROXY header that is too long")]
    TooLong,
}

/// Reads the beginning of a connection.
pub fn read(bytes: &[u8]) -> Result<Progress, ProxyError> {
    if starts_like(bytes, V2_SIGNATURE) {
        read_v2(bytes)
    } else if starts_like(bytes, V1_PREFIX) {
        read_v1(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether `bytes` begin with `prefix`, as far as they go.
fn starts_like(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .iter()
        .zip(prefix)
        .all(|(byte, expected)| byte == expected)
}

fn read_v1(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() < V1_BYTES_MAX {
            Ok(Progress::Partial)
        } else {
            Err(ProxyError::TooLong)
        };
    };
    let source = read_line(&line[..end])?;
    Ok(Progress::Done {
        header_bytes: end + 1,
        source,
    })
}

fn read_line(line: &[u8]) -> Result<Source, ProxyError> {
    let line = line.strip_suffix(b"\r").ok_or(ProxyError::Malformed)?;
    let line = str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let mut fields = line.split(' ').skip(1);
    let family = fields.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever follows means nothing (§2.1).
        return Ok(Source::Unnamed);
    }
    let fields: Vec<&str> = fields.collect();
    let [from, to, from_port, to_port] = fields[..] else {
        return Err(ProxyError::Malformed);
    };
    let addr = |ip: &str, text: &str| {
        let ip: IpAddr = ip.parse().map_err(|_| ProxyError::Malformed)?;
        let fits = match family {
            "TCP4" => ip.is_ipv4(),
            "TCP6" => ip.is_ipv6(),
            _ => return Err(ProxyError::Unknown),
        };
        if !fits {
            return Err(ProxyError::Malformed);
        }
        Ok(SocketAddr::new(ip, port(text)?))
    };
    let (from, to) = (addr(from, from_port)?, addr(to, to_port)?);
    Ok(Source::Client { from, to })
}

/// Digits without a leading zero (§2.1).
fn port(text: &str) -> Result<u16, ProxyError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (text.len() > 1 && text.starts_with('0')) {
        return Err(ProxyError::Malformed);
    }
    text.parse().map_err(|_| ProxyError::Malformed)
}

fn read_v2(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let Some(head) = bytes.first_chunk::<V2_HEAD_BYTES>() else {
        return Ok(Progress::Partial);
    };
    let total = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if total > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    if head[12] >> 4 != 2 {
        return Err(ProxyError::Unknown);
    }
    if bytes.len() < total {
        return Ok(Progress::Partial);
    }
    let fields = &bytes[V2_HEAD_BYTES..total];
    let source = match (head[12] & 0x0f, head[13]) {
        (0x1, 0x11) => client(fields, |ip: [u8; 4]| ip.into())?,
        (0x1, 0x21) => client(fields, |ip: [u8; 16]| ip.into())?,
        // LOCAL: the proxy itself, to see whether we live. Datagrams, UNIX sockets and what is not specified are to be
        // taken and to be ignored (§2.2).
        (0x0, _) | (0x1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Source::Unnamed,
        _ => return Err(ProxyError::Unknown),
    };
    Ok(Progress::Done {
        header_bytes: total,
        source,
    })
}

/// Two addresses, two ports.
fn client<const N: usize>(
    fields: &[u8],
    ip: impl Fn([u8; N]) -> IpAddr,
) -> Result<Source, ProxyError> {
    let parts = || {
        let (from, rest) = fields.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let to_port = rest.first_chunk::<2>()?;
        let addr = |bytes: &[u8; N], port: &[u8; 2]| {
            SocketAddr::new(ip(*bytes), u16::from_be_bytes(*port))
        };
        Some(Source::Client {
            from: addr(from, from_port),
            to: addr(to, to_port),
        })
    };
    parts().ok_or(ProxyError::Malformed)
}

#[cfg(test)]
mod tests;
