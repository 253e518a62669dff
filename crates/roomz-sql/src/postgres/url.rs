use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The URL parameters that sqlx knows. It logs the value of any other parameter, which may be a password.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters of providers and other drivers that change nothing for the store. They are ignored with a log line.
const IGNORED_PARAMETERS: &[&str] = &[
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "pgbouncer",
    "tcp_user_timeout",
];

/// Parameters of providers and other drivers that the store cannot honour, and what to use instead. They are named in the
/// error. Any other parameter is not named, because it could be a part of a password that contains a question mark.
const REJECTED_PARAMETERS: &[(&str, &str)] = &[
    ("client_encoding", "remove it"),
    ("connection_limit", "use `with_max_connections`"),
    ("gssencmode", "remove it"),
    ("load_balance_hosts", "use one host"),
    ("passfile", "put the password into the URL"),
    ("pool_timeout", "use `with_response_timeout`"),
    ("requiressl", "use sslmode=require"),
    ("schema", "use options=-c%20search_path%3DSCHEMA"),
    ("service", "put host, port, user and database into the URL"),
    ("socket_timeout", "use `with_response_timeout`"),
    ("sslcrl", "remove it"),
    ("ssl_min_protocol_version", "remove it"),
    ("target_session_attrs", "use the address of the primary server"),
];

/// Returns the names and values of a URL's parameters.
fn parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Returns the URL without the parameters that are ignored.
pub(crate) fn check_parameters(url: &str) -> Result<String, ConnectError> {
    let invalid = |message: String| ConnectError::new(ConnectErrorKind::InvalidUrl, message);
    let mut url = url.to_owned();
    for (name, value) in parameters(&url.clone()) {
        // `connect` checks that the server accepts writes, so these values change nothing.
        let is_writable = name == "target_session_attrs" && ["any", "read-write"].contains(&value);
        if IGNORED_PARAMETERS.contains(&name) || is_writable {
            tracing::warn!(parameter = name, "parameter of the PostgreSQL URL ignored");
            remove_parameter(&mut url, name);
        } else if let Some((name, advice)) =
            REJECTED_PARAMETERS.iter().find(|(rejected, _)| *rejected == name)
        {
            return Err(invalid(format!("invalid PostgreSQL URL: unsupported parameter `{name}`; {advice}")));
        } else if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
            let message = "invalid PostgreSQL URL: unsupported parameter; use sslmode, sslrootcert, sslcert, sslkey, \
                           statement-cache-capacity, host, hostaddr, port, dbname, user, password, application_name or \
                           options, and write `?` in a password as %3F";
            return Err(invalid(message.to_owned()));
        }
    }
    Ok(url)
}

fn remove_parameter(url: &mut String, name: &str) {
    let Some((start, query)) = url.split_once('?') else { return };
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, rest)| (query, Some(rest)));
    let kept: Vec<_> = query.split('&').filter(|pair| pair.split('=').next() != Some(name)).collect();
    let fragment = fragment.map(|rest| format!("#{rest}")).unwrap_or_default();
    *url = format!("{start}?{}{fragment}", kept.join("&"));
}
