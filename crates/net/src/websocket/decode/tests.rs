use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BINARY: u8 = 0x82;
const MORE: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
const LAST: u8 = 0x80;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

fn frame_masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7f);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_masked(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

/// What a stream comes to, handed in `step` bytes at a time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Whole {
    payload: Vec<u8>,
    pings: Vec<Vec<u8>>,
    end: Option<End>,
}

fn decode(stream: &[u8], step: usize) -> Whole {
    let mut decoder = Decoder::new(1 << 20);
    let mut whole = Whole::default();
    for piece in stream.chunks(step) {
        let mut raw = piece.to_vec();
        let decoded = decoder.decode(&mut raw);
        whole
            .payload
            .extend_from_slice(&raw[..decoded.payload_bytes]);
        whole.pings.extend(decoded.ping);
        whole.end = whole.end.or(decoded.end);
    }
    whole
}

fn violation(stream: &[u8]) -> Violation {
    match decode(stream, stream.len()).end {
        Some(End::Violated(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rfcs_masked_hello_is_read() {
    // RFC 6455 §5.7, as a binary message.
    let stream = [
        0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(decode(&stream, 64).payload, b"Hello");
}

#[test]
fn lengths_of_every_form_are_read() {
    for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
        let payload = vec![7; length];
        let stream = frame(BINARY, &payload);
        assert_eq!(decode(&stream, stream.len()).payload, payload);
    }
    // §5.2 asks for the shortest form; longer ones are taken.
    let stream = [0x82, 0xfe, 0, 1, 0, 0, 0, 0, 9];
    assert_eq!(decode(&stream, 64).payload, [9]);
}

#[test]
fn control_frames_may_come_between_fragments() {
    let stream = [
        frame(MORE, b"one "),
        frame(PING, b"there?"),
        frame(CONTINUATION, b""),
        frame(PONG, b"whatever"),
        frame(LAST, b"two"),
        frame(BINARY, b" three"),
    ]
    .concat();
    for step in [1, 2, 3, 7, stream.len()] {
        let whole = decode(&stream, step);
        assert_eq!(whole.payload, b"one two three");
        assert_eq!(whole.pings, [b"there?".to_vec()]);
        assert_eq!(whole.end, None);
    }
}

#[test]
fn only_the_last_of_several_pings_is_answered() {
    let stream = [frame(PING, b"1"), frame(PING, b"2")].concat();
    assert_eq!(decode(&stream, stream.len()).pings, [b"2".to_vec()]);
}

#[test]
fn close_frames_end_the_stream_after_what_came_before() {
    for (payload, code) in [
        (&b""[..], None),
        (&[0x03, 0xe8], Some(1000)),
        (b"\x03\xe9going \xc3\xbc", Some(1001)),
        (&[0x0f, 0xa0], Some(4000)),
    ] {
        let stream = [
            frame(BINARY, b"last"),
            frame(CLOSE, payload),
            frame(BINARY, b"no"),
        ]
        .concat();
        let whole = decode(&stream, 3);
        assert_eq!(whole.payload, b"last");
        assert_eq!(whole.end, Some(End::Closed(code)));
    }
}

#[test]
fn broken_rules_end_the_stream_with_the_code_for_it() {
    for (stream, expected, code) in [
        (frame(0xc2, b""), Violation::ReservedBit, 1002),
        (frame(0x83, b""), Violation::Opcode, 1002),
        (frame(0x8b, b""), Violation::Opcode, 1002),
        (vec![0x82, 0x01, 0x00], Violation::NotMasked, 1002),
        (frame(TEXT, b"x"), Violation::Text, 1003),
        (frame(LAST, b"x"), Violation::Fragments, 1002),
        (
            [frame(MORE, b"x"), frame(BINARY, b"y")].concat(),
            Violation::Fragments,
            1002,
        ),
        (frame(0x09, b""), Violation::Control, 1002),
        (frame(PING, &[0; 126]), Violation::Control, 1002),
        (frame(CLOSE, &[0x03]), Violation::Close, 1002),
        (frame(CLOSE, &[0x03, 0xed]), Violation::Close, 1002),
        (frame(CLOSE, &[0x03, 0xe7]), Violation::Close, 1002),
        (
            frame(CLOSE, &[0x03, 0xe8, 0xff]),
            Violation::CloseText,
            1007,
        ),
        (
            vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            Violation::TooLong,
            1009,
        ),
    ] {
        assert_eq!(violation(&stream), expected);
        assert_eq!(expected.close_code(), code);
        let after = [frame(BINARY, b"before"), stream, frame(BINARY, b"after")].concat();
        let whole = decode(&after, after.len());
        if expected == Violation::Fragments {
            assert!(whole.payload.starts_with(b"before"));
        } else {
            assert_eq!(whole.payload, b"before");
        }
    }
}

#[test]
fn frames_at_the_limit_are_taken_and_longer_ones_are_not() {
    let end = |bytes: usize| {
        let mut raw = frame(BINARY, &vec![0; bytes]);
        Decoder::new(1000).decode(&mut raw).end
    };
    assert_eq!(end(1000), None);
    assert_eq!(end(1001), Some(End::Violated(Violation::TooLong)));
}

fn fragments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..300), 1..5)
}

proptest! {
    #[test]
    fn payload_is_the_same_however_it_is_framed_and_cut(
        messages in vec((fragments(), any::<[u8; 4]>(), any::<bool>()), 0..5),
        step in 1_usize..400,
    ) {
        let (mut stream, mut payload, mut pings) = (Vec::new(), Vec::new(), 0);
        for (fragments, mask, is_pinged) in &messages {
            for (n, fragment) in fragments.iter().enumerate() {
                let opcode = if n == 0 { MORE } else { CONTINUATION };
                let last = if n + 1 == fragments.len() { LAST } else { 0 };
                stream.extend(frame_masked(opcode | last, fragment, *mask));
                payload.extend_from_slice(fragment);
                if *is_pinged {
                    stream.extend(frame_masked(PING, b"p", *mask));
                    pings += 1;
                }
            }
        }
        let whole = decode(&stream, step);
        prop_assert_eq!(whole.payload, payload);
        prop_assert_eq!(whole.end, None);
        prop_assert_eq!(whole.pings.is_empty(), pings == 0);
    }

    #[test]
    fn any_bytes_end_the_same_however_they_are_cut(stream: Vec<u8>, step in 1_usize..20) {
        let (whole, cut) = (decode(&stream, stream.len().max(1)), decode(&stream, step));
        prop_assert_eq!(whole.payload, cut.payload);
        prop_assert_eq!(whole.end, cut.end);
    }
}
