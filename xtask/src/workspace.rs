//! What the checks look at, read once: source texts and the crate graph.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Directories that hold no text of the project, wherever they lie.
const SKIPPED_DIRECTORIES: [&str; 5] = [".git", "target", "corpus", "artifacts", "__pycache__"];

/// The broker's default data directory, left behind by a run from the workspace root.
const DATA_DIRECTORY: &str = "data";

/// File name endings of the texts the checks read.
const TEXT_ENDINGS: [&str; 5] = [".rs", ".toml", ".py", ".sh", ".md"];

/// Directory depth at which a walk gives up: a symbolic link in a circle, not a source tree.
const DEPTH_MAX: usize = 16;

/// A text file of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path from the workspace root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Tests, benches and fuzz targets: code that is never part of the product.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/').rev();
        let file = parts.next().unwrap_or_default();
        file == "tests.rs" || parts.any(|part| matches!(part, "tests" | "benches" | "fuzz"))
    }

    pub(crate) fn is_rust(&self) -> bool {
        has_ending(&self.path, ".rs")
    }
}

/// A member crate and the member crates it names in its manifest, of whatever kind of dependency.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Directory from the workspace root, with `/`; `.` for the root package.
    pub(crate) path: String,
    pub(crate) depends_on: Vec<String>,
}

/// Everything a check may ask for.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) sources: Vec<Source>,
    pub(crate) members: Vec<Member>,
}

impl Workspace {
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut sources = Vec::new();
        walk(root, "", 0, &mut sources)?;
        sources.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Self {
            sources,
            members: members(&metadata(root)?)?,
        })
    }

    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.is_rust())
    }
}

fn walk(directory: &Path, prefix: &str, depth: usize, sources: &mut Vec<Source>) -> Result<()> {
    ensure!(depth <= DEPTH_MAX, "{} lies too deep", directory.display());
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry.with_context(|| directory.display().to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if path != DATA_DIRECTORY && !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), depth + 1, sources)?;
            }
        } else if is_text(&path) {
            let text = fs::read_to_string(entry.path()).with_context(|| path.clone())?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

fn is_text(path: &str) -> bool {
    // Scripts without an ending.
    matches!(path, ".ci/run" | "tests/clients/run")
        || TEXT_ENDINGS.iter().any(|ending| has_ending(path, ending))
}

fn has_ending(path: &str, ending: &str) -> bool {
    path.len() > ending.len() && path.ends_with(ending)
}

fn metadata(root: &Path) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).context("output of cargo metadata")
}

/// The member crates in the output of `cargo metadata --no-deps`.
fn members(metadata: &Value) -> Result<Vec<Member>> {
    let root = text(metadata, "workspace_root")?;
    let packages = list(metadata, "packages")?;
    let names = packages
        .iter()
        .map(|package| text(package, "name"))
        .collect::<Result<Vec<_>>>()?;
    let mut members = Vec::with_capacity(packages.len());
    for package in packages {
        let mut depends_on = Vec::new();
        for dependency in list(package, "dependencies")? {
            let name = text(dependency, "name")?;
            if names.contains(&name) && !depends_on.iter().any(|known| known == name) {
                depends_on.push(name.to_owned());
            }
        }
        members.push(Member {
            name: text(package, "name")?.to_owned(),
            path: relative_directory(text(package, "manifest_path")?, root)?,
            depends_on,
        });
    }
    Ok(members)
}

fn relative_directory(manifest_path: &str, root: &str) -> Result<String> {
    let directory = Path::new(manifest_path)
        .parent()
        .and_then(|directory| directory.strip_prefix(root).ok())
        .with_context(|| format!("{manifest_path} lies outside {root}"))?;
    let parts: Vec<_> = directory
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    Ok(if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("cargo metadata has no `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    value[key]
        .as_array()
        .map(Vec::as_slice)
        .with_context(|| format!("cargo metadata has no `{key}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(path: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: String::new(),
        }
    }

    #[test]
    fn tests_benches_and_fuzz_targets_are_told_from_product_code() {
        for path in [
            "tests/bridge.rs",
            "crates/core/src/queue/tests.rs",
            "crates/core/tests/model.rs",
            "benches/codec.rs",
            "fuzz/fuzz_targets/mqtt.rs",
        ] {
            assert!(source(path).is_test(), "{path}");
        }
        for path in [
            "src/main.rs",
            "crates/core/src/contests.rs",
            "crates/tests_of/src/lib.rs",
        ] {
            assert!(!source(path).is_test(), "{path}");
        }
    }

    #[test]
    fn members_know_their_place_and_only_their_own_kin() {
        let metadata = json!({
            "workspace_root": "/w",
            "packages": [
                {"name": "app", "manifest_path": "/w/Cargo.toml", "dependencies": [
                    {"name": "app-core"}, {"name": "serde"}, {"name": "app-core", "kind": "dev"}]},
                {"name": "app-core", "manifest_path": "/w/crates/core/Cargo.toml", "dependencies": []},
            ],
        });
        let members = members(&metadata).unwrap();
        assert_eq!(members[0].path, ".");
        assert_eq!(members[0].depends_on, ["app-core"]);
        assert_eq!(members[1].path, "crates/core");
        assert!(members[1].depends_on.is_empty());
    }

    #[test]
    fn metadata_without_the_expected_fields_is_an_error() {
        assert!(members(&json!({"workspace_root": "/w"})).is_err());
        let outside = json!({"workspace_root": "/w", "packages": [
            {"name": "a", "manifest_path": "/elsewhere/Cargo.toml", "dependencies": []}]});
        assert!(members(&outside).is_err());
    }
}
