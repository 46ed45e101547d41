//! Definitions that are imported when the node starts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use ternmq_core::id::Lsn;

use super::{Report, apply, check, read};
use crate::Manage;

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Why definitions could not be imported. Nothing of that file was, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file or directory cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no JSON object.
    #[error("{}: not a JSON object: {error}", path.display())]
    Json {
        /// Which one.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// What is in it cannot be set or declared.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Manage {
    /// Imports a file, or every `.json` file of a directory in the order of their names. Returns what became of each, and
    /// waits for nothing: what is set is durable as soon as anything later is.
    ///
    /// # Errors
    /// The first file that cannot be read as a document, and then none was imported; or the first whose contents are
    /// refused, and then those before it were.
    pub fn import_files(&self, path: &Path) -> Result<Vec<(PathBuf, Report)>, ImportError> {
        // A file that is no document at all is found out before anything changes.
        let mut documents = Vec::new();
        for file in files(path)? {
            let document = read_document(&file)?;
            documents.push((file, document));
        }
        let mut reports = Vec::new();
        for (file, document) in documents {
            let report = self.import_document(&file, &document)?;
            tracing::info!(file = %file.display(), ?report, "definitions imported");
            reports.push((file, report));
        }
        Ok(reports)
    }

    /// Whether the definitions in that place name users: then a new node begins without those of its configuration, as
    /// RabbitMQ does.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn files_name_users(path: &Path) -> Result<bool, ImportError> {
        for file in files(path)? {
            let users = read_document(&file)?.remove("users");
            if users.is_some_and(|users| users.as_array().is_some_and(|users| !users.is_empty())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn import_document(
        &self,
        path: &Path,
        document: &serde_json::Map<String, Value>,
    ) -> Result<Report, ImportError> {
        let refused = |reason: String| ImportError::Refused {
            path: path.to_owned(),
            reason,
        };
        let plan = read::plan(self, document, None).and_then(|plan| check::check(self, plan));
        let plan = plan.map_err(|problems| refused(problems.to_string()))?;
        let (report, _): (Report, Lsn) =
            apply::apply(self, &plan).map_err(|fault| refused(fault.reason()))?;
        Ok(report)
    }
}

fn read_document(path: &Path) -> Result<serde_json::Map<String, Value>, ImportError> {
    let text = read_file(path)?;
    serde_json::from_slice(&text).map_err(|error| ImportError::Json {
        path: path.to_owned(),
        error,
    })
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let unreadable = |error| ImportError::Read {
        path: path.to_owned(),
        error,
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<u8>, ImportError> {
    let unreadable = |error| ImportError::Read {
        path: path.to_owned(),
        error,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let error = std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes"));
        return Err(unreadable(error));
    }
    fs::read(path).map_err(unreadable)
}
