use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{self, AMQPMethod, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use proptest::prelude::*;

use super::*;
use crate::frame::*;
use crate::table::{TABLE_DEPTH_MAX, TableError};

const LIMITS: Limits = Limits { frame_max: 131_072 };

/// A frame around any payload.
fn frame(frame_type: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![frame_type];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
    out
}

/// The error these bytes get.
fn refusal(bytes: &[u8], limits: Limits) -> FrameError {
    decode(bytes, &limits).unwrap_err()
}

/// A method frame on channel 1.
fn method_frame(class_id: u16, method_id: u16, arguments: &[u8]) -> Vec<u8> {
    let mut payload = class_id.to_be_bytes().to_vec();
    payload.extend_from_slice(&method_id.to_be_bytes());
    payload.extend_from_slice(arguments);
    frame(1, 1, &payload)
}

/// What amq-protocol writes.
fn oracle_bytes(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext {
        write: Vec::new(),
        position: 0,
    })
    .unwrap()
    .write
}

/// What amq-protocol reads; it must read all of it.
fn oracle_frame(bytes: &[u8]) -> AMQPFrame {
    let (rest, frame) = parse_frame(bytes).unwrap();
    assert!(rest.is_empty());
    frame
}

fn basic_frame(method: AMQPMethod) -> AMQPFrame {
    AMQPFrame::Method(7, AMQPClass::Basic(method))
}

/// Decodes exactly one whole frame on channel 7.
fn decode_one(bytes: &[u8]) -> Frame<'_> {
    let Decoded::Frame {
        channel: 7,
        frame,
        len,
    } = decode(bytes, &LIMITS).unwrap()
    else {
        panic!("no whole frame")
    };
    assert_eq!(len, bytes.len());
    frame
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

/// A raw table in which `depth` tables lie within each other, itself included.
fn nested_tables(depth: usize) -> Vec<u8> {
    let mut table = Vec::new();
    for _ in 1..depth {
        let mut outer = b"\x01nF".to_vec();
        outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        outer.append(&mut table);
        table = outer;
    }
    table
}

/// A raw table holding arrays within each other; `depth` counts the table too.
fn nested_arrays(depth: usize) -> Vec<u8> {
    let mut array = Vec::new();
    for level in (1..depth).rev() {
        let mut outer = if level == 1 {
            b"\x01nA".to_vec()
        } else {
            b"A".to_vec()
        };
        outer.extend_from_slice(&u32::try_from(array.len()).unwrap().to_be_bytes());
        outer.append(&mut array);
        array = outer;
    }
    array
}

/// The arguments of a queue.declare with this raw table.
fn declare_arguments(table: &[u8]) -> Vec<u8> {
    let mut arguments = b"\x00\x00\x01q\x00".to_vec();
    arguments.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
    arguments.extend_from_slice(table);
    arguments
}

fn name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zäß.#]{0,120}").unwrap()
}

