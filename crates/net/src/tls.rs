//! TLS on the server's side: who we are, who may come, and certificates that change while the node runs.
//!
//! A [`TlsServer`] is one set of settings with the certificates they name. Listeners hold it in an [`Arc`]; whoever
//! connects gets the certificates of that moment, so [`TlsServer::reload`] changes nothing for those who are connected.
//! A broken new file changes nothing at all.
//!
//! [`Arc`]: std::sync::Arc

mod certificate;
mod files;
mod peer;
mod server;
mod settings;
mod verify;

pub use files::TlsError;
pub use peer::{AltNameKind, ClientCertificate, HolderName, NameFrom, SubjectAltName, TlsPeer};
pub use server::{Alpn, CertificateEnd, TlsServer, TlsStream};
pub use settings::{TlsSettings, TlsVersion, Verify};
