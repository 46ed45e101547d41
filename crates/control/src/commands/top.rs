//! `ternmq top`.

use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, Kind, find, find_str};
use crate::path::Path;
use crate::screen::Screen;
use crate::table::{Style, Table, cut};
use crate::{Action, Context};

const OVERVIEW: [Field; 11] = [
    Field::count("object_totals.connections", "connections"),
    Field::count("object_totals.channels", "channels"),
    Field::count("object_totals.queues", "queues"),
    Field::count("object_totals.consumers", "consumers"),
    Field::count("queue_totals.messages_ready", "ready"),
    Field::count("queue_totals.messages_unacknowledged", "unacked"),
    Field::new("message_stats.publish_details.rate", "in", Kind::Rate),
    Field::new("message_stats.deliver_get_details.rate", "out", Kind::Rate),
    Field::new("message_stats.ack_details.rate", "acked", Kind::Rate),
    Field::new(
        "message_stats.redeliver_details.rate",
        "redelivered",
        Kind::Rate,
    ),
    Field::new(
        "message_stats.return_unroutable_details.rate",
        "returned",
        Kind::Rate,
    ),
];

const NODE: [Field; 7] = [
    Field::text("name", "node"),
    Field::new("uptime", "up", Kind::Duration),
    Field::new("mem_used", "memory", Kind::Bytes),
    Field::new("mem_alarm", "MEMORY ALARM", Kind::Flag),
    Field::new("disk_free", "disk free", Kind::Bytes),
    Field::new("disk_free_alarm", "DISK ALARM", Kind::Flag),
    Field::count("fd_used", "files"),
];

const QUEUES: [Field; 9] = [
    Field::text("name", "QUEUE"),
    Field::text("vhost", "VHOST"),
    Field::count("messages_ready", "READY"),
    Field::count("messages_unacknowledged", "UNACKED"),
    Field::new("message_bytes", "BYTES", Kind::Bytes),
    Field::count("consumers", "CONSUMERS"),
    Field::new("message_stats.publish_details.rate", "IN", Kind::Rate),
    Field::new("message_stats.deliver_get_details.rate", "OUT", Kind::Rate),
    Field::new("message_stats.ack_details.rate", "ACKED", Kind::Rate),
];

const CONNECTIONS: [Field; 7] = [
    Field::text("name", "CONNECTION"),
    Field::text("user_provided_name", "CLIENT"),
    Field::text("user", "USER"),
    Field::text("protocol", "PROTOCOL"),
    Field::text("state", "STATE"),
    Field::new("recv_oct_details.rate", "IN/S", Kind::Bytes),
    Field::new("send_oct_details.rate", "OUT/S", Kind::Bytes),
];

/// Queues and connections asked for, at most; what fits the screen is shown.
const ROWS: u32 = 100;

/// A screen that cannot say how large it is has this size.
const SIZE: (usize, usize) = (80, 24);

/// What is shown.
#[derive(Clone, Debug, Args)]
pub struct Top {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,

    /// Which queues come first
    #[arg(long, value_name = "BY", default_value = "in")]
    sort: Order,

    /// Look once, and write to standard output
    #[arg(long)]
    once: bool,
}

/// What queues are ordered by, the greatest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Order {
    /// Messages that come in a second.
    In,
    /// Messages that go out in a second.
    Out,
    /// Messages in the queue.
    Messages,
}

impl Order {
    fn field(self) -> &'static str {
        match self {
            Self::In => "message_stats.publish_details.rate",
            Self::Out => "message_stats.deliver_get_details.rate",
            Self::Messages => "messages",
        }
    }
}

/// What the server says at one moment.
struct Look {
    overview: Value,
    nodes: Value,
    queues: Value,
    connections: Value,
}

impl Action for Top {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let mut order = self.sort;
        if context.out.is_json() {
            let look = Look::take(context, order)?;
            return context.out.json(&json!({
                "overview": look.overview, "nodes": look.nodes,
                "queues": look.queues, "connections": look.connections,
            }));
        }
        if self.once || !io::stdout().is_terminal() {
            let lines = Look::take(context, order)?.lines(None)?;
            return lines.iter().try_for_each(|line| context.out.line(line));
        }
        // The first look comes before the screen is taken, so that a failure is seen.
        let mut look = Look::take(context, order)?;
        let mut screen = Screen::begin()?;
        loop {
            let (width, height) = screen.size().unwrap_or(SIZE);
            let mut lines = look.lines(Some(width))?;
            let room = height.saturating_sub(1);
            lines.truncate(room);
            lines.resize(room, String::new());
            lines.push(cut("q quit   i in   o out   m messages", width));
            screen.draw(&lines)?;
            match wait(Duration::from_secs(self.interval))? {
                Key::Quit => return Ok(()),
                Key::Order(other) => order = other,
                Key::None => {}
            }
            look = Look::take(context, order)?;
        }
    }
}

