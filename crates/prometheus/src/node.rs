//! Families of the node as a whole.

use ternmq_broker::inspect::{Door, Logins};

use crate::Source;
use crate::text::{Kind, Labels, Number, Page};

const P: &str = "rabbitmq_";

/// Who answers, with the labels by which dashboards join everything else.
pub(crate) fn identity(source: &Source, endpoint: &str, page: &mut Page) {
    let (facts, machine) = (&source.facts, &source.machine);
    let mut labels = Labels::default();
    labels
        .add("rabbitmq_version", &facts.rabbitmq_version)
        .add("prometheus_plugin_version", &facts.rabbitmq_version)
        .add("prometheus_client_version", &facts.version)
        .add("erlang_version", "none")
        .add("product_name", &facts.product)
        .add("product_version", &facts.version);
    page.family(P, "build_info", Kind::Untyped, "What runs here");
    page.sample(&labels, 1);
    labels
        .clear()
        .add("rabbitmq_node", &facts.node)
        .add("rabbitmq_cluster", &machine.cluster)
        .add("rabbitmq_cluster_permanent_id", &machine.cluster_id)
        .add("rabbitmq_endpoint", endpoint);
    page.family(
        P,
        "identity_info",
        Kind::Untyped,
        "Which node answers, and where",
    );
    page.sample(&labels, 1);
}

/// What comes and goes.
pub(crate) fn churn(source: &Source, prefix: &'static str, page: &mut Page) {
    let churn = source.broker.inspect().churn();
    let families = [
        (
            "connections_opened_total",
            "Connections let in",
            churn.connections_opened,
        ),
        (
            "connections_closed_total",
            "Connections gone",
            churn.connections_closed,
        ),
        (
            "channels_opened_total",
            "Channels opened",
            churn.channels_opened,
        ),
        (
            "channels_closed_total",
            "Channels gone",
            churn.channels_closed,
        ),
        (
            "queues_declared_total",
            "Declarations of queues",
            churn.queues_declared,
        ),
        (
            "queues_created_total",
            "Declarations that made a queue",
            churn.queues_created,
        ),
        (
            "queues_deleted_total",
            "Queues gone, for whatever reason",
            churn.queues_deleted,
        ),
    ];
    for (name, help, value) in families {
        page.single((prefix, name), Kind::Counter, help, value);
    }
}

/// Who was let in and who was not.
pub(crate) fn logins(source: &Source, prefix: &'static str, page: &mut Page) {
    type Count = fn(&Logins) -> u64;
    let families: [(_, _, Count); 3] = [
        ("auth_attempts_total", "Attempts to log in", |logins| {
            logins.succeeded + logins.failed
        }),
        (
            "auth_attempts_succeeded_total",
            "Attempts to log in that succeeded",
            |logins| logins.succeeded,
        ),
        (
            "auth_attempts_failed_total",
            "Attempts to log in that failed",
            |logins| logins.failed,
        ),
    ];
    for (name, help, number) in families {
        page.family(prefix, name, Kind::Counter, help);
        for door in Door::ALL {
            let mut labels = Labels::default();
            labels.add("protocol", door.label());
            page.sample(&labels, number(&source.broker.inspect().logins(door)));
        }
    }
}

/// What the process takes.
pub(crate) fn coarse(source: &Source, prefix: &'static str, page: &mut Page) {
    let machine = &source.machine;
    let churn = source.broker.inspect().churn();
    let families = [
        ("process_open_fds", "Open files", machine.files),
        (
            "process_open_tcp_sockets",
            "Connections of clients",
            churn
                .connections_opened
                .saturating_sub(churn.connections_closed),
        ),
        (
            "process_resident_memory_bytes",
            "Memory of the process",
            machine.resident_bytes,
        ),
        (
            "disk_space_available_bytes",
            "Room on the disk of the data",
            machine.disk_free_bytes,
        ),
    ];
    for (name, help, value) in families {
        page.single((prefix, name), Kind::Gauge, help, value);
    }
}

/// What it may take.
pub(crate) fn limits(source: &Source, prefix: &'static str, page: &mut Page) {
    let machine = &source.machine;
    let families = [
        (
            "process_max_fds",
            "Open files there may be",
            machine.files_max.into(),
        ),
        (
            "process_max_tcp_sockets",
            "Connections of clients there may be",
            machine.connections_max.into(),
        ),
        (
            "resident_memory_limit_bytes",
            "Publishers pause beyond this",
            machine.memory_high_bytes.into(),
        ),
        (
            "disk_space_available_limit_bytes",
            "Publishers pause below this",
            machine.disk_free_low_bytes.into(),
        ),
        (
            "erlang_uptime_seconds",
            "Since the process started",
            Number::seconds(machine.uptime_ms),
        ),
    ];
    for (name, help, value) in families {
        page.single((prefix, name), Kind::Gauge, help, value);
    }
}

