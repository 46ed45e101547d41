//! The socket loop over real loopback sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::support::{
    BODY_BYTES, EchoAcceptor, GENERATED_BYTES, Lab, Seen, eventually, frame, receive,
};
use ternmq_broker::clock::SystemClock;
use ternmq_broker::mailbox::{Notice, Token};
use ternmq_net::limits::{UNSENT_HIGH_BYTES, connections_max_default};
use ternmq_net::machine::OUTPUT_BUDGET_BYTES;
use ternmq_net::server::{Server, ServerConfig};
use ternmq_net::shutdown::Farewell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn frames_arrive_whole_however_they_are_cut() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.stream.set_nodelay(true).unwrap();
    let payload = b"a frame in many pieces";
    for byte in frame(payload) {
        client.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive().await, payload);
    for size in [
        0,
        1,
        16 * 1024 - 4,
        16 * 1024,
        64 * 1024 - 4,
        64 * 1024,
        1_000_000,
        5_000_000,
    ] {
        client.echo(&vec![9; size]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_echoes_stop_the_reading_side_and_nothing_is_lost() {
    const FRAMES: usize = 400;
    const FRAME_BYTES: usize = 100_000;
    let lab = Lab::start(EchoAcceptor::default());
    let client = lab.connect().await;
    let (mut reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn(async move {
        for n in 0..FRAMES {
            let payload = vec![u8::try_from(n % 256).unwrap(); FRAME_BYTES];
            writer.write_all(&frame(&payload)).await.unwrap();
        }
        writer
    });
    let seen = Arc::clone(&lab.seen);
    eventually("the peer is choked", || {
        Seen::get(&seen.output_bytes_max) > UNSENT_HIGH_BYTES
    })
    .await;
    for n in 0..FRAMES {
        let payload = receive(&mut reader).await;
        assert_eq!(payload.len(), FRAME_BYTES);
        assert!(payload.iter().all(|byte| usize::from(*byte) == n % 256));
    }
    writing.await.unwrap();
    let bound = UNSENT_HIGH_BYTES + 4 * (FRAME_BYTES + 64 * 1024);
    assert!(Seen::get(&seen.output_bytes_max) < bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_to_a_slow_reader_stop_at_the_output_budget() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.send(b"generate").await;
    let seen = Arc::clone(&lab.seen);
    eventually("the output is full", || Seen::get(&seen.full) > 0).await;
    for _ in 0..100_000 {
        assert_eq!(client.receive().await.len(), GENERATED_BYTES);
    }
    assert!(Seen::get(&seen.output_bytes_max) < OUTPUT_BUDGET_BYTES + GENERATED_BYTES + 4);
    client.echo(b"still there").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_publishes_before_it_reads_its_deliveries_is_still_read() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.send(b"generate").await;
    let seen = Arc::clone(&lab.seen);
    eventually("the output is full", || Seen::get(&seen.full) > 0).await;
    let publish = frame(&vec![2; 7_000_000]);
    client.stream.write_all(&publish).await.unwrap();
    eventually("the publish has arrived", || {
        Seen::get(&seen.input_bytes_max) >= publish.len()
    })
    .await;
}

#[tokio::test]
async fn notices_wake_a_waiting_connection() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    let mailbox = Arc::clone(&lab.seen.mailboxes.lock()[0]);
    for n in 0..10 {
        mailbox.push(Notice::Ready(Token(n)));
        assert_eq!(client.receive().await, format!("ready {n}").as_bytes());
    }
}

#[tokio::test]
async fn input_held_by_a_pausing_machine_is_handed_in_again() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    let mut all = frame(b"pause");
    all.extend(frame(b"one"));
    all.extend(frame(b"two"));
    client.stream.write_all(&all).await.unwrap();
    let seen = Arc::clone(&lab.seen);
    eventually("the input has arrived", || {
        Seen::get(&seen.input_bytes_max) == all.len()
    })
    .await;
    client.send(b"three").await;
    let mailbox = Arc::clone(&seen.mailboxes.lock()[0]);
    mailbox.push(Notice::Ready(Token(1)));
    assert_eq!(client.receive().await, b"ready 1", "deliveries go on");
    mailbox.push(Notice::Unblocked);
    for expected in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(client.receive().await, expected);
    }
}

#[tokio::test]
async fn panic_ends_its_own_connection_only() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut bystander = lab.connect().await;
    let mut victim = lab.connect().await;
    bystander.echo(b"before").await;
    victim.send(b"panic").await;
    victim.closed().await;
    bystander.echo(b"after").await;
    eventually("the place is free", || lab.server.connection_count() == 1).await;
    assert_eq!(Seen::get(&lab.seen.drops), 1);
    assert_eq!(Seen::get(&lab.seen.disconnects), 0);
    assert_eq!(
        lab.server.shutdown(GRACE).await,
        Farewell { told: 1, cut: 0 }
    );
}

#[tokio::test]
async fn peer_that_leaves_amid_a_frame_is_disconnected_once() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    client
        .stream
        .write_all(&frame(b"only half of this")[..9])
        .await
        .unwrap();
    drop(client);
    eventually("the place is free", || lab.server.connection_count() == 0).await;
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
    assert_eq!(Seen::get(&lab.seen.drops), 1);
}

#[tokio::test]
async fn peer_that_resets_is_disconnected_once() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    eventually("the place is free", || lab.server.connection_count() == 0).await;
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
}

#[tokio::test]
async fn peer_that_only_stops_sending_still_gets_its_answers() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    let payload = vec![5; 3_000_000];
    client.send(&payload).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.receive().await, payload);
    client.closed().await;
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
}

