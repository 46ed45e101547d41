//! Families of exchanges and virtual hosts.

use std::collections::HashMap;

use ternmq_broker::inspect::ExchangeSnapshot;

use crate::Source;
use crate::family::{Family, counter, gauge};
use crate::selection::Selection;
use crate::text::Labels;

/// Numbers of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    published: u64,
    routed: u64,
}

pub(crate) const EXCHANGE_METRICS: &[Family<Exchange>] = &[
    counter!(
        "exchange_messages_published_total",
        "Messages published to the exchange",
        |exchange| exchange.published
    ),
    counter!(
        "exchange_messages_routed_total",
        "Copies of those that went into queues",
        |exchange| exchange.routed
    ),
];

/// Each exchange.
pub(crate) fn exchanges(source: &Source, selection: &Selection) -> Vec<(Labels, Exchange)> {
    let labelled = selected(source, selection).into_iter().map(|exchange| {
        let numbers = Exchange {
            published: exchange.published,
            routed: exchange.routed,
        };
        (labels(&exchange), numbers)
    });
    labelled.collect()
}

/// All exchanges together.
pub(crate) fn all_exchanges(source: &Source) -> Vec<(Labels, Exchange)> {
    let mut all = Exchange {
        published: 0,
        routed: 0,
    };
    for exchange in source.broker.inspect().exchanges(None) {
        all.published += exchange.published;
        all.routed += exchange.routed;
    }
    vec![(Labels::default(), all)]
}

pub(crate) const EXCHANGE_NAMES: &[Family<()>] = &[gauge!(
    "exchange_name",
    "An exchange; the labels say which",
    |_nothing| 1
)];

/// Each exchange's name and type.
pub(crate) fn exchange_names(source: &Source, selection: &Selection) -> Vec<(Labels, ())> {
    let labelled = selected(source, selection).into_iter().map(|exchange| {
        let mut labels = labels(&exchange);
        labels.add("type", exchange.decl.kind.name());
        (labels, ())
    });
    labelled.collect()
}

pub(crate) const EXCHANGE_BINDINGS: &[Family<u64>] = &[gauge!(
    "exchange_bindings",
    "Bindings that start from the exchange",
    |bindings| *bindings
)];

/// How many bindings start from each exchange.
pub(crate) fn exchange_bindings(source: &Source, selection: &Selection) -> Vec<(Labels, u64)> {
    let mut counts: HashMap<(Box<str>, Box<str>), u64> = HashMap::new();
    for binding in source.broker.inspect().bindings(None) {
        *counts.entry((binding.vhost, binding.source)).or_default() += 1;
    }
    let labelled = selected(source, selection).into_iter().map(|exchange| {
        let mut labels = labels(&exchange);
        labels.add("type", exchange.decl.kind.name());
        let key = (exchange.vhost, exchange.decl.name);
        (labels, counts.get(&key).copied().unwrap_or_default())
    });
    labelled.collect()
}

fn selected(source: &Source, selection: &Selection) -> Vec<ExchangeSnapshot> {
    let mut exchanges = source.broker.inspect().exchanges(None);
    exchanges.retain(|exchange| selection.has_vhost(&exchange.vhost));
    exchanges
}

fn labels(exchange: &ExchangeSnapshot) -> Labels {
    let mut labels = Labels::default();
    labels
        .add("vhost", &exchange.vhost)
        .add("exchange", &exchange.decl.name);
    labels
}

pub(crate) const VHOST_STATUS: &[Family<()>] = &[gauge!(
    "vhost_status",
    "1 for a virtual host that runs",
    |_nothing| 1
)];

/// Each virtual host.
pub(crate) fn vhosts(source: &Source, selection: &Selection) -> Vec<(Labels, ())> {
    let names = source.vhosts().into_iter();
    let labelled = names.filter(|name| selection.has_vhost(name)).map(|name| {
        let mut labels = Labels::default();
        labels.add("vhost", &name);
        (labels, ())
    });
    labelled.collect()
}