/// What the disk is asked for, if there is one.
pub(crate) fn persister(source: &Source, prefix: &'static str, page: &mut Page) {
    let Some(journal) = source.broker.inspect().journal() else {
        return;
    };
    let families = [
        (
            "io_write_bytes_total",
            "Bytes written to the journal",
            journal.written_bytes.into(),
        ),
        (
            "io_sync_ops_total",
            "How often the disk was waited for",
            journal.syncs.count.into(),
        ),
        (
            "io_sync_time_seconds_total",
            "How long the disk was waited for",
            Number::micros(journal.syncs.micros),
        ),
    ];
    for (name, help, value) in families {
        page.single((prefix, name), Kind::Counter, help, value);
    }
}

/// How many there are of everything.
pub(crate) fn totals(source: &Source, page: &mut Page) {
    let totals = source.broker.inspect().totals();
    let families = [
        ("connections", "Connections open now", totals.connections),
        ("channels", "Channels open now", totals.channels),
        (
            "consumers",
            "Consumers there are now",
            totals.holdings.consumers,
        ),
        ("queues", "Queues there are now", totals.queues),
    ];
    for (name, help, value) in families {
        page.single((P, name), Kind::Gauge, help, value);
    }
}

/// What holds publishers up.
pub(crate) fn alarms(source: &Source, page: &mut Page) {
    const ALARMS: &str = "rabbitmq_alarms_";
    let machine = &source.machine;
    let families = [
        (
            "file_descriptor_limit",
            "1 while no more files can be opened",
            machine.files_max > 0 && machine.files >= machine.files_max,
        ),
        (
            "free_disk_space_watermark",
            "1 while the disk is too full",
            machine.disk_alarm,
        ),
        (
            "memory_used_watermark",
            "1 while messages take too much memory",
            machine.memory_alarm,
        ),
    ];
    for (name, help, value) in families {
        page.single((ALARMS, name), Kind::Untyped, help, value);
    }
}

/// The process as Prometheus' own client libraries show it.
pub(crate) fn process(source: &Source, page: &mut Page) {
    let machine = &source.machine;
    let cpu = Number::seconds(machine.cpu_ms);
    let name = ("process_", "cpu_seconds_total");
    page.single(name, Kind::Counter, "Processor time", cpu);
    let started = Number::seconds(machine.started_at_ms);
    let families = [
        (
            "start_time_seconds",
            "When the process started, since 1970",
            started,
        ),
        (
            "resident_memory_bytes",
            "Memory of the process",
            machine.resident_bytes.into(),
        ),
        ("open_fds", "Open files", machine.files.into()),
        (
            "max_fds",
            "Open files there may be",
            machine.files_max.into(),
        ),
        ("threads", "Threads", machine.threads.into()),
    ];
    for (name, help, value) in families {
        page.single(("process_", name), Kind::Gauge, help, value);
    }
}

/// Where the memory of the process is, in RabbitMQ's categories. Those that have no counterpart here are 0.
pub(crate) fn memory(source: &Source, prefix: &'static str, page: &mut Page) {
    const ABSENT: [&str; 21] = [
        "client_connection_reader",
        "client_connection_writer",
        "client_connection_channel",
        "client_connection_other",
        "quorum_queue_dlx_erlang_process",
        "stream_erlang_process",
        "stream_replica_reader_erlang_process",
        "stream_coordinator_erlang_process",
        "plugin",
        "modern_metadata_store",
        "other_erlang_process",
        "metrics",
        "management_stats_db",
        "classic_metadata_store",
        "quorum_queue_ets_table",
        "modern_metadata_store_ets_table",
        "other_ets_table",
        "message_index",
        "atom_table",
        "runtime_allocated_unused",
        "runtime_reserved_unallocated",
    ];
    let memory = source.broker.inspect().memory();
    let program = source.machine.program_bytes;
    let known = memory.all() + program;
    let rest = source.machine.resident_bytes.saturating_sub(known);
    let [classic, quorum] = memory.queues;
    let families = [
        (
            "classic_queue_erlang_process",
            "Classic queues, without bodies",
            classic,
        ),
        (
            "quorum_queue_erlang_process",
            "Quorum queues, without bodies",
            quorum,
        ),
        (
            "binary_heap",
            "Bodies of messages in queues, retained and delayed messages",
            memory.messages(),
        ),
        ("code_module", "The program", program),
        ("other_system", "Everything else", rest),
    ];
    let absent = ABSENT.map(|name| (name, "Nothing here corresponds to it", 0));
    for (name, help, value) in families.into_iter().chain(absent) {
        let name = format!("memory_{name}_bytes");
        page.single((prefix, &name), Kind::Gauge, help, value);
    }
}