proptest! {
    #[test]
    fn publish_that_amq_protocol_writes_is_read(
        exchange in name(), routing_key in name(), mandatory: bool, immediate: bool,
    ) {
        let bytes = oracle_bytes(&basic_frame(AMQPMethod::Publish(basic::Publish {
            exchange: short(&exchange), routing_key: short(&routing_key), mandatory, immediate,
        })));
        prop_assert_eq!(decode_one(&bytes), Frame::Publish(Publish {
            exchange: exchange.as_bytes(), routing_key: routing_key.as_bytes(), mandatory, immediate,
        }));
    }

    #[test]
    fn settlements_that_amq_protocol_writes_are_read(delivery_tag: u64, multiple: bool, requeue: bool) {
        let bytes = oracle_bytes(&basic_frame(AMQPMethod::Ack(basic::Ack { delivery_tag, multiple })));
        prop_assert_eq!(decode_one(&bytes), Frame::Ack(Ack { delivery_tag, multiple }));
        let bytes = oracle_bytes(&basic_frame(AMQPMethod::Reject(basic::Reject { delivery_tag, requeue })));
        prop_assert_eq!(decode_one(&bytes), Frame::Reject(Reject { delivery_tag, requeue }));
        let bytes = oracle_bytes(&basic_frame(AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue })));
        prop_assert_eq!(decode_one(&bytes), Frame::Nack(Nack { delivery_tag, multiple, requeue }));
    }

    #[test]
    fn settlements_are_written_as_amq_protocol_writes_them(delivery_tag: u64, multiple: bool, requeue: bool) {
        let mut out = Vec::new();
        ack(&mut out, 7, Ack { delivery_tag, multiple });
        prop_assert_eq!(&out, &oracle_bytes(&basic_frame(AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))));
        out.clear();
        nack(&mut out, 7, Nack { delivery_tag, multiple, requeue });
        let theirs = basic_frame(AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }));
        prop_assert_eq!(&out, &oracle_bytes(&theirs));
    }

    #[test]
    fn deliveries_are_written_as_amq_protocol_writes_them(
        tag in name(), delivery_tag: u64, redelivered: bool, exchange in name(), key in name(), message_count: u32,
    ) {
        let (exchange_bytes, routing_key) = (exchange.as_bytes(), key.as_bytes());
        let mut out = Vec::new();
        deliver(&mut out, 7, &Deliver {
            consumer_tag: tag.as_bytes(), delivery_tag, redelivered, exchange: exchange_bytes, routing_key,
        }).unwrap();
        prop_assert_eq!(&out, &oracle_bytes(&basic_frame(AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: short(&tag), delivery_tag, redelivered,
            exchange: short(&exchange), routing_key: short(&key),
        }))));
        out.clear();
        get_ok(&mut out, 7, &GetOk { delivery_tag, redelivered, exchange: exchange_bytes, routing_key, message_count })
            .unwrap();
        prop_assert_eq!(&out, &oracle_bytes(&basic_frame(AMQPMethod::GetOk(basic::GetOk {
            delivery_tag, redelivered, exchange: short(&exchange), routing_key: short(&key), message_count,
        }))));
        out.clear();
        return_(&mut out, 7, &Return {
            reply_code: 312, reply_text: b"NO_ROUTE", exchange: exchange_bytes, routing_key,
        }).unwrap();
        prop_assert_eq!(&out, &oracle_bytes(&basic_frame(AMQPMethod::Return(basic::Return {
            reply_code: 312, reply_text: short("NO_ROUTE"), exchange: short(&exchange), routing_key: short(&key),
        }))));
    }

    #[test]
    fn bodies_split_at_frame_max_and_come_back_whole(len in 0_usize..20_000, frame_max in 4096_u32..9000) {
        let sent: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut out = Vec::new();
        body(&mut out, 7, &sent, frame_max);
        let (mut at, mut received, mut frames) = (0, Vec::new(), 0);
        while at < out.len() {
            let decoded = decode(&out[at..], &Limits { frame_max }).unwrap();
            let Decoded::Frame { channel: 7, frame: Frame::Body(piece), len } = decoded else { panic!("{decoded:?}") };
            prop_assert!(len <= frame_max as usize && !piece.is_empty());
            received.extend_from_slice(piece);
            at += len;
            frames += 1;
        }
        prop_assert_eq!(received, sent);
        prop_assert_eq!(frames, len.div_ceil(frame_max as usize - FRAME_OVERHEAD));
    }

    #[test]
    fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &LIMITS);
        let _ = decode_protocol_header(&bytes);
    }

    #[test]
    fn any_method_payload_decodes_without_panic(
        class in prop::sample::select(vec![10_u16, 20, 30, 40, 50, 60, 85, 90]),
        method in 0_u16..130,
        arguments in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let _ = decode(&method_frame(class, method, &arguments), &LIMITS);
    }

    #[test]
    fn mutated_methods_decode_without_panic(at in 0_usize..200, value: u8, cut in 0_usize..200) {
        for mut bytes in sample_methods() {
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = decode(&bytes, &LIMITS);
            // Cut inside the payload, with size and end marker put right.
            let mut payload = bytes[7..bytes.len() - 1].to_vec();
            payload.truncate(cut % (payload.len() + 1));
            let _ = decode(&frame(1, 1, &payload), &LIMITS);
        }
    }

    #[test]
    fn every_prefix_of_a_frame_is_incomplete(cut in 0_usize..10_000) {
        for bytes in sample_methods() {
            prop_assert_eq!(decode(&bytes[..cut % bytes.len()], &LIMITS), Ok(Decoded::Incomplete));
        }
    }
}