/// What a terminal sends for Ctrl-C, Ctrl-D and Escape; and a letter.
const QUIT: [u8; 4] = [3, 4, 27, b'q'];

/// What was typed.
enum Key {
    Quit,
    Order(Order),
    None,
}

/// Waits until a key is typed or it is time for the next look.
fn wait(interval: Duration) -> Outcome<Key> {
    let failed = || Failure::io("the terminal");
    let mut stdin = io::stdin().lock();
    let timeout = Timespec::try_from(interval).ok();
    let mut input = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut input, timeout.as_ref()) {
        // The window has another size now.
        Ok(0) | Err(Errno::INTR) => return Ok(Key::None),
        Ok(_) => {}
        Err(error) => return Err(failed()(error.into())),
    }
    let mut typed = [0; 1];
    if stdin.read(&mut typed).map_err(failed())? == 0 {
        return Ok(Key::Quit);
    }
    Ok(match typed[0] {
        key if QUIT.contains(&key) => Key::Quit,
        b'i' => Key::Order(Order::In),
        b'o' => Key::Order(Order::Out),
        b'm' => Key::Order(Order::Messages),
        _ => Key::None,
    })
}

impl Look {
    fn take(context: &Context<'_>, order: Order) -> Outcome<Self> {
        let api = &context.api;
        let page = |path: Path, sort: &str| {
            let path = path.query("page", 1).query("page_size", ROWS);
            let path = path.query("sort", sort).query("sort_reverse", true);
            let mut page = api.get(&path)?;
            Ok::<_, Failure>(page["items"].take())
        };
        Ok(Self {
            overview: api.get(&Path::of(["overview"]))?,
            nodes: match api.get(&Path::of(["nodes"])) {
                // Only monitors see nodes.
                Err(Failure::NotAllowed(_)) => json!([]),
                nodes => nodes?,
            },
            queues: page(context.in_vhost("queues"), order.field())?,
            connections: page(Path::of(["connections"]), "recv_oct_details.rate")?,
        })
    }

    fn lines(&self, width: Option<usize>) -> Outcome<Vec<String>> {
        let mut lines = Vec::new();
        let nodes = self.nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |key: &str| find_str(&self.overview, key);
        let (product, version) = match named("ternmq_version") {
            "" => (named("product_name"), named("product_version")),
            own => ("TernMQ", own),
        };
        lines.push(format!("{product} {version}"));
        lines.extend(nodes.iter().map(|node| summary(node, &NODE)));
        lines.push(summary(&self.overview, &OVERVIEW));
        for (objects, fields) in [
            (&self.queues, &QUEUES[..]),
            (&self.connections, &CONNECTIONS),
        ] {
            lines.push(String::new());
            lines.extend(table(objects, fields, width)?);
        }
        if let Some(width) = width {
            for line in &mut lines {
                *line = cut(line, width);
            }
        }
        Ok(lines)
    }
}

/// `connections 3   queues 7   in 1,200/s`: what is known and not nothing.
fn summary(object: &Value, fields: &[Field]) -> String {
    let known = fields.iter().filter_map(|field| {
        let written = field.of(object);
        let says_it = field.kind == Kind::Flag || field.kind == Kind::Text;
        match written.as_str() {
            "" => None,
            _ if field.kind == Kind::Flag => Some(field.title.to_owned()),
            "0" if !says_it && find(object, field.key) == 0.0 => None,
            _ => Some(format!("{} {written}", field.title)),
        }
    });
    known.collect::<Vec<_>>().join("   ")
}

fn table(objects: &Value, fields: &[Field], width: Option<usize>) -> Outcome<Vec<String>> {
    let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut table = Table::default();
    for field in fields {
        table.column(field.title, field.kind.align());
    }
    for object in objects {
        table.row(fields.iter().map(|field| field.of(object)));
    }
    let mut written = Vec::new();
    table
        .write(width, Style::Plain, &mut written as &mut dyn Write)
        .map_err(Failure::io("the screen"))?;
    let written = String::from_utf8_lossy(&written);
    Ok(written.lines().map(ToOwned::to_owned).collect())
}
