//! Any bytes as frames, as method arguments, as properties and as field tables: nothing panics, nothing grows out of
//! proportion, and what was read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternmq_amqp::codec::{self, Decoded};
use ternmq_amqp::frame::{Frame, Limits};
use ternmq_amqp::properties::Properties;
use ternmq_amqp::{mapping, table};
use ternmq_core::message::{
    Death, DeathPlace, DeathReason, Extras, History, NewMessage, PropertyFormat,
};
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::value::Value;

const LIMITS: Limits = Limits { frame_max: 4096 };

fuzz_target!(|data: &[u8]| {
    codec::decode_protocol_header(data);
    stream(data);
    // Past the frame's own bytes at once: all of the input as one method, one header.
    for frame_type in [1, 2] {
        stream(&framed(frame_type, data));
    }
    properties(data);
    field_table(data);
});

fn framed(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![frame_type, 0, 1];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// Reads frame after frame, as a connection does.
fn stream(mut input: &[u8]) {
    while let Ok(Decoded::Frame {
        channel,
        frame,
        len,
    }) = codec::decode(input, &LIMITS)
    {
        assert!(len <= input.len() && len <= LIMITS.frame_max as usize + 8);
        rewritten(channel, &frame, &input[..len]);
        input = &input[len..];
    }
}

/// What we can write as well comes out as it went in.
fn rewritten(channel: u16, frame: &Frame<'_>, read: &[u8]) {
    let mut out = Vec::new();
    match frame {
        Frame::Header(header) => {
            properties(header.properties);
            if header.class_id == 60 && !header.properties.is_empty() {
                codec::header(&mut out, channel, header.body_size, header.properties).unwrap();
                assert_eq!(out, read);
            }
        }
        Frame::Body(body) if !body.is_empty() && body.len() <= 4088 => {
            codec::body(&mut out, channel, body, 4096);
            assert_eq!(out, read);
        }
        Frame::Ack(ack) => {
            codec::ack(&mut out, channel, *ack);
            assert_eq!(
                out[..19],
                read[..19],
                "all up to the bits, of which one has a meaning"
            );
        }
        Frame::Nack(nack) => {
            codec::nack(&mut out, channel, *nack);
            assert_eq!(out[..19], read[..19]);
        }
        Frame::Method(method) => {
            codec::method(&mut out, channel, &method.class).unwrap();
            let again = codec::decode(&out, &Limits { frame_max: 0 });
            assert!(
                matches!(again, Ok(Decoded::Frame { len, .. }) if len == out.len()),
                "{again:?}"
            );
        }
        Frame::Publish(publish) => {
            assert!(publish.exchange.len() + publish.routing_key.len() < read.len())
        }
        _ => {}
    }
}

fn properties(raw: &[u8]) {
    if let Ok(properties) = Properties::parse(raw) {
        let mut again = Vec::new();
        properties.encode(&mut again).unwrap();
        assert_eq!(again, raw);
    }
    let neutral = mapping::FORMAT.decode(raw);
    assert!(neutral.headers.len() <= raw.len());
    // A damaged store may hold anything; an accepted publish only what `to_core` lets in.
    rendered(raw);
    if let Ok(incoming) = mapping::to_core(raw) {
        rendered(&incoming.native);
    }
}

fn rendered(native: &[u8]) {
    let history = History {
        deaths: vec![Death {
            reason: DeathReason::Expired,
            queue: "q".into(),
            exchange: (&b"x"[..]).into(),
            routing_keys: vec![(&b"a/b"[..]).into()],
            key_syntax: KeySyntax::Slashed,
            count: 1,
            first_time: Default::default(),
            last_time: Default::default(),
            original_ttl_ms: Some(5),
        }],
        first: place(),
        last: place(),
    };
    let extras = Extras {
        history: Some(history),
        hide_cc: true,
        ..Extras::default()
    };
    let message = NewMessage {
        format: &mapping::FORMAT,
        native,
        extras: Some(Box::new(extras)),
        ..NewMessage::plain(b"x", b"k", b"")
    };
    let message = message.build(&mut Vec::new());
    let mut scratch = Vec::new();
    let annotations = [(mapping::X_DELIVERY_COUNT, Value::I64(1))];
    let delivered = mapping::from_core(&message, &annotations, &mut scratch).unwrap();
    let properties = Properties::parse(delivered).expect("what is delivered can be read");
    assert!(properties.header(b"x-death").is_some());
    assert!(properties.header(b"CC").is_none());
}

fn place() -> DeathPlace {
    DeathPlace {
        reason: DeathReason::Expired,
        queue: "q".into(),
        exchange: (&b"x"[..]).into(),
    }
}

fn field_table(raw: &[u8]) {
    let headers = table::to_headers(raw);
    assert_eq!(
        table::validate(raw),
        headers.as_ref().map(|_| ()).map_err(|error| *error)
    );
    let Ok(headers) = headers else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    table::encode_headers(&mut once, &headers).unwrap();
    table::encode_headers(&mut twice, &table::to_headers(&once).unwrap()).unwrap();
    assert_eq!(once, twice);
}