/// One frame of each kind of method that carries a table, and some that do not.
fn sample_methods() -> Vec<Vec<u8>> {
    let mut table = FieldTable::default();
    table.insert(short("x-max-length"), AMQPValue::LongLongInt(5));
    table.insert(
        short("a"),
        AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::Boolean(true)].into()),
    );
    let mut outer = table.clone();
    outer.insert(short("t"), AMQPValue::FieldTable(table));
    let classes = [
        AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: outer.clone(),
            mechanism: short("PLAIN"),
            response: LongString::from("\0guest\0guest"),
            locale: short("en_US"),
        })),
        AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: outer.clone(),
            mechanisms: LongString::from("PLAIN"),
            locales: LongString::from("en_US"),
        })),
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: short("x"),
            kind: short("topic"),
            arguments: outer.clone(),
            ..Default::default()
        })),
        AMQPClass::Exchange(exchange::AMQPMethod::Bind(exchange::Bind {
            destination: short("d"),
            source: short("s"),
            routing_key: short("k"),
            nowait: true,
            arguments: outer.clone(),
        })),
        AMQPClass::Exchange(exchange::AMQPMethod::Unbind(exchange::Unbind {
            destination: short("d"),
            source: short("s"),
            routing_key: short("k"),
            nowait: false,
            arguments: outer.clone(),
        })),
        AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: short("q"),
            durable: true,
            arguments: outer.clone(),
            ..Default::default()
        })),
        AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short("k"),
            nowait: false,
            arguments: outer.clone(),
        })),
        AMQPClass::Queue(queue::AMQPMethod::Unbind(queue::Unbind {
            queue: short("q"),
            exchange: short("x"),
            routing_key: short("k"),
            arguments: outer.clone(),
        })),
        AMQPClass::Basic(AMQPMethod::Consume(basic::Consume {
            queue: short("q"),
            consumer_tag: short("c"),
            no_ack: true,
            arguments: outer,
            ..Default::default()
        })),
        AMQPClass::Basic(AMQPMethod::Publish(basic::Publish {
            exchange: short("x"),
            routing_key: short("k"),
            mandatory: true,
            immediate: false,
        })),
        AMQPClass::Basic(AMQPMethod::Ack(basic::Ack {
            delivery_tag: 3,
            multiple: true,
        })),
        AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            reply_text: short("Goodbye"),
            class_id: 0,
            method_id: 0,
        })),
    ];
    classes
        .map(|class| oracle_bytes(&AMQPFrame::Method(1, class)))
        .into()
}

#[test]
fn methods_off_the_hot_path_go_both_ways() {
    for bytes in sample_methods() {
        let Decoded::Frame {
            channel: 1,
            frame,
            len,
        } = decode(&bytes, &LIMITS).unwrap()
        else {
            panic!("incomplete")
        };
        assert_eq!(len, bytes.len());
        let Frame::Method(ours) = frame else { continue };
        assert_eq!(
            AMQPFrame::Method(1, (*ours.class).clone()),
            oracle_frame(&bytes)
        );
        assert_eq!(ours.class_id, ours.class.get_amqp_class_id());
        assert_eq!(ours.method_id, ours.class.get_amqp_method_id());
        let mut out = b"before".to_vec();
        method(&mut out, 1, &ours.class).unwrap();
        assert_eq!(out, [b"before", &bytes[..]].concat());
    }
}

