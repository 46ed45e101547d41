//! Who is answered what.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::family::{Family, Objects, PAGE_BYTES, Section};
use crate::selection::Selection;
use crate::text::{Labels, Page};
use crate::{Source, clients, global, node, own, queues, topology};

/// A section that is written at once.
type Once = fn(&Source, &mut Page);

const RABBITMQ: &str = "rabbitmq_";
const TERNMQ: &str = "ternmq_";
const DETAILED: &str = "rabbitmq_detailed_";
const CLUSTER: &str = "rabbitmq_cluster_";

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// `/metrics`: sums over all objects.
    Aggregated,
    /// `/metrics/per-object`: each object.
    PerObject,
    /// `/metrics/detailed`: each object, of chosen families.
    Detailed(Box<Selection>),
    /// `/metrics/memory-breakdown`.
    MemoryBreakdown,
}

/// An answer, part by part. Numbers are read as their part is written.
pub struct Scrape {
    source: Source,
    sections: VecDeque<Box<dyn Section>>,
    page: Page,
}

impl Scrape {
    /// Prepares an answer; nothing is looked at yet.
    pub fn new(source: Source, endpoint: &Endpoint) -> Self {
        let mut scrape = Self {
            source,
            sections: VecDeque::new(),
            page: Page::default(),
        };
        match endpoint {
            Endpoint::Aggregated => scrape.aggregated(),
            Endpoint::PerObject => scrape.per_object(),
            Endpoint::Detailed(selection) => scrape.detailed(selection),
            Endpoint::MemoryBreakdown => {
                scrape.once(|source, page| node::identity(source, "memory-breakdown", page));
                scrape.once(|source, page| node::memory(source, RABBITMQ, page));
            }
        }
        scrape
    }

    fn aggregated(&mut self) {
        self.once(|source, page| node::identity(source, "aggregated", page));
        self.everywhere();
        let families = queue_families();
        self.objects(RABBITMQ, families, queues::all);
        self.objects(TERNMQ, queues::OWN, queues::all);
        self.objects(RABBITMQ, connection_families(), clients::all_connections);
        self.objects(RABBITMQ, channel_families(), clients::all_channels);
        let families = topology::EXCHANGE_METRICS;
        self.objects(RABBITMQ, families, topology::all_exchanges);
    }

    fn per_object(&mut self) {
        self.once(|source, page| node::identity(source, "per-object", page));
        self.everywhere();
        let all = Arc::new(Selection::default());
        self.each_queue(RABBITMQ, queue_families(), &all);
        self.each_queue(TERNMQ, queues::OWN, &all);
        self.queue_infos(RABBITMQ, &all);
        self.objects(RABBITMQ, connection_families(), clients::each_connection);
        self.objects(RABBITMQ, channel_families(), clients::each_channel);
        let families = topology::EXCHANGE_METRICS;
        self.objects(RABBITMQ, families, move |source| {
            topology::exchanges(source, &all)
        });
    }

    /// What both have.
    fn everywhere(&mut self) {
        self.once(node::alarms);
        self.once(node::totals);
        self.once(|source, page| node::churn(source, RABBITMQ, page));
        self.once(|source, page| node::logins(source, RABBITMQ, page));
        self.once(|source, page| node::coarse(source, RABBITMQ, page));
        self.once(|source, page| node::limits(source, RABBITMQ, page));
        self.once(node::process);
        self.once(global::counters);
        self.once(global::clients);
        self.once(global::dead_letters);
        self.once(|source, page| node::persister(source, RABBITMQ, page));
        self.once(own::messages);
        self.once(own::journal);
        self.once(own::vhosts);
    }

    fn detailed(&mut self, selection: &Selection) {
        let selection = &Arc::new(selection.clone());
        self.once(|source, page| node::identity(source, "detailed", page));
        let once: [(&str, Once); 6] = [
            ("auth_attempt_metrics", |source, page| {
                node::logins(source, DETAILED, page);
            }),
            ("node_persister_metrics", |source, page| {
                node::persister(source, DETAILED, page);
            }),
            ("connection_churn_metrics", |source, page| {
                node::churn(source, DETAILED, page);
            }),
            ("node_coarse_metrics", |source, page| {
                node::coarse(source, DETAILED, page);
            }),
            ("node_metrics", |source, page| {
                node::limits(source, DETAILED, page);
            }),
            ("node_memory", |source, page| {
                node::memory(source, DETAILED, page);
            }),
        ];
        for (family, section) in once {
            if selection.has_family(family) {
                self.once(section);
            }
        }
        self.detailed_queues(selection);
        let groups = [
            ("connection_coarse_metrics", clients::CONNECTION_COARSE),
            ("connection_metrics", clients::CONNECTION_METRICS),
        ];
        let families = chosen(selection, &groups);
        self.objects(DETAILED, families, clients::each_connection);
        let groups = [
            ("channel_metrics", clients::CHANNEL_METRICS),
            ("channel_exchange_metrics", clients::CHANNEL_EXCHANGE),
            ("channel_queue_metrics", clients::CHANNEL_QUEUE),
        ];
        let families = chosen(selection, &groups);
        self.objects(DETAILED, families, clients::each_channel);
        self.detailed_topology(selection);
    }

