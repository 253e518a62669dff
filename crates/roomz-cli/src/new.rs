//! Writes a new service, from the files in `templates`.
//!
//! A template has lines for some options only: those between `{{if WORDS}}` and `{{end}}`, where all words
//! must hold. `!` negates a word.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum, ValueHint};

use crate::error::usage;
use crate::output;

const NEW_HELP: &str = "\
Examples:
  roomz new floors --store postgres --path ../roomz-webhook
  roomz new floors --store sqlite --inbox --grpc

Writes an axum service with a handler, its tests, metrics, probes, a Dockerfile, a systemd unit and Prometheus alerts to the \
new directory NAME. Its `cargo test` needs no server.";

#[derive(Args)]
#[command(after_help = NEW_HELP)]
pub(crate) struct NewArgs {
    /// Name of the package and of its directory
    name: String,
    /// Where handled event ids are, or with --inbox the events [default: memory, with --inbox sqlite]
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// Answer when the event is stored, and handle it later; needs --store sqlite or postgres
    #[arg(long)]
    inbox: bool,
    /// Also serve a gRPC service that streams the changes
    #[arg(long)]
    grpc: bool,
    /// Clone of the roomz-webhook repository to take the crates from; required until they are on crates.io
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

pub(crate) fn run(args: &NewArgs) -> Result<()> {
    let name = args.name.as_str();
    let is_valid = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    if !is_valid {
        return Err(usage(format!(
            "invalid package name {name:?}: use up to 64 lower-case letters, digits, - and _, and a letter first"
        )));
    }
    let store = args.store.unwrap_or(if args.inbox { Store::Sqlite } else { Store::Memory });
    if args.inbox && !matches!(store, Store::Sqlite | Store::Postgres) {
        return Err(usage("an inbox needs a database: use --store sqlite or --store postgres with --inbox"));
    }
    let path = args.path.as_deref().map(clone_of_kit).transpose()?;
    let files = render(args, store, path.as_deref());
    let directory = Path::new(name);
    fs::create_dir(directory)
        .map_err(|error| anyhow!("cannot create the directory {name:?}: {error}; choose another name"))?;
    let cannot_write = || format!("cannot write the directory {name:?}: check its permissions");
    fs::create_dir(directory.join("src")).with_context(cannot_write)?;
    for (file, text) in &files {
        fs::write(directory.join(file), text).with_context(cannot_write)?;
    }
    if path.is_none() {
        output::print_error("the roomz crates are not on crates.io yet: until then, create it with --path");
    }
    output::print_line(&format!("created {name}; next: cd {name} && cargo test"))
}

/// Returns the path of a clone of the repository as it stands in a manifest.
fn clone_of_kit(path: &Path) -> Result<String> {
    let clone =
        std::path::absolute(path).ok().filter(|path| path.join("crates/roomz-axum/Cargo.toml").is_file());
    let clone = clone.as_deref().and_then(Path::to_str).filter(|path| !path.contains(['\'', '\n']));
    clone.map(str::to_owned).ok_or_else(|| {
        usage(format!("{} is not a clone of the roomz-webhook repository: correct --path", path.display()))
    })
}

/// Returns the paths and the contents of the files.
fn render(args: &NewArgs, store: Store, path: Option<&str>) -> Vec<(String, String)> {
    let (store, url) = match store {
        Store::Memory => ("memory", String::new()),
        Store::Sqlite => ("sqlite", format!("sqlite://{}.db", args.name)),
        Store::Postgres => ("postgres", "postgres://postgres@127.0.0.1/postgres".to_owned()),
        Store::Redis => ("redis", "redis://127.0.0.1:6379".to_owned()),
    };
    let holds = |word: &str| match word {
        "inbox" => args.inbox,
        "grpc" => args.grpc,
        "path" => path.is_some(),
        "sql" => matches!(store, "sqlite" | "postgres"),
        word => word == store,
    };
    let render = |template: &str| {
        let (mut text, mut is_kept) = (String::new(), true);
        for line in template.lines() {
            if let Some(words) = line.strip_prefix("{{if ").and_then(|rest| rest.strip_suffix("}}")) {
                let is_met = |word: &str| holds(word.trim_start_matches('!')) != word.starts_with('!');
                is_kept = words.split(' ').all(is_met);
            } else if line == "{{end}}" {
                is_kept = true;
            } else if is_kept {
                text.extend([line, "\n"]);
            }
        }
        let values = [
            ("{{name}}", args.name.as_str()),
            ("{{store}}", store),
            ("{{url}}", &url),
            ("{{filter}}", if holds("sql") { "info,sqlx=warn" } else { "info" }),
            ("{{version}}", env!("CARGO_PKG_VERSION")),
            ("{{path}}", path.unwrap_or_default()),
        ];
        values.iter().fold(text, |text, (variable, value)| text.replace(variable, value))
    };
    let mut files = vec![
        ("Cargo.toml", include_str!("../templates/manifest.toml")),
        ("src/main.rs", include_str!("../templates/main.rs")),
        ("src/app.rs", include_str!("../templates/app.rs")),
        ("src/tests.rs", include_str!("../templates/tests.rs")),
        ("README.md", include_str!("../templates/README.md")),
        ("Dockerfile", include_str!("../templates/Dockerfile")),
        ("{{name}}.service", include_str!("../templates/unit.service")),
        ("alerts.yml", include_str!("../templates/alerts.yml")),
        (".gitignore", include_str!("../templates/gitignore")),
        (".dockerignore", include_str!("../templates/dockerignore")),
    ];
    if args.grpc {
        files.push(("build.rs", include_str!("../templates/build.rs")));
        files.push(("src/grpc.rs", include_str!("../templates/grpc.rs")));
    }
    files
        .into_iter()
        .map(|(path, template)| (path.replace("{{name}}", &args.name), render(template)))
        .collect()
}
