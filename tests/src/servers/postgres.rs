use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Program, Server, directory, free_port};
use crate::skipped;

const POSTGRES: Program = Program {
    name: "postgres",
    command: || command("postgres"),
    // The first line of this file is the process id, the last one the state.
    is_ready: |directory, id| {
        std::fs::read_to_string(directory.join("postmaster.pid")).is_ok_and(|text| {
            let mut lines = text.lines().map(str::trim);
            let is_of_process = lines.next() == Some(&id.to_string());
            is_of_process && lines.next_back().is_some_and(|state| ["ready", "standby"].contains(&state))
        })
    },
};

/// The user `nobody`: PostgreSQL does not start as root.
const NOBODY: u32 = 65_534;

impl Server {
    /// Starts a PostgreSQL server with these additional settings (`name=value`). Without `fsync=on`, it does
    /// not wait for the disk: what it wrote survives its death, but not that of the machine. User and
    /// database are `postgres`, without password. Returns `None` if no `postgres` is on the PATH or in
    /// Debian's directory.
    pub fn postgres(settings: &[&str]) -> Option<Self> {
        let (initdb, port) = (command("initdb")?, free_port());
        let directory = directory("postgres", port);
        give_to_server_user(&directory);
        initialize(initdb, &directory);
        Self::start_postgres(directory, port, settings)
    }

    fn start_postgres(directory: PathBuf, port: u16, settings: &[&str]) -> Option<Self> {
        let data = directory.to_str().unwrap().to_owned();
        let mut arguments: Vec<_> =
            ["-p", &port.to_string(), "-h", "127.0.0.1", "-D", &data].map(str::to_owned).into();
        for setting in [&["unix_socket_directories=", "max_connections=200", "fsync=off"], settings].concat()
        {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let mut server = Self::spawn(POSTGRES, directory, port, arguments)?;
        server.wait_until_ready();
        Some(server)
    }

    /// Like [`postgres`](Self::postgres). If it cannot start, reports that the tests are skipped.
    pub fn postgres_or_skip(settings: &[&str]) -> Option<Self> {
        let server = Self::postgres(settings);
        if server.is_none() {
            skipped("tests that start PostgreSQL", "there is no `postgres` on the PATH");
        }
        server
    }

    /// Copies the data of a killed server.
    pub fn save_data(&self) {
        copy(&self.directory, &self.directory.with_extension("saved"));
    }

    /// Replaces the data of a killed server by its copy.
    pub fn restore_data(&self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
        std::fs::rename(self.directory.with_extension("saved"), &self.directory).unwrap();
    }

    /// Starts an asynchronous standby of this server.
    pub fn postgres_standby(&self) -> Self {
        let port = free_port();
        let directory = directory("standby", port);
        give_to_server_user(&directory);
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        let arguments =
            ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-R", "-c", "fast", "-D"];
        let mut backup = command("pg_basebackup").unwrap();
        let output = backup.args(arguments).arg(&directory).current_dir(&directory).output().unwrap();
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        Self::start_postgres(directory, port, &[]).unwrap()
    }

    /// Executes `ALTER SYSTEM`, and waits until every session reads the setting before its next statement.
    pub async fn alter_system(&self, change: &str) {
        let options: PgConnectOptions = self.postgres_url().parse().unwrap();
        let options = options.options([("default_transaction_read_only", "off")]);
        let mut admin = PgConnection::connect_with(&options).await.unwrap();
        let load_time = "SELECT CAST(extract(epoch FROM pg_conf_load_time()) * 1000000 AS BIGINT)";
        let before: i64 = sqlx::query_scalar(load_time).fetch_one(&mut admin).await.unwrap();
        admin.execute(AssertSqlSafe(format!("ALTER SYSTEM {change}"))).await.unwrap();
        admin.execute("SELECT pg_reload_conf()").await.unwrap();
        // The server signals its sessions before it accepts a new one.
        loop {
            let mut new = PgConnection::connect_with(&options).await.unwrap();
            if sqlx::query_scalar::<_, i64>(load_time).fetch_one(&mut new).await.unwrap() > before {
                return;
            }
        }
    }

    /// The URL of a PostgreSQL server.
    pub fn postgres_url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }
}

/// The URL of a PostgreSQL server: from `ROOMZ_TEST_POSTGRES`, or of a server that is started once per
/// process. With neither, reports that the tests are skipped and returns `None`.
pub fn postgres_url_or_skip() -> Option<String> {
    static URL: OnceLock<Option<String>> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("ROOMZ_TEST_POSTGRES") {
            return Some(url);
        }
        let Some(server) = Server::postgres(&["fsync=on"]) else {
            skipped(
                "tests with PostgreSQL",
                "there is no `postgres` on the PATH and ROOMZ_TEST_POSTGRES is not set",
            );
            return None;
        };
        let url = server.postgres_url();
        server.kill_with_this_process();
        Some(url)
    })
    .clone()
}

/// Fills the directory of a new server with a copy of what `initdb` made once for this version, beside the
/// program of the test: `initdb` takes ten times as long as a copy.
fn initialize(mut initdb: Command, directory: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let version = command("initdb").unwrap().arg("--version").output().unwrap().stdout;
        let version =
            String::from_utf8(version).unwrap().replace(|it: char| !it.is_ascii_alphanumeric(), "-");
        std::env::current_exe().unwrap().with_file_name(version.trim_end_matches('-'))
    });
    if template.is_dir() {
        std::fs::remove_dir(directory).unwrap();
        return copy(template, directory);
    }
    let output = initdb
        .args(["--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--no-sync", "--pgdata"])
        .arg(directory)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    // Another process may do the same at this moment: the first one keeps its copy.
    let new = template.with_extension(directory.file_name().unwrap());
    copy(directory, &new);
    if std::fs::rename(&new, template).is_err() {
        std::fs::remove_dir_all(&new).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Makes the user of the servers that this process starts the owner of a file or directory.
pub(super) fn give_to_server_user(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program: from the PATH, or from a directory that Debian uses. Servers do not start as root.
pub(super) fn command(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin")).chain([PathBuf::from("/usr/sbin")]);
    let mut files = std::env::split_paths(&path).chain(debian).map(|directory| directory.join(name));
    let mut command = Command::new(files.find(|file| file.is_file())?);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Some(command)
}
