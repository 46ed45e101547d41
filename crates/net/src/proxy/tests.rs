use proptest::prelude::*;

use super::*;

fn v1(text: &str) -> Result<Progress, ProxyError> {
    read(text.as_bytes())
}

/// A header of version 2 with these bytes 13 and 14, and what follows the length.
fn v2(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fields.len()).unwrap();
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(fields);
    header
}

fn client(from: &str, to: &str) -> Source {
    Source::Client {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

fn done(header_bytes: usize, source: Source) -> Progress {
    Progress::Done {
        header_bytes,
        source,
    }
}

#[test]
fn version_1_names_the_client_and_the_address_it_came_to() {
    let header = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n";
    let expected = client("192.0.2.1:56324", "198.51.100.2:5672");
    assert_eq!(
        v1(&format!("{header}AMQP")),
        Ok(done(header.len(), expected))
    );
    let header = "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
    let expected = client("[2001:db8::1]:1", "[2001:db8::2]:65535");
    assert_eq!(v1(header), Ok(done(header.len(), expected)));
}

#[test]
fn unknown_clients_of_version_1_are_the_proxy_itself() {
    for header in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff::1 ff::2 1 2\r\n"] {
        assert_eq!(v1(header), Ok(done(header.len(), Source::Unnamed)));
    }
}

#[test]
fn malformed_headers_of_version_1_are_refused() {
    use ProxyError::{Malformed, Unknown};
    for (header, error) in [
        ("PROXY \r\n", Malformed),
        ("PROXY TCP4\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Malformed),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Malformed),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Malformed),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Unknown),
    ] {
        assert_eq!(v1(header), Err(error), "{header:?}");
    }
}

#[test]
fn version_1_ends_within_107_bytes() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(longest.len(), 107);
    assert_eq!(v1(&longest), Ok(done(107, Source::Unnamed)));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16));
    assert_eq!(v1(&longer), Err(ProxyError::TooLong));
}

#[test]
fn version_2_names_clients_of_both_families() {
    let fields = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 0x16, 0x28];
    let header = v2(0x21, 0x11, &fields);
    let expected = client("192.0.2.1:56324", "198.51.100.2:5672");
    assert_eq!(read(&header), Ok(done(header.len(), expected)));
    let mut fields = [0; 36];
    (fields[15], fields[31], fields[33], fields[35]) = (1, 2, 3, 4);
    let header = v2(0x21, 0x21, &fields);
    assert_eq!(
        read(&header),
        Ok(done(header.len(), client("[::1]:3", "[::2]:4")))
    );
}

#[test]
fn further_fields_of_version_2_are_passed_over() {
    let fields = [192, 0, 2, 1, 198, 51, 100, 2, 0, 1, 0, 2, 0x20, 0, 1, 9];
    let header = v2(0x21, 0x11, &fields);
    let expected = client("192.0.2.1:1", "198.51.100.2:2");
    assert_eq!(read(&header), Ok(done(header.len(), expected)));
}

#[test]
fn connections_that_version_2_does_not_describe_are_the_proxys_own() {
    for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x31)] {
        let header = v2(command, family, &[0; 3]);
        assert_eq!(read(&header), Ok(done(19, Source::Unnamed)));
    }
}

#[test]
fn malformed_headers_of_version_2_are_refused() {
    use ProxyError::{Malformed, TooLong, Unknown};
    for (header, error) in [
        (v2(0x21, 0x11, &[0; 11]), Malformed),
        (v2(0x21, 0x21, &[0; 35]), Malformed),
        (v2(0x11, 0x11, &[0; 12]), Unknown),
        (v2(0x22, 0x11, &[0; 12]), Unknown),
        (v2(0x21, 0x41, &[0; 12]), Unknown),
        (v2(0x21, 0x11, &[0; HEADER_BYTES_MAX]), TooLong),
    ] {
        assert_eq!(read(&header), Err(error));
    }
    let longest = v2(0x20, 0, &[0; HEADER_BYTES_MAX - V2_HEAD_BYTES]);
    assert_eq!(read(&longest), Ok(done(HEADER_BYTES_MAX, Source::Unnamed)));
}

#[test]
fn whoever_begins_otherwise_sent_no_header() {
    for bytes in [
        &b"AMQP\0\0\x09\x01"[..],
        b"\x10\x0c\0\x04MQTT",
        b"PROXZ",
        b"\r\n\r\nA",
    ] {
        assert_eq!(read(bytes), Err(ProxyError::Missing));
    }
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (
            any::<[u8; 4]>(),
            any::<[u8; 4]>(),
            any::<u16>(),
            any::<u16>()
        )
            .prop_map(|(from, to, from_port, to_port)| {
                let (from, to) = (IpAddr::from(from), IpAddr::from(to));
                format!("PROXY TCP4 {from} {to} {from_port} {to_port}\r\n").into_bytes()
            }),
        (
            any::<[u8; 36]>(),
            proptest::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(addresses, further)| v2(
                0x21,
                0x21,
                &[&addresses[..], &further].concat()
            )),
        Just(v2(0x20, 0, &[])),
    ]
}

proptest! {
    /// Wherever a header is cut, its beginning is partial, and what follows it is left alone.
    #[test]
    fn headers_are_read_however_they_arrive(header in headers(), after: Vec<u8>) {
        for cut in 0..header.len() {
            prop_assert_eq!(read(&header[..cut]), Ok(Progress::Partial));
        }
        let whole = read(&header);
        let is_whole = |header_bytes| header_bytes == header.len();
        let ends = matches!(whole, Ok(Progress::Done { header_bytes, .. }) if is_whole(header_bytes));
        prop_assert!(ends);
        prop_assert_eq!(read(&[&header[..], &after].concat()), whole);
    }

    /// Whatever comes, the header is no longer than the limit.
    #[test]
    fn any_bytes_come_to_an_end(mut bytes: Vec<u8>, begins in 0..3) {
        match begins {
            0 => bytes.splice(..0, V2_SIGNATURE.iter().copied()).for_each(drop),
            1 => bytes.splice(..0, V1_PREFIX.iter().copied()).for_each(drop),
            _ => {}
        }
        match read(&bytes) {
            Ok(Progress::Done { header_bytes, .. }) => prop_assert!(header_bytes <= bytes.len()),
            Ok(Progress::Partial) => prop_assert!(bytes.len() < HEADER_BYTES_MAX),
            Err(_) => {}
        }
    }
}
