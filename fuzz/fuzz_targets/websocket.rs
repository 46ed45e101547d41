//! WebSocket: requests and frames of any kind. The payload is the same however the bytes are cut, never longer than
//! they are, and ends where a rule is broken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternmq_net::websocket::WebSocketConfig;
use ternmq_net::websocket::decode::{Decoder, End};
use ternmq_net::websocket::upgrade::{self, Request};

const FRAME_BYTES_MAX: u64 = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((step, stream)) = input.split_first() else {
        return;
    };
    let whole = decode(stream, stream.len().max(1));
    let cut = decode(stream, usize::from(*step).max(1));
    assert_eq!(whole, cut);
    assert!(whole.0.len() <= stream.len());
    request(stream);
});

fn decode(stream: &[u8], step: usize) -> (Vec<u8>, Option<End>) {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let (mut payload, mut end) = (Vec::new(), None);
    for piece in stream.chunks(step) {
        let mut raw = piece.to_vec();
        let decoded = decoder.decode(&mut raw);
        assert!(end.is_none() || decoded.payload_bytes == 0);
        assert!(decoded.ping.is_none_or(|ping| ping.len() <= 125));
        payload.extend_from_slice(&raw[..decoded.payload_bytes]);
        end = end.or(decoded.end);
    }
    (payload, end)
}

fn request(bytes: &[u8]) {
    let config = WebSocketConfig {
        paths: vec!["/ws".into()],
        subprotocols: vec!["mqtt"],
        origins: vec!["https://example.com".into()],
        frame_bytes_max: FRAME_BYTES_MAX,
    };
    match upgrade::read(bytes, &config) {
        Request::Accepted { head_bytes, answer } => {
            assert!(head_bytes <= bytes.len() && head_bytes <= upgrade::HEAD_BYTES_MAX);
            assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"));
        }
        Request::Refused(refusal) => assert!(refusal.answer().starts_with("HTTP/1.1 4")),
        Request::Partial => assert!(bytes.len() < upgrade::HEAD_BYTES_MAX),
    }
}
