use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The URL parameters that sqlx knows. It logs the value of any other parameter, which may be a password.
const PARAMETERS: &str = "sslmode ssl-mode sslrootcert ssl-root-cert ssl-ca sslcert ssl-cert sslkey ssl-key \
                          statement-cache-capacity host hostaddr port dbname user password application_name options";

/// Parameters of providers and other drivers that change nothing for the store. They are ignored with a log
/// line.
const IGNORED_PARAMETERS: &str = "channel_binding connect_timeout keepalives keepalives_count keepalives_idle \
                                  keepalives_interval pgbouncer tcp_user_timeout";

/// Parameters of providers and other drivers that the store cannot honour. They are named in the error. Any
/// other parameter is not named, because it could be a part of a password that contains a question mark.
const REJECTED_PARAMETERS: &str = "client_encoding connection_limit gssencmode load_balance_hosts passfile pool_timeout requiressl \
                                   schema service socket_timeout ssl_min_protocol_version sslcrl target_session_attrs";

/// Returns the URL without the parameters that are ignored.
pub(crate) fn check_parameters(url: &str) -> Result<String, ConnectError> {
    const ADVICE: &str = "use sslmode, sslrootcert, sslcert, sslkey, statement-cache-capacity, host, hostaddr, port, dbname, user, \
                          password, application_name or options";
    let (start, query) = url.split_once('?').unwrap_or((url, ""));
    // Otherwise a password could be a part of the database's name, which the server repeats in its error.
    let has_host = start.starts_with("postgres://") || start.starts_with("postgresql://");
    if !has_host || start.splitn(4, '/').nth(3).is_some_and(|name| name.contains('@')) {
        let message = "invalid PostgreSQL URL: use postgres://USER:PASSWORD@HOST/DATABASE, and write `/` as %2F and `@` as %40";
        return Err(ConnectError::new(ConnectErrorKind::InvalidUrl, message));
    }
    // sqlx ignores a fragment.
    let query = query.split('#').next().unwrap_or_default();
    let is_in = |names: &str, name: &str| names.split_whitespace().any(|one| one == name);
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // `connect` checks that the server accepts writes, so these values change nothing.
        let is_writable = name == "target_session_attrs" && ["any", "read-write"].contains(&value);
        if is_in(IGNORED_PARAMETERS, name) || is_writable {
            tracing::warn!(parameter = name, "parameter of the PostgreSQL URL ignored");
        } else if is_in(PARAMETERS, name) || name.starts_with("options[") {
            kept.push(pair);
        } else {
            let name = if is_in(REJECTED_PARAMETERS, name) { format!(" `{name}`") } else { String::new() };
            let message = format!(
                "invalid PostgreSQL URL: unsupported parameter{name}; {ADVICE}, and write `?` in a password as %3F"
            );
            return Err(ConnectError::new(ConnectErrorKind::InvalidUrl, message));
        }
    }
    Ok(if kept.is_empty() { start.to_owned() } else { format!("{start}?{}", kept.join("&")) })
}
