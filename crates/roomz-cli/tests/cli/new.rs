//! `new`: every combination of its options is a service whose tests pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{RunOutput, TestDir, command, path_text, run_command};

const STORES: [&str; 4] = ["memory", "sqlite", "postgres", "redis"];

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn template(name: &str) -> String {
    read(&format!("crates/roomz-cli/templates/{name}"))
}

/// Runs `roomz new` in a directory.
fn new(directory: &Path, arguments: &[&str]) -> RunOutput {
    run_command(command().current_dir(directory).arg("new").args(arguments), b"")
}

/// Writes all valid combinations as packages of one workspace, with the crates, the lock file and the
/// profiles of this repository.
fn generate_all() -> PathBuf {
    // Not a new directory each time: cargo keeps what it builds for each path.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let at = |name: &str| directory.join(name);
    for store in STORES {
        for options in [&[][..], &["--grpc"], &["--inbox"], &["--inbox", "--grpc"]] {
            let name = format!("service-{store}{}", options.concat().replace("--", "-"));
            let output = new(&at(""), &[&[name.as_str(), "--store", store], options].concat());
            if options.contains(&"--inbox") && !matches!(store, "sqlite" | "postgres") {
                output.assert_fails(2, &["an inbox needs a database", "--store sqlite"]);
                continue;
            }
            assert_eq!(output.code, 0, "{output:?}");
            assert!(output.stderr.contains("create it with --path"), "{output:?}");
            let text = fs::read_to_string(at(&name).join("src/main.rs")).unwrap();
            assert!(text.lines().count() <= 80, "{name}: {text}");
            for file in fs::read_dir(at(&name)).unwrap().map(|file| file.unwrap().path()) {
                let text = if file.is_file() { fs::read_to_string(&file).unwrap() } else { String::new() };
                assert!(
                    !text.contains("{{if") && !text.contains("{{end") && !text.contains("\n\n\n"),
                    "{text}"
                );
            }
        }
    }
    let mut manifest = read("Cargo.toml");
    let members = manifest.lines().find(|line| line.starts_with("members = ")).unwrap().to_owned();
    manifest = manifest.replace(&members, "members = [\"service-*\"]");
    manifest.push_str("\n[patch.crates-io]\n");
    for name in ["axum", "inbox", "redis", "sql"] {
        let path = root().join(format!("crates/roomz-{name}"));
        manifest.push_str(&format!("roomz-{name} = {{ path = {:?} }}\n", path_text(&path)));
    }
    fs::write(at("Cargo.toml"), manifest).unwrap();
    // Not the settings of this repository.
    fs::write(at(".rustfmt.toml"), "").unwrap();
    fs::copy(root().join("Cargo.lock"), at("Cargo.lock")).unwrap();
    directory
}

/// The dependencies are built with the features of all combinations together.
#[test]
fn generated_services_pass_their_tests() {
    let directory = generate_all();
    let target = Path::new(env!("CARGO_BIN_EXE_roomz")).parent().and_then(Path::parent).unwrap();
    for arguments in [&["fmt", "--check"][..], &["test", "--workspace", "--quiet"]] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&directory).env("CARGO_TARGET_DIR", target).args(arguments);
        let output = run_command(&mut cargo, b"");
        // One of the compiler, not of cargo, which may not reach the registry at once.
        assert!(!output.stderr.contains("\nwarning: unused"), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
    }
}

/// What a service has in common with the examples is the same there.
#[test]
fn templates_equal_the_examples() {
    for (name, example) in [
        ("alerts.yml", "examples/presence-board/monitoring/alerts.yml"),
        ("build.rs", "examples/tonic/build.rs"),
        ("grpc.rs", "examples/tonic/src/grpc.rs"),
    ] {
        assert!(template(name) == read(example), "{name} differs from {example}: copy it");
    }
    let readyz = |text: &str| {
        text.lines()
            .skip_while(|line| !line.contains("fn readyz"))
            .take_while(|line| *line != "}")
            .flat_map(str::split_whitespace)
            .collect::<String>()
    };
    assert_eq!(readyz(&template("app.rs")), readyz(&read("examples/quickstart/src/lib.rs")));
    let failed =
        |text: &str| text.lines().skip_while(|line| !line.starts_with("impl<E")).take(5).collect::<String>();
    assert_eq!(failed(&template("main.rs")), failed(&read("examples/exactly-once/src/lib.rs")));
    let hardening = |text: &str| {
        let lines = text.lines().skip_while(|line| !line.starts_with("CapabilityBoundingSet"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let board = read("examples/presence-board/deploy/presence-board@.service");
    assert_eq!(hardening(&template("unit.service")), hardening(&board));
    // The images, and the packages of the second one.
    let image = |text: &str| {
        let (build, image) = text.split_once("\n\n").unwrap();
        let first = build.lines().find(|line| line.starts_with("FROM")).unwrap();
        format!("{first}\n{}", image.split_once("COPY").unwrap().0)
    };
    assert_eq!(image(&template("Dockerfile")), image(&read("examples/presence-board/deploy/Dockerfile")));
}

#[test]
fn bad_input_is_one_line_and_overwrites_nothing() {
    let directory = TestDir::new();
    let at = directory.path("");
    fs::create_dir_all(directory.path("taken/src")).unwrap();
    directory.write("file", "content");
    for (arguments, parts) in [
        (&["Floors"][..], &["invalid package name \"Floors\"", "lower-case"][..]),
        (&["../floors"], &["invalid package name", "letter first"]),
        (&["1floors"], &["invalid package name", "letter first"]),
        (&[""], &["invalid package name \"\"", "letter first"]),
        (&["floors", "--store", "mysql"], &["mysql", "memory, sqlite, postgres, redis"]),
        (&["floors", "--postgres"], &["--postgres"]),
        (&["floors", "--inbox", "--store", "redis"], &["an inbox needs a database", "--store postgres"]),
        (&["floors", "--path", "taken"], &["taken is not a clone", "correct --path"]),
    ] {
        new(&at, arguments).assert_fails(2, parts);
    }
    for name in ["taken", "file"] {
        let problem =
            format!("cannot create the directory {name:?}: File exists (os error 17); choose another name");
        new(&at, &[name]).assert_fails(1, &[&problem]);
    }
    assert!(fs::read_dir(directory.path("taken/src")).unwrap().next().is_none());
    assert_eq!(fs::read_to_string(directory.path("file")).unwrap(), "content");
    assert!(!directory.path("floors").exists());

    new(&at, &["new", "--path", &path_text(&root())]).assert_succeeds();
    let manifest = fs::read_to_string(directory.path("new/Cargo.toml")).unwrap();
    let axum = path_text(&root().join("crates/roomz-axum"));
    assert!(manifest.contains(&format!("roomz-axum = {{ path = '{axum}' }}")), "{manifest}");
    assert!(manifest.contains(concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")), "{manifest}");
}