#[test]
fn every_method_is_known_to_exactly_those_who_can_parse_it() {
    for class_id in 0..=100 {
        for method_id in 0..=130 {
            let known = !matches!(
                decode(&method_frame(class_id, method_id, &[]), &LIMITS),
                Err(FrameError::UnknownMethod { .. })
            );
            let mut payload = class_id.to_be_bytes().to_vec();
            payload.extend_from_slice(&method_id.to_be_bytes());
            // Arguments enough for any method: zeros read as empty strings and tables.
            payload.extend_from_slice(&[0; 64]);
            let theirs = amq_protocol::protocol::parse_class(&payload[..]).is_ok();
            assert_eq!(known, theirs, "{class_id}.{method_id}");
        }
    }
}

#[test]
fn content_headers_and_bodies_agree_with_amq_protocol() {
    let properties = AMQPProperties::default()
        .with_delivery_mode(2)
        .with_content_type(short("text/plain"));
    let theirs = AMQPFrame::Header(
        7,
        AMQPContentHeader {
            class_id: 60,
            body_size: 1 << 40,
            properties,
        },
    );
    let bytes = oracle_bytes(&theirs);
    let Frame::Header(ours) = decode_one(&bytes) else {
        panic!("no header")
    };
    assert_eq!((ours.class_id, ours.body_size), (60, 1 << 40));
    assert_eq!(ours.properties, b"\x90\x00\x0atext/plain\x02");
    let mut out = Vec::new();
    header(&mut out, 7, 1 << 40, ours.properties).unwrap();
    assert_eq!(out, bytes);
    out.clear();
    header(&mut out, 7, 5, &[]).unwrap();
    body(&mut out, 7, b"hello", 0);
    heartbeat(&mut out);
    let (rest, first) = parse_frame(&out[..]).unwrap();
    let none = AMQPContentHeader {
        class_id: 60,
        body_size: 5,
        properties: AMQPProperties::default(),
    };
    assert_eq!(first, AMQPFrame::Header(7, none));
    let (rest, second) = parse_frame(rest).unwrap();
    assert_eq!(second, AMQPFrame::Body(7, b"hello".to_vec()));
    assert_eq!(parse_frame(rest).unwrap(), (&[][..], AMQPFrame::Heartbeat));
}

#[test]
fn golden_bytes_of_a_publish_are_read() {
    // Exchange "", routing key "hello", mandatory.
    let bytes = b"\x01\x00\x07\x00\x00\x00\x0e\x00\x3c\x00\x28\x00\x00\x00\x05hello\x01\xce";
    assert_eq!(
        decode_one(bytes),
        Frame::Publish(Publish {
            exchange: b"",
            routing_key: b"hello",
            mandatory: true,
            immediate: false
        })
    );
}

#[test]
fn golden_bytes_of_a_delivery_are_written() {
    let mut out = Vec::new();
    let delivery = Deliver {
        consumer_tag: b"c",
        delivery_tag: 258,
        redelivered: true,
        exchange: b"",
        routing_key: b"hello",
    };
    deliver(&mut out, 1, &delivery).unwrap();
    assert_eq!(
        out,
        b"\x01\x00\x01\x00\x00\x00\x16\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x01\x02\x01\x00\x05hello\xce"
    );
}

#[test]
fn body_written_in_parts_equals_body_written_whole() {
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    body(&mut whole, 9, b"shared", 4096);
    body_frame_start(&mut parts, 9, 6);
    parts.extend_from_slice(b"shared");
    body_frame_end(&mut parts);
    assert_eq!(parts, whole);
}

#[test]
fn empty_body_has_no_frame() {
    let mut out = Vec::new();
    body(&mut out, 1, &[], 4096);
    assert!(out.is_empty());
}

