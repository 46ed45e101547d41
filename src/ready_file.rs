//! The ready file: which addresses were bound, for whoever started the process with port 0.
//!
//! ```json
//! {"amqp": "127.0.0.1:40001", "mqtt": "127.0.0.1:40002"}
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

/// Writes the first address of each protocol. The file appears whole or not at all.
pub(crate) fn write(path: &Path, listening: &[(&'static str, SocketAddr)]) -> anyhow::Result<()> {
    let mut addresses = BTreeMap::new();
    for (protocol, addr) in listening {
        addresses
            .entry(*protocol)
            .or_insert_with(|| addr.to_string());
    }
    write_whole(path, &serde_json::to_vec(&addresses)?)
        .with_context(|| format!("ready file {}", path.display()))
}

fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut temporary = OsString::from(path);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.write_all(b"\n")?;
    drop(file);
    fs::rename(&temporary, path).inspect_err(|_| {
        // What cannot be renamed need not stay; the first error says enough.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_address_of_each_protocol_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        write(
            &path,
            &[("amqp", addr(1)), ("mqtt", addr(2)), ("amqp", addr(3))],
        )
        .unwrap();
        let expected = "{\"amqp\":\"127.0.0.1:1\",\"mqtt\":\"127.0.0.1:2\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn file_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("ready.json");
        let error = write(&path, &[]).unwrap_err();
        assert!(format!("{error:#}").contains("ready.json"));
    }
}
