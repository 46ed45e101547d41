//! The processes measured: where they listen, their CPU time and memory as `/proc` has them.

use std::env;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::scenario::Scenario;
use crate::support::Ternmq;

/// A broker to put load on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) amqp: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    pid: u32,
}

impl Target {
    /// The broker of this project.
    pub(crate) fn of(broker: &Ternmq) -> Self {
        Self {
            amqp: broker.amqp,
            mqtt: broker.mqtt,
            pid: broker.pid(),
        }
    }

    /// User and system time of the process until now.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(&self.pid.to_string())
    }

    /// Resident memory of the process in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// The most it ever was.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &'static str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .context(field)?;
        let kib: f64 = line.split_whitespace().nth(1).context(field)?.parse()?;
        Ok(kib / 1024.0)
    }
}

/// User and system time of the load generator itself until now.
pub(crate) fn own_cpu() -> anyhow::Result<Duration> {
    cpu("self")
}

/// proc(5): fields 14 and 15 of `/proc/PID/stat`, in clock ticks; the second field may hold spaces and parentheses.
fn cpu(pid: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("the name of the program")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(ticks * 1_000_000 / second))
}

/// Another broker that runs already, as the environment names it.
pub(crate) struct Peer {
    amqp: Option<(SocketAddr, u32)>,
    mqtt: Option<(SocketAddr, u32)>,
}

impl Peer {
    /// Reads the environment; on loopback only, as a load generator has no business elsewhere.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let listener = |variable: &str| {
            env::var(variable)
                .ok()
                .map(|text| parse(&text).with_context(|| format!("{variable}={text}")))
                .transpose()
        };
        Ok(Self {
            amqp: listener("TERNMQ_BENCH_PEER_AMQP")?,
            mqtt: listener("TERNMQ_BENCH_PEER_MQTT")?,
        })
    }

    /// The target of a scenario, if the peer speaks all its protocols, in one process.
    pub(crate) fn target(&self, scenario: &Scenario) -> Option<Target> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let amqp = if scenario.speaks_amqp() {
            Some(self.amqp?)
        } else {
            None
        };
        let mqtt = if scenario.speaks_mqtt() {
            Some(self.mqtt?)
        } else {
            None
        };
        let pid = match (amqp, mqtt) {
            (Some((_, amqp)), Some((_, mqtt))) if amqp != mqtt => return None,
            (Some((_, pid)), _) | (_, Some((_, pid))) => pid,
            (None, None) => return None,
        };
        let addr = |listener: Option<(SocketAddr, u32)>| listener.map_or(nowhere, |(addr, _)| addr);
        Some(Target {
            amqp: addr(amqp),
            mqtt: addr(mqtt),
            pid,
        })
    }
}

fn parse(text: &str) -> anyhow::Result<(SocketAddr, u32)> {
    let (addr, pid) = text.split_once(',').context("HOST:PORT,PID")?;
    let addr = addr.to_socket_addrs()?.next().context("no such address")?;
    ensure!(addr.ip().is_loopback(), "load is for loopback only");
    Ok((addr, pid.parse().context("PID")?))
}