    fn detailed_queues(&mut self, selection: &Arc<Selection>) {
        // The number of consumers is one of the queue's metrics, and stands there if both are asked for.
        let groups = [
            ("queue_coarse_metrics", queues::COARSE),
            ("queue_metrics", queues::METRICS),
            ("queue_delivery_metrics", queues::DELIVERY),
        ];
        let mut families = chosen(selection, &groups);
        let counts_consumers = ["queue_metrics", "queue_consumer_count"];
        if counts_consumers
            .iter()
            .any(|family| selection.has_family(family))
        {
            families.extend(queues::CONSUMERS);
        }
        if !families.is_empty() {
            self.queue_infos(DETAILED, selection);
        }
        self.each_queue(DETAILED, families, selection);
    }

    fn detailed_topology(&mut self, selection: &Arc<Selection>) {
        let families = chosen(
            selection,
            &[("exchange_metrics", topology::EXCHANGE_METRICS)],
        );
        let s = Arc::clone(selection);
        self.objects(DETAILED, families, move |source| {
            topology::exchanges(source, &s)
        });
        let families = chosen(selection, &[("vhost_status", topology::VHOST_STATUS)]);
        let s = Arc::clone(selection);
        self.objects(CLUSTER, families, move |source| {
            topology::vhosts(source, &s)
        });
        let families = chosen(selection, &[("exchange_names", topology::EXCHANGE_NAMES)]);
        let s = Arc::clone(selection);
        self.objects(CLUSTER, families, move |source| {
            topology::exchange_names(source, &s)
        });
        let families = chosen(
            selection,
            &[("exchange_bindings", topology::EXCHANGE_BINDINGS)],
        );
        let s = Arc::clone(selection);
        self.objects(CLUSTER, families, move |source| {
            topology::exchange_bindings(source, &s)
        });
    }

    fn each_queue(
        &mut self,
        prefix: &'static str,
        families: impl IntoIterator<Item = &'static Family<queues::Queue>>,
        selection: &Arc<Selection>,
    ) {
        let selection = Arc::clone(selection);
        self.objects(prefix, families, move |source| {
            queues::each(source, &selection)
        });
    }

    fn queue_infos(&mut self, prefix: &'static str, selection: &Arc<Selection>) {
        let selection = Arc::clone(selection);
        self.objects(prefix, queues::INFO, move |source| {
            queues::infos(source, &selection)
        });
    }

    fn once(&mut self, section: Once) {
        self.sections.push_back(Box::new(section));
    }

    /// Families of objects, unless there are none.
    fn objects<T: Send + 'static>(
        &mut self,
        prefix: &'static str,
        families: impl IntoIterator<Item = &'static Family<T>>,
        look: impl Fn(&Source) -> Vec<(Labels, T)> + Send + 'static,
    ) {
        let mut families = families.into_iter().peekable();
        if families.peek().is_some() {
            let objects = Objects::new(prefix, families, look);
            self.sections.push_back(Box::new(objects));
        }
    }
}

fn queue_families() -> impl Iterator<Item = &'static Family<queues::Queue>> {
    let groups = [
        queues::COARSE,
        queues::CONSUMERS,
        queues::METRICS,
        queues::DELIVERY,
    ];
    groups.into_iter().flatten()
}

fn connection_families() -> impl Iterator<Item = &'static Family<clients::Connection>> {
    let groups = [clients::CONNECTION_COARSE, clients::CONNECTION_METRICS];
    groups.into_iter().flatten()
}

fn channel_families() -> impl Iterator<Item = &'static Family<clients::Channel>> {
    let groups = [
        clients::CHANNEL_METRICS,
        clients::CHANNEL_EXCHANGE,
        clients::CHANNEL_QUEUE,
    ];
    groups.into_iter().flatten()
}

/// The families of the groups that were asked for.
fn chosen<T>(
    selection: &Selection,
    groups: &[(&str, &'static [Family<T>])],
) -> Vec<&'static Family<T>> {
    let chosen = groups.iter().filter(|(name, _)| selection.has_family(name));
    chosen.flat_map(|(_, families)| families.iter()).collect()
}

impl Iterator for Scrape {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(section) = self.sections.front_mut() {
            if !section.write(&self.source, &mut self.page) {
                self.sections.pop_front();
            }
            if self.page.len() >= PAGE_BYTES {
                return Some(self.page.take());
            }
        }
        (!self.page.is_empty()).then(|| self.page.take())
    }
}
