//! Every limit of the socket loop.

use std::time::Duration;

use crate::output::OUTPUT_BUDGET_BYTES;

/// While more than this many bytes of answers to a peer are unsent, nothing is read from it.
pub const UNSENT_HIGH_BYTES: usize = 1024 * 1024;

/// Reading goes on when no more than this is unsent.
pub const UNSENT_LOW_BYTES: usize = OUTPUT_BUDGET_BYTES * 2;

/// Reads of one turn, as long as each fills its buffer.
pub const READS_PER_TURN_MAX: usize = 2;

/// Turns of one connection before other tasks of its thread get theirs.
pub const TURNS_PER_POLL_MAX: usize = 4;

/// Pieces of one vectored write.
pub const WRITE_PIECES_MAX: usize = 64;

/// How long a closed connection may take to accept its last bytes.
pub const CLOSE_FLUSH_MS: u64 = 2_000;

/// How long a closed connection is read, and what comes thrown away, so that the peer gets our last frame rather than a
/// reset. A client may still be writing answers to thousands of packets before it comes to that frame.
pub const CLOSE_LINGER_MS: u64 = 5_000;

/// The same once the node stops.
pub const STOP_LINGER_MS: u64 = 1_000;

/// How much is thrown away then, in bytes.
pub const CLOSE_LINGER_BYTES: usize = 4 * 1024 * 1024;

/// How often a connection that is not read from is looked at for a peer that is gone, in milliseconds.
pub const PAUSED_PROBE_MS: u64 = 5_000;

/// A silent peer is asked by the kernel whether it is still there after this time, and then at this interval.
pub const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// See [`KEEPALIVE_IDLE`].
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Connections the kernel queues for a listener.
pub const LISTEN_BACKLOG: i32 = 4096;

/// How long accepting pauses when the process is out of file descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may take by default for the proxy's header, TLS and WebSocket, all together.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of one listener by default that are on their way through these. Each takes some 30 KB meanwhile.
pub const HANDSHAKES_MAX: usize = 1024;

/// How long a connection may take for these once others have waited as long for a place, and none became free: those who say
/// nothing shall not keep others waiting.
pub const HANDSHAKE_HURRY: Duration = Duration::from_secs(1);

/// Default grace time of a shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// How long connections that were cut at the end of the grace time may take to go.
pub const SHUTDOWN_CUT: Duration = Duration::from_secs(1);

/// Most connections of a node by default, if the system allows that many.
pub const CONNECTIONS_MAX: usize = 100_000;

/// File descriptors left for everything that is no connection.
const DESCRIPTORS_RESERVED: usize = 128;

/// As many connections as the process may have file descriptors for, a reserve kept back; at most [`CONNECTIONS_MAX`].
pub fn connections_max_default() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    connections_max(descriptors_max(&limits))
}

fn connections_max(descriptors: Option<usize>) -> usize {
    descriptors.map_or(CONNECTIONS_MAX, |max| {
        max.saturating_sub(DESCRIPTORS_RESERVED)
            .clamp(1, CONNECTIONS_MAX)
    })
}

/// The soft limit in `Max open files  1024  524288  files`; `None` if there is none to be found.
fn descriptors_max(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_limit_follows_the_descriptor_limit() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(descriptors_max(limits), Some(1024));
        assert_eq!(connections_max(Some(1024)), 1024 - DESCRIPTORS_RESERVED);
        assert_eq!(connections_max(Some(10)), 1);
        assert_eq!(connections_max(Some(10_000_000)), CONNECTIONS_MAX);
    }

    #[test]
    fn without_a_known_limit_the_default_stands() {
        assert_eq!(
            descriptors_max("Max open files  unlimited  unlimited  files"),
            None
        );
        assert_eq!(connections_max(descriptors_max("")), CONNECTIONS_MAX);
        assert!(connections_max_default() >= 1);
    }
}
