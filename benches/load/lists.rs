//! Lists of many queues: what they cost, and what a publisher beside them notices.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Target;
use crate::support::Ternmq;
use crate::support::raw::{Raw, method, short};
use crate::wire::amqp_publish;

/// Queues that are there.
const QUEUES: u32 = 10_000;
/// Answers of each kind that are waited for.
const ROUNDS: u32 = 10;
/// Publishes, each waiting for its confirm.
const CONFIRMS: usize = 5_000;
/// Clients that ask for all queues again and again meanwhile.
const LISTERS: [usize; 4] = [0, 1, 2, 4];

/// Of the management API.
const API: [&str; 6] = [
    "/api/queues",
    "/api/queues?columns=name,messages",
    "/api/queues?page=1&page_size=100",
    "/api/queues?page=1&page_size=100&sort=messages",
    "/api/bindings",
    "/api/overview",
];
/// Of the metrics.
const METRICS: [&str; 3] = [
    "/metrics",
    "/metrics/per-object",
    "/metrics/detailed?family=queue_coarse_metrics",
];

/// Measures all.
pub(crate) fn run() -> anyhow::Result<()> {
    println!();
    let broker = Ternmq::start(&[]);
    let target = Target::of(&broker);
    let mut client = Raw::amqp(target.amqp);
    for number in 0..QUEUES {
        declare(&mut client, &format!("a.queue.among.many.{number}"));
    }
    println!("{QUEUES} queues; of each answer its CPU time and the shortest wait for it");
    let api = API.map(|path| (broker.management, path));
    let metrics = METRICS.map(|path| (broker.prometheus, path));
    for (addr, path) in api.into_iter().chain(metrics) {
        let before = target.cpu()?;
        let waits = (0..ROUNDS).map(|_| ask(addr, path));
        let shortest = waits.min().unwrap_or_default();
        let cpu = target.cpu()?.saturating_sub(before) / ROUNDS;
        println!("{path:<50} {:>7} ms {:>9} ms", ms(cpu), ms(shortest));
    }
    for listers in LISTERS {
        let waits = publish_beside(listers, target.amqp, broker.management);
        let at = |share: usize| ms(waits[(waits.len() - 1) * share / 1_000]);
        println!(
            "{listers} clients list all queues: a confirm takes {} ms, of 100 one {}, of 1,000 one {}",
            at(500),
            at(990),
            at(999),
        );
    }
    Ok(())
}

fn declare(client: &mut Raw, queue: &str) {
    let arguments = [&[0, 0], &short(queue)[..], &[0, 0, 0, 0, 0]].concat();
    client.send(&method(1, 50, 10, &arguments));
    client.expect(50, 11);
}

/// Asks for a path, and returns how long it took until the whole answer was there.
fn ask(addr: SocketAddr, path: &str) -> Duration {
    let mut client = Raw::connect(addr);
    let began = Instant::now();
    client.send(
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             Connection: close\r\n\r\n"
        )
        .as_bytes(),
    );
    let answer = client.rest();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}");
    began.elapsed()
}

/// How long confirms took, in ascending order.
fn publish_beside(listers: usize, amqp: SocketAddr, management: SocketAddr) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..listers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    ask(management, API[0]);
                }
            });
        }
        let mut client = Raw::amqp(amqp);
        client.send(&method(1, 85, 10, &[0]));
        client.expect(85, 11);
        declare(&mut client, "published");
        let publish = amqp_publish("", "published", 1, b"body");
        let mut waits: Vec<Duration> = (0..CONFIRMS)
            .map(|_| {
                let began = Instant::now();
                client.send(&publish);
                client.expect(60, 80);
                began.elapsed()
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        waits.sort_unstable();
        waits
    })
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
