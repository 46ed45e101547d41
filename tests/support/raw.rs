//! Bytes on sockets, for what no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::DEADLINE;

/// AMQP's protocol header.
pub const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// Octet that ends an AMQP frame.
const FRAME_END: u8 = 0xCE;

/// Largest frame an answer may have.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A socket that waits no longer than the deadline.
pub struct Raw {
    stream: TcpStream,
}

/// An AMQP frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// 1 for methods, 2 for headers, 3 for bodies, 8 for heartbeats.
    pub kind: u8,
    /// Channel.
    pub channel: u16,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Class and method, of a method frame.
    pub fn method(&self) -> (u16, u16) {
        assert_eq!(self.kind, 1, "a method frame: {self:?}");
        (u16_at(&self.payload, 0), u16_at(&self.payload, 2))
    }

    /// Reply code and text of a connection.close or channel.close.
    pub fn close(&self) -> (u16, String) {
        assert!(
            matches!(self.method(), (10, 50) | (20, 40)),
            "a close: {self:?}"
        );
        let length = usize::from(self.payload[6]);
        let text = String::from_utf8(self.payload[7..7 + length].to_vec()).unwrap();
        (u16_at(&self.payload, 4), text)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

impl Raw {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// The own address, by which the broker's log knows this connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The socket, for who reads and writes by himself.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends everything.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends as much as the peer takes before it closes. Returns whether it took everything.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// As many bytes.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything until the peer closes. A reset is a close: it is what unread bytes turn it into.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
                Err(error) => panic!("the peer did not close: {error}"),
            }
        }
    }

    /// The next AMQP frame.
    pub fn frame(&mut self) -> Frame {
        let head = self.read(7);
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        assert!(size <= ANSWER_BYTES_MAX, "a frame of {size} bytes");
        let mut payload = self.read(size + 1);
        assert_eq!(payload.pop(), Some(FRAME_END));
        Frame {
            kind: head[0],
            channel: u16_at(&head, 1),
            payload,
        }
    }

    /// The next AMQP frame, which must be this method.
    pub fn expect(&mut self, class: u16, method: u16) -> Frame {
        let frame = self.frame();
        assert_eq!(frame.method(), (class, method), "{frame:?}");
        frame
    }

    /// Logs in over AMQP as guest and opens channel 1.
    pub fn amqp(addr: SocketAddr) -> Self {
        let mut raw = Self::connect(addr);
        raw.send(AMQP_HEADER);
        raw.expect(10, 10);
        raw.send(&method(0, 10, 11, &start_ok()));
        let tune = raw.expect(10, 30).payload;
        raw.send(&method(0, 10, 31, &tune[4..12]));
        raw.send(&method(0, 10, 40, b"\x01/\x00\x00"));
        raw.expect(10, 41);
        raw.send(&method(1, 20, 10, b"\x00"));
        raw.expect(20, 11);
        raw
    }

    /// Logs in over MQTT as guest, with a clean session.
    pub fn mqtt(addr: SocketAddr, level: u8, id: &str) -> Self {
        let mut raw = Self::connect(addr);
        raw.send(&mqtt_connect(level, id));
        let (kind, connack) = raw.packet();
        assert_eq!((kind, connack[1]), (0x20, 0), "CONNACK: {connack:?}");
        raw
    }

    /// The next MQTT packet: its first byte and what follows the remaining length.
    pub fn packet(&mut self) -> (u8, Vec<u8>) {
        let kind = self.read(1)[0];
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.read(1)[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        assert!(length <= ANSWER_BYTES_MAX, "a packet of {length} bytes");
        (kind, self.read(length))
    }
}

/// An AMQP frame's bytes.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(FRAME_END);
    bytes
}

/// An AMQP method frame's bytes.
pub fn method(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend_from_slice(&method.to_be_bytes());
    payload.extend_from_slice(arguments);
    frame(1, channel, &payload)
}

/// Text behind one byte of length.
pub fn short(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).unwrap()];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Bytes behind four bytes of length.
pub fn long(content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

/// Arguments of a connection.start-ok that logs guest in.
pub fn start_ok() -> Vec<u8> {
    [
        long(b""),
        short("PLAIN"),
        long(b"\0guest\0guest"),
        short("en_US"),
    ]
    .concat()
}

/// A queue.declare of a transient queue with this table of arguments.
pub fn queue_declare(queue: &str, arguments: &[u8]) -> Vec<u8> {
    method(
        1,
        50,
        10,
        &[&[0, 0][..], &short(queue), &[0], &long(arguments)].concat(),
    )
}

/// An MQTT packet's bytes.
pub fn packet(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut length = content.len();
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Text behind two bytes of length.
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A CONNECT as guest, with a clean session and no keep alive.
pub fn mqtt_connect(level: u8, id: &str) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let content = [
        &string("MQTT")[..],
        &[level, 0xC2, 0, 0],
        properties,
        &string(id),
        &string("guest"),
        &string("guest"),
    ];
    packet(0x10, &content.concat())
}

/// A SUBSCRIBE with packet identifier 1 to one filter.
pub fn mqtt_subscribe(level: u8, filter: &str, qos: u8) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(
        0x82,
        &[&[0, 1][..], properties, &string(filter), &[qos]].concat(),
    )
}

/// A PUBLISH of QoS 0 without properties.
pub fn mqtt_publish(level: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(0x30, &[&string(topic)[..], properties, payload].concat())
}
