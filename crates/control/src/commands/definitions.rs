//! `ternmq definitions`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::Field;
use crate::path::Path;
use crate::progress::{Bar, Counted};
use crate::{Action, Context};

/// Largest file that is imported.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What the file has lists of, in the order in which the server imports them.
const SECTIONS: [&str; 12] = [
    "users",
    "user_limits",
    "vhosts",
    "vhost_limits",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

const COUNTS: [Field; 2] = [Field::text("kind", "KIND"), Field::count("count", "COUNT")];

const REPORT: [Field; 3] = [
    Field::text("kind", "KIND"),
    Field::count("created", "NEW"),
    Field::count("existing", "THERE BEFORE"),
];

/// What to do with definitions.
#[derive(Clone, Debug, Subcommand)]
pub enum Definitions {
    /// Write what is defined, in RabbitMQ's format. With --vhost only what is in that virtual host
    Export {
        /// Into this file; standard output if left out
        file: Option<PathBuf>,
    },
    /// Define what a file says, in addition to what is there. With --vhost everything goes into that virtual host
    Import {
        /// A file that TernMQ or RabbitMQ exported; - is standard input
        file: PathBuf,
        /// Only say what is in the file
        #[arg(long)]
        dry_run: bool,
    },
}

impl Action for Definitions {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::Export { file } => export(context, file.as_deref()),
            Self::Import { file, dry_run } => import(context, file, *dry_run),
        }
    }
}

fn path(context: &Context<'_>) -> Path {
    match &context.server.vhost {
        Some(vhost) => Path::of(["definitions", vhost]).called(format!("vhost {vhost:?}")),
        None => Path::of(["definitions"]),
    }
}

fn export(context: &mut Context<'_>, file: Option<&FilePath>) -> Outcome {
    let mut document = Vec::new();
    context
        .api
        .download(&path(context), &mut document, "the server's answer")?;
    let definitions = read(&document, "the server's answer")?;
    let Some(file) = file else {
        return context.out.json(&definitions);
    };
    let name = file.display().to_string();
    write_whole(file, &definitions).map_err(Failure::io(&name))?;
    report(context, &format!("wrote {name}"), &definitions)
}

/// Who may read a file of definitions: they have hashes of passwords.
const MODE: u32 = 0o600;

/// Writes beside the file and renames, so a file is never half of what it was.
fn write_whole(file: &FilePath, definitions: &Value) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&beside)?;
    let mut text = serde_json::to_vec_pretty(definitions)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.sync_all()?;
    fs::rename(&beside, file)
}

fn import(context: &mut Context<'_>, file: &FilePath, dry_run: bool) -> Outcome {
    let (document, name) = load(file)?;
    let definitions = read(&document, &name)?;
    if dry_run {
        return report(context, &format!("{name} has"), &definitions);
    }
    let bar = Bar::bytes(document.len() as u64, "sending", context.out.is_json());
    let sent = Counted::new(&document, &bar);
    let path = path(context).query("report", true);
    let answer = context.api.post_reader(&path, sent, document.len());
    bar.finish();
    let answer = answer?;
    let heading = format!("imported {name}");
    match answer.get("sections").and_then(Value::as_object) {
        Some(_) if context.out.is_json() => context.out.json(&answer),
        Some(sections) => tell(context, &heading, sections, &answer),
        // RabbitMQ says nothing.
        None => report(context, &heading, &definitions),
    }
}

/// What the server says became of it.
fn tell(
    context: &mut Context<'_>,
    heading: &str,
    sections: &Map<String, Value>,
    answer: &Value,
) -> Outcome {
    context.out.line(heading)?;
    let known = |kind: &String| SECTIONS.iter().position(|section| section == kind);
    let mut sections: Vec<_> = sections.iter().collect();
    sections.sort_by_key(|(kind, _)| known(kind).unwrap_or(SECTIONS.len()));
    let rows = sections.into_iter().map(|(kind, outcome)| {
        json!({"kind": kind, "created": outcome["created"], "existing": outcome["existing"]})
    });
    context.out.rows(&rows.collect::<Vec<_>>(), &REPORT)?;
    let warnings = answer.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        context.out.line(format!("note: {warning}"))?;
    }
    Ok(())
}

fn load(file: &FilePath) -> Outcome<(Vec<u8>, String)> {
    let mut document = Vec::new();
    let (source, name): (Box<dyn Read>, _) = if file == FilePath::new("-") {
        (Box::new(io::stdin().lock()), "standard input".to_owned())
    } else {
        let name = file.display().to_string();
        (
            Box::new(File::open(file).map_err(Failure::io(&name))?),
            name,
        )
    };
    source
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut document)
        .map_err(Failure::io(&name))?;
    if document.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{name} is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok((document, name))
}

fn read(document: &[u8], name: &str) -> Outcome<Value> {
    match serde_json::from_slice(document) {
        Ok(Value::Object(definitions)) => Ok(Value::Object(definitions)),
        Ok(_) => Err(Failure::Usage(format!(
            "{name} has no definitions: it is no JSON object"
        ))),
        Err(error) => Err(Failure::Usage(format!("{name} is no JSON: {error}"))),
    }
}

/// How many there are of each kind; kinds that the file does not mention are left out.
fn counts(definitions: &Value) -> Vec<Value> {
    let counted = SECTIONS.into_iter().filter_map(|kind| {
        let items = definitions.get(kind)?.as_array()?;
        Some(json!({"kind": kind, "count": items.len()}))
    });
    counted.collect()
}

fn report(context: &mut Context<'_>, heading: &str, definitions: &Value) -> Outcome {
    let counts = counts(definitions);
    if context.out.is_json() {
        return context.out.json(&Value::Array(counts));
    }
    let mut counts = counts;
    counts.retain(|kind| kind["count"] != 0);
    context.out.line(heading)?;
    context.out.rows(&counts, &COUNTS)
}
