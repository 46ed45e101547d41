//! Who lets users in: what the configuration says about it, put together.

use std::sync::Arc;

use anyhow::{Context, bail};
use ternmq_broker::clock::Clock;
use ternmq_broker::{Broker, LoginStep, Place};
use ternmq_identity::config::STEPS_MAX;
use ternmq_identity::http;
use ternmq_identity::{AuthConfig, BackendName, Http, OAuth2};

use crate::system::aside;

/// Those beside the broker itself, as far as they are asked.
#[derive(Default)]
pub(crate) struct Identities {
    oauth2: Option<Arc<OAuth2>>,
    /// Once it is started.
    http: Option<Arc<Http>>,
}

impl Identities {
    /// Reads what they need, and starts nothing.
    pub(crate) fn load(config: &AuthConfig) -> anyhow::Result<Self> {
        if config.backends.is_empty() {
            bail!("auth.backends is empty: nobody could log in");
        }
        if config.backends.len() > STEPS_MAX {
            bail!("auth.backends has more than {STEPS_MAX} entries");
        }
        let mut identities = Self::default();
        if config.asks(BackendName::OAuth2) {
            let oauth2 = OAuth2::load(&config.oauth2, aside).context("section [auth.oauth2]")?;
            identities.oauth2 = Some(Arc::new(oauth2));
        }
        if config.asks(BackendName::Http) {
            http::check(&config.http, &config.cache).context("section [auth.http]")?;
        }
        Ok(identities)
    }

    /// Has the broker ask them.
    pub(crate) fn attach(
        &mut self,
        config: &AuthConfig,
        broker: &Broker,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<()> {
        if config.asks(BackendName::Http) {
            let settings = (config.http.clone(), config.cache.clone());
            let http = Http::start(settings.0, settings.1, clock, aside);
            self.http = Some(Arc::new(http.context("section [auth.http]")?));
        }
        if let Some(oauth2) = &self.oauth2 {
            oauth2.start(clock).context("section [auth.oauth2]")?;
        }
        let steps = config.backends.iter().filter_map(|step| {
            Some(LoginStep {
                authn: self.place(step.authn())?,
                authz: match step.authz() {
                    Some(name) => Some(self.place(name)?),
                    None => None,
                },
            })
        });
        broker.ask_for_users(steps.collect());
        Ok(())
    }

    fn place(&self, name: BackendName) -> Option<Place> {
        match name {
            BackendName::Internal => Some(Place::Internal),
            BackendName::OAuth2 => self.oauth2.clone().map(|oauth2| Place::External(oauth2)),
            BackendName::Http => self.http.clone().map(|http| Place::External(http)),
        }
    }

    /// Reads keys again, whether or not their files have changed.
    pub(crate) fn reload(&self) {
        if let Some(oauth2) = &self.oauth2 {
            oauth2.reload();
        }
    }

    /// Reads keys again whose files have changed.
    pub(crate) fn look_at_keys(&self) {
        if let Some(oauth2) = &self.oauth2 {
            oauth2.reload_if_changed();
        }
    }
}
