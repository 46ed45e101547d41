//! The certificates of all listeners, to read them again while the node runs.

use std::sync::Arc;

use anyhow::Context;
use ternmq_core::id::Timestamp;
use ternmq_manage::Certificate;
use ternmq_net::tls::{Alpn, TlsServer, TlsSettings};
use tracing::{error, info};

use crate::config::Config;

/// Everything that speaks TLS, by its section of the configuration.
#[derive(Default)]
pub(crate) struct Certificates {
    servers: Vec<(&'static str, Arc<TlsServer>)>,
}

impl Certificates {
    /// Reads the certificates of one section.
    pub(crate) fn load(
        &mut self,
        section: &'static str,
        settings: &TlsSettings,
        alpn: Alpn,
    ) -> anyhow::Result<Arc<TlsServer>> {
        let server = TlsServer::load(settings.clone(), alpn)
            .with_context(|| format!("section [{section}.tls]"))?;
        let server = Arc::new(server);
        self.servers.push((section, Arc::clone(&server)));
        Ok(server)
    }

    /// Reads all of them again, with the settings that are in effect now.
    pub(crate) fn reload(&self, config: &Config) {
        for (section, server) in &self.servers {
            if let Some(settings) = config.tls_of(section) {
                tell(section, server.reload_with(settings.clone()));
            }
        }
    }

    /// Reads those again whose files have changed. Returns whether there were any.
    pub(crate) fn reload_changed(&self) -> bool {
        let mut any = false;
        for (section, server) in &self.servers {
            if let Some(outcome) = server.reload_if_changed() {
                any = true;
                tell(section, outcome);
            }
        }
        any
    }

    /// All that are in use, and when they end.
    pub(crate) fn shown(&self) -> Vec<Certificate> {
        let servers = self.servers.iter().map(|(_, server)| server);
        let mut shown: Vec<_> = servers
            .flat_map(|server| server.ends())
            .map(|end| Certificate {
                file: end.file,
                expires_at: Timestamp(end.not_after_s.saturating_mul(1000)),
            })
            .collect();
        // Most listeners have the same ones.
        shown.sort_by(|a, b| (&a.file, a.expires_at).cmp(&(&b.file, b.expires_at)));
        shown.dedup_by(|a, b| (&a.file, a.expires_at) == (&b.file, b.expires_at));
        shown
    }
}

fn tell(section: &str, outcome: Result<(), ternmq_net::tls::TlsError>) {
    match outcome {
        Ok(()) => info!(section, "certificates read again, for new connections"),
        Err(error) => {
            error!(section, %error, "the new certificates cannot be used, the old ones stay");
        }
    }
}
