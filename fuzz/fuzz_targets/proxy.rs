//! PROXY headers of both versions: what is read ends within the limit, and does not depend on what follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ternmq_net::proxy::{self, HEADER_BYTES_MAX, Progress};

fuzz_target!(|bytes: &[u8]| {
    let whole = proxy::read(bytes);
    match whole {
        Ok(Progress::Partial) => assert!(bytes.len() < HEADER_BYTES_MAX),
        Ok(Progress::Done { header_bytes, .. }) => {
            assert!(header_bytes <= bytes.len() && header_bytes <= HEADER_BYTES_MAX);
            assert_eq!(proxy::read(&bytes[..header_bytes]), whole);
            for cut in 0..header_bytes {
                assert_eq!(proxy::read(&bytes[..cut]), Ok(Progress::Partial));
            }
        }
        Err(_) => {}
    }
});