#[tokio::test]
async fn close_delivers_the_last_frame_though_more_input_is_under_way() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    let mut all = frame(b"close");
    all.extend(frame(&vec![0; 500_000]));
    client.stream.write_all(&all).await.unwrap();
    assert_eq!(client.receive().await.len(), BODY_BYTES);
    assert_eq!(client.receive().await, b"bye");
    assert_eq!(
        Seen::get(&lab.seen.disconnects),
        1,
        "released before the last frame is seen"
    );
    client.closed().await;
}

#[tokio::test]
async fn partial_frame_at_the_limit_is_kept_and_one_above_is_cut() {
    let limit = 200_000;
    let acceptor = EchoAcceptor {
        pending_bytes_max: limit,
        ..EchoAcceptor::default()
    };
    let lab = Lab::start(acceptor);
    let mut client = lab.connect().await;
    let bytes = frame(&vec![3; limit + 1 - 4]);
    client.stream.write_all(&bytes[..limit]).await.unwrap();
    let seen = Arc::clone(&lab.seen);
    eventually("all is kept", || Seen::get(&seen.input_bytes_max) == limit).await;
    client.stream.write_all(&bytes[limit..]).await.unwrap();
    assert_eq!(client.receive().await.len(), limit + 1 - 4);

    let bytes = frame(&vec![3; limit + 2 - 4]);
    client.stream.write_all(&bytes[..=limit]).await.unwrap();
    client.closed().await;
    assert_eq!(Seen::get(&lab.seen.disconnects), 1);
}

#[tokio::test]
async fn shutdown_lets_everybody_say_goodbye() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = lab.connect().await;
        client.echo(b"hello").await;
        clients.push(client);
    }
    let reading = tokio::spawn(async move {
        for mut client in clients {
            assert_eq!(client.receive().await, b"bye");
            client.closed().await;
        }
    });
    let (addr, seen) = (lab.addr, Arc::clone(&lab.seen));
    assert_eq!(
        lab.server.shutdown(GRACE).await,
        Farewell { told: 20, cut: 0 }
    );
    reading.await.unwrap();
    assert_eq!(Seen::get(&seen.disconnects), 20);
    assert!(
        tokio::net::TcpStream::connect(addr).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn shutdown_cuts_whoever_does_not_go_in_time() {
    let lab = Lab::start(EchoAcceptor {
        stubborn: true,
        ..EchoAcceptor::default()
    });
    let mut client = lab.connect().await;
    client.echo(b"hello").await;
    let seen = Arc::clone(&lab.seen);
    let farewell = lab.server.shutdown(Duration::from_millis(20)).await;
    assert_eq!(farewell, Farewell { told: 1, cut: 1 });
    client.closed().await;
    assert_eq!(Seen::get(&seen.disconnects), 1);
}

#[tokio::test]
async fn connection_above_the_limit_is_closed_and_a_place_can_be_taken_again() {
    let lab = Lab::start_with(
        EchoAcceptor::default(),
        &ServerConfig {
            connections_max: 2,
            ..ServerConfig::default()
        },
        Arc::new(SystemClock::new()),
    );
    let mut first = lab.connect().await;
    let mut second = lab.connect().await;
    first.echo(b"one").await;
    second.echo(b"two").await;
    lab.connect().await.closed().await;
    assert_eq!(Seen::get(&lab.seen.accepted), 2);
    drop(first);
    eventually("the place is free", || lab.server.connection_count() == 1).await;
    lab.connect().await.echo(b"three").await;
    second.echo(b"two again").await;
}

#[tokio::test]
async fn port_in_use_is_an_error_that_names_it() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut other = Server::new(&ServerConfig::default(), Arc::new(SystemClock::new()));
    let error = other
        .listen(Arc::new(EchoAcceptor::default()), lab.addr)
        .unwrap_err();
    let expected = format!("cannot listen for echo on {}: the port is in use", lab.addr);
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.cause.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn several_listeners_serve_one_protocol() {
    let mut lab = Lab::start(EchoAcceptor::default());
    let acceptor = EchoAcceptor {
        seen: Arc::clone(&lab.seen),
        ..EchoAcceptor::default()
    };
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let second = lab.server.listen(Arc::new(acceptor), addr).unwrap();
    assert_ne!(lab.addr, second);
    for addr in [lab.addr, second] {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        stream.write_all(&frame(b"hello")).await.unwrap();
        assert_eq!(receive(&mut stream).await, b"hello");
    }
    assert_eq!(Seen::get(&lab.seen.accepted), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_stay_and_still_answer() {
    let count = (connections_max_default() / 3).min(1_000);
    let lab = Lab::start(EchoAcceptor::default());
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(lab.connect().await);
    }
    for client in &mut clients {
        client.echo(b"hello").await;
    }
    assert_eq!(lab.server.connection_count(), count);
    for client in clients.iter_mut().rev() {
        client.echo(b"still there").await;
    }
    drop(clients);
    eventually("all are gone", || lab.server.connection_count() == 0).await;
    assert_eq!(Seen::get(&lab.seen.disconnects), count);
}

#[tokio::test]
async fn large_bodies_travel_beside_frames_in_order() {
    let lab = Lab::start(EchoAcceptor::default());
    let mut client = lab.connect().await;
    client.send(b"first").await;
    client.send(b"close").await;
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).await.unwrap();
    let mut expected = frame(b"first");
    expected.extend(frame(&vec![7; BODY_BYTES]));
    expected.extend(frame(b"bye"));
    assert!(all == expected, "{} bytes came", all.len());
}
