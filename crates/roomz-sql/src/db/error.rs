//! Converts errors of sqlx.

use sqlx::error::DatabaseError;

use roomz_webhook::store::{ConnectError, ConnectErrorKind};

const UNREACHABLE: &str = "cannot reach the database in time; check that the server runs and accepts \
                                      connections, that host and port are correct, and that no other session locks \
                                      `roomz_claims` or the SQLite file";
const INVALID_URL: &str =
    "invalid database URL; use postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:FILE";
const TLS: &str = "cannot encrypt the connection as `sslmode` requires; enable the feature `tls` of roomz-sql, and \
                   check that the server has a certificate that can be verified; name the file of a private \
                   certificate authority with `sslrootcert`";
const INVALID_FILE: &str = "cannot open the SQLite file; its directory must exist and be writable, and the file must \
                            be an SQLite database";
const BUSY_FILE: &str = "another process holds the write lock of the SQLite file; end its transaction, or raise \
                                    the timeout";
const REJECTED: &str = "the database rejected a statement of the store; the cause says why";
const LOGIN_REJECTED: &str =
    "the database rejected the login; check the user, the password and the database name";
const POOLER: &str = "a pooler between this program and PostgreSQL rejects what the store needs; use session or \
                      transaction mode (`pool_mode` of PgBouncer)";
const INVALID_SCHEMA: &str = "the tables `roomz_claims`, `roomz_presence`, `roomz_inbox` and `roomz_migrations` are missing \
                              or different; run the scripts in `roomz_sql::POSTGRES_MIGRATIONS` or `SQLITE_MIGRATIONS`, or use \
                              `with_migrations(true)`; drop tables that are different";
const PERMISSION_DENIED: &str = "the database does not permit what the store needs; grant the user SELECT, INSERT, \
                                 UPDATE and DELETE on `roomz_claims`, `roomz_presence` and, for an inbox, \
                                 `roomz_inbox`, and SELECT on \
                                 `roomz_migrations` (and CREATE, to create them), and check that the database accepts \
                                 writes";

pub(crate) fn connect_error(error: sqlx::Error) -> ConnectError {
    let (kind, message) = match &error {
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
            (ConnectErrorKind::InvalidUrl, INVALID_URL)
        }
        sqlx::Error::Database(error) => database_error(error.as_ref()),
        sqlx::Error::Tls(_) => (ConnectErrorKind::Tls, TLS),
        // rustls reports a certificate that it rejects as an I/O error.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            (ConnectErrorKind::Tls, TLS)
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ConnectErrorKind::InvalidSchema, INVALID_SCHEMA)
        }
        _ => (ConnectErrorKind::Unreachable, UNREACHABLE),
    };
    ConnectError::new(kind, message).with_source(error)
}

/// The database did not reply in time.
pub(crate) fn no_reply() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// The tables are missing or different.
pub(crate) fn is_invalid_schema(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().map(database_error);
    error.is_some_and(|(kind, _)| kind == ConnectErrorKind::InvalidSchema)
}

/// PostgreSQL codes have five characters, SQLite codes are numbers.
fn database_error(error: &dyn DatabaseError) -> (ConnectErrorKind, &'static str) {
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    match code.parse::<u32>() {
        // The last byte holds the primary code.
        Ok(number) if code.len() < 5 => match number & 0xff {
            1 => (ConnectErrorKind::InvalidSchema, INVALID_SCHEMA),
            5 | 6 => (ConnectErrorKind::Unreachable, BUSY_FILE),
            10 | 11 | 14 | 26 => (ConnectErrorKind::InvalidFile, INVALID_FILE),
            3 | 8 | 23 => (ConnectErrorKind::PermissionDenied, PERMISSION_DENIED),
            _ => (ConnectErrorKind::Unsupported, REJECTED),
        },
        _ => match code {
            "28000" | "28P01" | "3D000" => (ConnectErrorKind::LoginRejected, LOGIN_REJECTED),
            "08P01" => (ConnectErrorKind::Unsupported, POOLER),
            "3F000" | "23502" | "42P01" | "42P07" | "42703" | "42804" | "42883" | "42P10" => {
                (ConnectErrorKind::InvalidSchema, INVALID_SCHEMA)
            }
            "53300" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" => {
                (ConnectErrorKind::Unreachable, UNREACHABLE)
            }
            "25006" | "42501" => (ConnectErrorKind::PermissionDenied, PERMISSION_DENIED),
            _ => (ConnectErrorKind::Unsupported, REJECTED),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as StdError;

    use ConnectErrorKind::{
        InvalidFile, InvalidSchema, InvalidUrl, LoginRejected, PermissionDenied, Tls, Unreachable,
        Unsupported,
    };

    use super::*;

    /// An error with this code.
    #[derive(Debug, thiserror::Error)]
    #[error("failed")]
    struct Coded(&'static str);

    impl DatabaseError for Coded {
        fn message(&self) -> &str {
            "failed"
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }
        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn codes_have_kinds() {
        for (kind, codes) in [
            // SQLite, also with a second byte.
            (InvalidSchema, &["1", "257"][..]),
            (Unreachable, &["5", "6", "517"]),
            (InvalidFile, &["10", "11", "14", "26", "2570"]),
            (PermissionDenied, &["3", "8", "23", "1032"]),
            (Unsupported, &["7", "21", "", "99999"]),
            // PostgreSQL.
            (LoginRejected, &["28000", "28P01", "3D000"]),
            (Unsupported, &["08P01", "22012", "0A000"]),
            (InvalidSchema, &["3F000", "23502", "42P01", "42P07", "42703", "42804", "42883", "42P10"]),
            (Unreachable, &["53300", "55P03", "57014", "57P01", "57P02", "57P03"]),
            (PermissionDenied, &["25006", "42501"]),
        ] {
            for code in codes {
                let error = sqlx::Error::Database(Box::new(Coded(code)));
                assert_eq!(is_invalid_schema(&error), kind == InvalidSchema, "{code}");
                assert_eq!(connect_error(error).kind(), kind, "{code}");
            }
        }
        for (kind, error) in [
            (InvalidUrl, sqlx::Error::Configuration("wrong".into())),
            (Tls, sqlx::Error::Tls("wrong".into())),
            (Tls, std::io::Error::from(std::io::ErrorKind::InvalidData).into()),
            (InvalidSchema, sqlx::Error::Decode("wrong".into())),
            (Unreachable, no_reply()),
            (Unreachable, sqlx::Error::PoolTimedOut),
        ] {
            assert_eq!(connect_error(error).kind(), kind);
        }
    }
}
