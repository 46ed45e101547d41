//! Certificates and keys from PEM files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::TlsSettings;

/// A file larger than this is no certificate.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why TLS cannot be spoken with these settings. Messages begin with the setting's name.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A required setting is missing.
    #[error("{key} is not set")]
    Missing {
        /// The setting.
        key: &'static str,
    },
    /// A setting is outside its range.
    #[error("{key} must be {range}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// A file could not be read.
    #[error("{key} {}: {source}", path.display())]
    Unreadable {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key} {}: {reason}", path.display())]
    Unusable {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not fit together, or cannot be used for TLS.
    #[error("certfile and keyfile: {0}")]
    Pair(rustls::Error),
    /// No random numbers for session tickets, or no usable verifier.
    #[error("TLS: {0}")]
    Setup(String),
}

/// One of the files that settings name.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) key: &'static str,
    pub(super) path: &'a Path,
}

impl<'a> File<'a> {
    /// A file that must be named.
    pub(super) fn required(key: &'static str, path: Option<&'a PathBuf>) -> Result<Self, TlsError> {
        let path = path.ok_or(TlsError::Missing { key })?;
        Ok(Self { key, path })
    }

    fn read(self) -> Result<Vec<u8>, TlsError> {
        let unreadable = |source| TlsError::Unreadable {
            key: self.key,
            path: self.path.to_owned(),
            source,
        };
        let metadata = fs::metadata(self.path).map_err(unreadable)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(self.unusable(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        fs::read(self.path).map_err(unreadable)
    }

    fn unusable(self, reason: String) -> TlsError {
        TlsError::Unusable {
            key: self.key,
            path: self.path.to_owned(),
            reason,
        }
    }

    /// All certificates in the file; at least one.
    pub(super) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let certificates = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(self.unusable("no certificate in it".into()));
        }
        Ok(certificates)
    }

    /// The first private key in the file.
    pub(super) fn private_key(self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let encrypted = is_encrypted(&text);
            self.unusable(match error {
                pem::Error::NoItemsFound if encrypted => "the key is encrypted".into(),
                pem::Error::NoItemsFound => "no private key in it".into(),
                error => error.to_string(),
            })
        })
    }

    /// The file's certificates as authorities.
    pub(super) fn authorities(self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.unusable(error.to_string()))?;
        }
        Ok(roots)
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    const MARK: &[u8] = b"ENCRYPTED";
    text.windows(MARK.len()).any(|window| window == MARK)
}

/// What tells one content of the settings' files from another without reading them: whoever replaces or rewrites a file
/// changes its number, its length or its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint(Vec<Option<(u64, u64, i64, i64)>>);

impl Fingerprint {
    /// As the files are now; one that cannot be looked at is part of the picture.
    pub(super) fn of(settings: &TlsSettings) -> Self {
        let paths = [&settings.certfile, &settings.keyfile, &settings.cacertfile];
        let marks = paths.into_iter().flatten().map(|path| {
            let metadata = fs::metadata(path).ok()?;
            let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
            Some((metadata.ino(), metadata.len(), seconds, nanos))
        });
        Self(marks.collect())
    }
}