#[test]
fn short_string_of_255_bytes_is_written_and_256_refused_without_a_trace() {
    let text = [b'k'; 256];
    let mut out = b"kept".to_vec();
    let delivery = |key| Deliver {
        consumer_tag: b"c",
        delivery_tag: 1,
        redelivered: false,
        exchange: b"x",
        routing_key: key,
    };
    assert_eq!(
        deliver(&mut out, 1, &delivery(&text)),
        Err(EncodeError::ShortStringTooLong(256))
    );
    let got = GetOk {
        delivery_tag: 1,
        redelivered: false,
        exchange: &text,
        routing_key: b"",
        message_count: 0,
    };
    assert_eq!(
        get_ok(&mut out, 1, &got),
        Err(EncodeError::ShortStringTooLong(256))
    );
    let returned = Return {
        reply_code: 312,
        reply_text: &text,
        exchange: b"",
        routing_key: b"",
    };
    assert_eq!(
        return_(&mut out, 1, &returned),
        Err(EncodeError::ShortStringTooLong(256))
    );
    assert_eq!(out, b"kept");
    out.clear();
    deliver(&mut out, 7, &delivery(&text[..255])).unwrap();
    let AMQPFrame::Method(7, AMQPClass::Basic(AMQPMethod::Deliver(read))) = oracle_frame(&out)
    else {
        panic!()
    };
    assert_eq!(read.routing_key.as_str().len(), 255);
}

