//! An authorization server, as far as its keys are concerned: those of files, and those that are fetched.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ternmq_core::id::Timestamp;

use super::OAuth2Error;
use super::algorithm::Algorithm;
use super::config::KeysConfig;
use super::keys::{self, Key, KeyRing, Stamp};
use super::remote::Remote;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Provider {
    /// None for the one without.
    name: Option<String>,
    config: KeysConfig,
    algorithms: Vec<Algorithm>,
    ring: ArcSwap<KeyRing>,
    files: Mutex<Files>,
    remote: Option<Arc<Remote>>,
}

/// What the files of keys look like.
#[derive(Debug, Default)]
struct Files {
    /// When they were read, or tried to be.
    tried: Vec<Stamp>,
    /// When they had changed, at the last look.
    changed: Option<Vec<Stamp>>,
}

impl Provider {
    /// Reads the files, and fetches nothing yet.
    pub(super) fn load(name: Option<&str>, config: &KeysConfig) -> Result<Self, OAuth2Error> {
        let algorithm = |name: &String| {
            Algorithm::named(name).ok_or_else(|| OAuth2Error::Algorithm(name.clone()))
        };
        let algorithms = config.algorithms.iter().map(algorithm);
        let algorithms = algorithms.collect::<Result<_, _>>()?;
        // Looked at before: what changes meanwhile is seen as a change.
        let files = Files {
            tried: keys::stamps(config),
            changed: None,
        };
        let provider = Self {
            name: name.map(str::to_owned),
            config: config.clone(),
            algorithms,
            ring: ArcSwap::from_pointee(KeyRing::default()),
            files: Mutex::new(files),
            remote: Remote::new(config)?.map(Arc::new),
        };
        provider.ring.store(Arc::new(provider.read_files()?));
        Ok(provider)
    }

    pub(super) fn name(&self) -> Option<&String> {
        self.name.as_ref()
    }

    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The key of tokens that name none.
    pub(super) fn default_key(&self) -> Option<&str> {
        self.config.default_key.as_deref()
    }

    /// A key, if it is known. Those that are fetched come before those of files.
    pub(super) fn key(&self, id: &str) -> Option<Key> {
        let fetched = self.remote.as_ref().and_then(|remote| remote.key(id));
        fetched.or_else(|| self.ring.load().get(id).cloned())
    }

    /// Where further keys may come from.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Begins to fetch keys, if there are any to fetch.
    pub(super) fn start(&self, now: Timestamp) -> Result<(), OAuth2Error> {
        match &self.remote {
            Some(remote) => remote.start(now).map_err(OAuth2Error::Thread),
            None => Ok(()),
        }
    }

    /// Nothing is fetched any more.
    pub(super) fn stop(&self) {
        if let Some(remote) = &self.remote {
            remote.stop();
        }
    }

    fn read_files(&self) -> Result<KeyRing, OAuth2Error> {
        let ring = KeyRing::load(&self.config)?;
        if self.remote.is_some() {
            return Ok(ring);
        }
        if ring.len() == 0 {
            return Err(OAuth2Error::NoKeys);
        }
        match self.default_key() {
            Some(id) if ring.get(id).is_none() => Err(OAuth2Error::NoDefaultKey(id.to_owned())),
            _ => Ok(ring),
        }
    }

    /// Reads the keys again. Keys that cannot be used change nothing.
    pub(super) fn reload(&self) {
        match self.read_files() {
            Ok(ring) => {
                // There may be no files.
                if ring.len() > 0 {
                    tracing::info!(keys = ring.len(), "keys of tokens read again");
                }
                self.ring.store(Arc::new(ring));
            }
            Err(error) => {
                tracing::error!(%error, "the new keys of tokens cannot be used, the old ones stay");
            }
        }
        if let Some(remote) = &self.remote {
            remote.fetch_again();
        }
    }

    /// Reads the keys again if their files have changed, and then have been the same for two looks.
    pub(super) fn reload_if_changed(&self) {
        let now = keys::stamps(&self.config);
        let mut files = self.files.lock();
        if files.tried == now {
            files.changed = None;
        } else if files.changed.as_ref() == Some(&now) {
            files.changed = None;
            files.tried = now;
            drop(files);
            self.reload();
        } else {
            files.changed = Some(now);
        }
    }
}
