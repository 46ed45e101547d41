//! From what a node kept to a node that goes on.

use std::sync::Arc;

use ternmq_core::id::Lsn;
use ternmq_core::record;
use ternmq_journal::{Index, Opened, SegmentedLog};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::store::{RecoveryError, Store, StoreParts, journal_options};

impl Broker {
    /// A broker with the data that the storage has; a new one if it is empty.
    pub fn open(
        config: &BrokerConfig,
        clock: Arc<dyn Clock>,
        parts: StoreParts,
    ) -> Result<Self, RecoveryError> {
        let mut options = journal_options(&parts.config, &parts.halt)?;
        options.replay_from = Some(Index(1));
        let Opened {
            log,
            mut recovered,
            cut,
        } = SegmentedLog::open(parts.storage, options)?;
        if let Some(cut) = cut {
            tracing::warn!(
                file = cut.file,
                offset = cut.offset,
                "the journal's torn tail was cut"
            );
        }
        let log = Arc::new(log);
        let store = Store {
            log: log.clone(),
            halt: parts.halt,
        };
        let broker = Self::with_store(config, clock, log, Some(store));
        let inner = &broker.0;
        while let Some((index, record)) = recovered.next_record()? {
            broker.replay(Lsn(index.0), record, parts.formats.as_ref())?;
        }
        let next = Lsn(recovered.last().0 + 1);
        inner.route_sets.begin_behind(next);
        let now = inner.clock.now();
        broker.finish_replay(now);
        inner.append_one(|out| record::started(now, out));
        Ok(broker)
    }

    /// Ends in order: what was appended is on disk. To be called when nobody is connected any more.
    pub fn close(&self) {
        if let Some(store) = &self.0.store
            && let Err(failure) = store.log.close()
        {
            tracing::error!(%failure, "the journal was not closed in order");
        }
    }
}