#[test]
fn protocol_header_is_judged_as_soon_as_it_differs() {
    for (bytes, verdict) in [
        (&b""[..], ProtocolHeader::Incomplete),
        (b"AMQP", ProtocolHeader::Incomplete),
        (b"AMQP\x00\x00\x09", ProtocolHeader::Incomplete),
        (b"AMQP\x00\x00\x09\x01", ProtocolHeader::Amqp091),
        (b"AMQP\x00\x00\x09\x01\x01\x00", ProtocolHeader::Amqp091),
        (b"AMQP\x01\x01\x00\x09", ProtocolHeader::Amqp091),
        (b"AMQP\x00\x00\x09\x00", ProtocolHeader::Mismatch),
        (b"AMQP\x00\x01\x00\x00", ProtocolHeader::Mismatch),
        (b"AMQP\x03\x01\x00\x00", ProtocolHeader::Mismatch),
        (b"GET / HTTP/1.1\r\n", ProtocolHeader::Mismatch),
        (b"AMQX", ProtocolHeader::Mismatch),
        (b"\x16\x03\x01", ProtocolHeader::Mismatch),
    ] {
        assert_eq!(
            decode_protocol_header(bytes),
            verdict,
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn bad_frame_end_is_refused() {
    let mut bytes = frame(3, 5, b"x");
    *bytes.last_mut().unwrap() = 0;
    assert_eq!(
        decode(&bytes, &LIMITS),
        Err(FrameError::BadFrameEnd {
            channel: 5,
            found: 0
        })
    );
}

#[test]
fn frame_size_is_judged_by_the_header_with_a_tolerance_of_eight_bytes() {
    let limits = Limits { frame_max: 4096 };
    let header_of = |payload: u32| [&[3, 0, 2][..], &payload.to_be_bytes()].concat();
    assert_eq!(decode(&header_of(4096), &limits), Ok(Decoded::Incomplete));
    let refused = FrameError::FrameTooLarge {
        channel: 2,
        size: 4105,
        max: 4104,
    };
    assert_eq!(decode(&header_of(4097), &limits), Err(refused));
    let whole = frame(3, 2, &[1; 4096]);
    assert!(matches!(
        decode(&whole, &limits),
        Ok(Decoded::Frame { len: 4104, .. })
    ));
}

#[test]
fn frame_max_zero_still_has_a_hard_limit() {
    for frame_max in [0, u32::MAX] {
        let limits = Limits { frame_max };
        let at_limit = FRAME_HARD_MAX - 8;
        let header_of = |payload: u32| [&[3, 0, 2][..], &payload.to_be_bytes()].concat();
        assert_eq!(
            decode(&header_of(at_limit), &limits),
            Ok(Decoded::Incomplete)
        );
        let refused = refusal(&header_of(at_limit + 1), limits);
        assert!(
            matches!(
                refused,
                FrameError::FrameTooLarge {
                    max: FRAME_HARD_MAX,
                    ..
                }
            ),
            "{refused:?}"
        );
        let refused = refusal(&header_of(u32::MAX), limits);
        assert!(
            matches!(
                refused,
                FrameError::FrameTooLarge {
                    size: 4_294_967_303,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn unknown_frame_type_is_refused_at_the_header() {
    for frame_type in [0, 4, 5, 6, 7, 9, 255] {
        let refused = refusal(&[frame_type, 0, 3, 0, 0, 0, 9], LIMITS);
        assert_eq!(
            refused,
            FrameError::UnknownFrameType {
                channel: 3,
                frame_type
            }
        );
    }
}

#[test]
fn payloads_too_short_for_their_type_are_refused() {
    let short_method = FrameError::BadPayloadSize {
        channel: 1,
        frame_type: 1,
        size: 3,
    };
    assert_eq!(
        decode(&frame(1, 1, &[0, 60, 0]), &LIMITS),
        Err(short_method)
    );
    let short_header = FrameError::BadPayloadSize {
        channel: 1,
        frame_type: 2,
        size: 11,
    };
    assert_eq!(decode(&frame(2, 1, &[0; 11]), &LIMITS), Err(short_header));
    let full_heartbeat = FrameError::BadPayloadSize {
        channel: 0,
        frame_type: 8,
        size: 1,
    };
    assert_eq!(decode(&frame(8, 0, &[0]), &LIMITS), Err(full_heartbeat));
}

#[test]
fn content_header_with_a_weight_is_refused() {
    let mut payload = [0; 14];
    payload[3] = 1;
    assert_eq!(
        decode(&frame(2, 1, &payload), &LIMITS),
        Err(FrameError::HeaderWeight {
            channel: 1,
            weight: 1
        })
    );
}

#[test]
fn heartbeat_tells_its_channel() {
    let decoded = decode(&[8, 0, 1, 0, 0, 0, 0, 206], &LIMITS);
    assert_eq!(
        decoded,
        Ok(Decoded::Frame {
            channel: 1,
            frame: Frame::Heartbeat,
            len: 8
        })
    );
}

#[test]
fn unknown_methods_are_named() {
    for (class_id, method_id) in [(60, 130), (61, 40), (0, 0), (40, 41), (u16::MAX, u16::MAX)] {
        let error = FrameError::UnknownMethod {
            channel: 1,
            class_id,
            method_id,
        };
        assert_eq!(
            decode(&method_frame(class_id, method_id, &[]), &LIMITS),
            Err(error)
        );
        assert_eq!(
            (error.channel(), error.class_and_method()),
            (1, (class_id, method_id))
        );
    }
}

#[test]
fn malformed_arguments_are_told_apart() {
    let fault_of = |class_id, method_id, arguments: &[u8]| {
        let bytes = method_frame(class_id, method_id, arguments);
        match decode(&bytes, &LIMITS) {
            Err(FrameError::MalformedMethod {
                channel: 1,
                class_id: c,
                method_id: m,
                fault,
            }) => {
                assert_eq!((c, m), (class_id, method_id));
                fault
            }
            other => panic!("{other:?}"),
        }
    };
    for (class_id, method_id, arguments, fault) in [
        (60, 40, &b""[..], MethodFault::Truncated),
        (60, 40, b"\0\0\x05abc", MethodFault::Truncated),
        (60, 40, b"\0\0\x01x\x01k", MethodFault::Truncated),
        (60, 40, b"\0\0\x01x\x01k\0\0", MethodFault::TrailingBytes),
        (60, 40, b"\0\0\x01\xff\x01k\0", MethodFault::NotUtf8),
        (60, 40, b"\0\0\x01x\x02\xc3\x28\0", MethodFault::NotUtf8),
        (60, 80, b"\0\0\0\0\0\0\0\x01", MethodFault::Truncated),
        (
            60,
            80,
            b"\0\0\0\0\0\0\0\x01\0\0",
            MethodFault::TrailingBytes,
        ),
        (60, 90, b"", MethodFault::Truncated),
        (
            60,
            120,
            b"\0\0\0\0\0\0\0\x01\0\0",
            MethodFault::TrailingBytes,
        ),
        (50, 10, b"\0\0\x01q", MethodFault::Truncated),
        (50, 10, b"\0\0\x01q\0\0\0\0\x09", MethodFault::Truncated),
        (50, 10, b"\0\0\x01q\0\0\0\0\0\0", MethodFault::TrailingBytes),
        (50, 10, b"\0\0\x01\xff\0\0\0\0\0", MethodFault::NotUtf8),
        (
            50,
            10,
            b"\0\0\x01q\0\0\0\0\x03\x01kZ",
            MethodFault::Table(TableError::UnknownType(b'Z')),
        ),
        (
            50,
            10,
            b"\0\0\x01q\0\0\0\0\x04\x01kI\0",
            MethodFault::Table(TableError::Truncated),
        ),
        (
            50,
            10,
            b"\0\0\x01q\0\0\0\0\x03\x01\xffV",
            MethodFault::Syntax,
        ),
        (10, 40, b"\x01\xff\0\0", MethodFault::Syntax),
        (20, 10, b"\x05abc", MethodFault::Truncated),
    ] {
        assert_eq!(
            fault_of(class_id, method_id, arguments),
            fault,
            "{}",
            arguments.escape_ascii()
        );
    }
}

#[test]
fn tables_are_read_at_the_depth_limit_and_refused_one_deeper() {
    for nested in [nested_tables, nested_arrays] {
        let at_limit = method_frame(50, 10, &declare_arguments(&nested(TABLE_DEPTH_MAX)));
        assert!(matches!(
            decode(&at_limit, &LIMITS),
            Ok(Decoded::Frame {
                frame: Frame::Method(_),
                ..
            })
        ));
        let deeper = method_frame(50, 10, &declare_arguments(&nested(TABLE_DEPTH_MAX + 1)));
        let refused = FrameError::TableTooDeep {
            channel: 1,
            class_id: 50,
            method_id: 10,
        };
        assert_eq!(decode(&deeper, &LIMITS), Err(refused));
    }
}

#[test]
fn every_method_with_a_table_is_guarded_against_deep_nesting() {
    let table = nested_tables(18_000);
    let mut table_with_len = u32::try_from(table.len()).unwrap().to_be_bytes().to_vec();
    table_with_len.extend_from_slice(&table);
    for (class_id, method_id, before) in [
        (10, 10, &b"\0\x09"[..]),
        (10, 11, b""),
        (40, 10, b"\0\0\x01x\x05topic\0"),
        (40, 30, b"\0\0\x01d\x01s\x01k\0"),
        (40, 40, b"\0\0\x01d\x01s\x01k\0"),
        (50, 10, b"\0\0\x01q\0"),
        (50, 20, b"\0\0\x01q\x01x\x01k\0"),
        (50, 50, b"\0\0\x01q\x01x\x01k"),
        (60, 20, b"\0\0\x01q\x01c\0"),
    ] {
        let bytes = method_frame(class_id, method_id, &[before, &table_with_len].concat());
        let refused = FrameError::TableTooDeep {
            channel: 1,
            class_id,
            method_id,
        };
        assert_eq!(decode(&bytes, &Limits { frame_max: 0 }), Err(refused));
    }
}
