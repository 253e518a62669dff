use std::net::{IpAddr, SocketAddr};

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use crate::error::CliError;
use crate::escape::escape_truncated;

/// The URL of the receiver, in parts.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) https: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the header `Host`.
    pub(crate) authority: HeaderValue,
    pub(crate) path: PathAndQuery,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, CliError> {
        Self::try_parse(url).map_err(|problem| {
            // The message shows no query and no user information: they may contain a token or a password.
            let end: &[char] = if url.contains('@') { &[':', '?', '@'] } else { &['?'] };
            let start = escape_truncated(url.split(end).next().unwrap_or_default(), 200);
            CliError::usage(format!(
                "invalid URL \"{start}\": {problem}; example: http://127.0.0.1:3000/webhooks/roomz"
            ))
        })
    }

    fn try_parse(url: &str) -> Result<Self, String> {
        if !url.contains("://") {
            return Err("no scheme, add http:// or https://".to_owned());
        }
        if let Some(character) = url.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "it contains the character {character:?}; remove it, or encode it, such as %20"
            ));
        }
        if url.split_once("://").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(['/', '?', '#']))
        {
            return Err("no host".to_owned());
        }
        let uri: Uri = url
            .parse()
            .map_err(|_| "it contains a character that a host or a path cannot contain".to_owned())?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the scheme is not http or https".to_owned()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| "no host".to_owned())?;
        if authority.as_str().contains('@') {
            return Err("it contains a user or a password, which ROOMZ does not send; remove it".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(0) => return Err("port 0 cannot be connected to".to_owned()),
            Some(port) => port,
            None if has_port => return Err("the port is not a number from 1 to 65535".to_owned()),
            None if https => 443,
            None => 80,
        };
        let header = HeaderValue::from_str(authority.as_str()).map_err(|_| "no valid host".to_owned())?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { https, host, port, authority: header, path })
    }

    /// Whether the host and the port lead to a listener on this address, as far as the URL shows it.
    pub(crate) fn is_local_address(&self, address: SocketAddr) -> bool {
        let listener = address.ip();
        let is_same_host = match self.host.parse::<IpAddr>() {
            Ok(host) => host == listener || (listener.is_unspecified() && host.is_loopback()),
            Err(_) => self.host == "localhost" && (listener.is_loopback() || listener.is_unspecified()),
        };
        is_same_host && self.port == address.port()
    }

    /// Host and port for messages.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hosts_addresses_ports_and_queries() {
        for (url, https, host, port, path) in [
            ("http://localhost:3000/webhooks/roomz", false, "localhost", 3000, "/webhooks/roomz"),
            ("https://example.com", true, "example.com", 443, "/"),
            ("http://[::1]:8080/a?b=c", false, "::1", 8080, "/a?b=c"),
            ("HTTP://example.com/", false, "example.com", 80, "/"),
        ] {
            let target = Target::parse(url).unwrap();
            let found = (target.https, target.host.as_str(), target.port, target.path.as_str());
            assert_eq!(found, (https, host, port, path));
        }
        assert_eq!(Target::parse("http://[::1]:8080").unwrap().address(), "[::1]:8080");
    }

    #[test]
    fn detects_own_address() {
        for (url, address, is_local) in [
            ("http://localhost:3000/", "127.0.0.1:3000", true),
            ("http://127.0.0.1:3000/", "0.0.0.0:3000", true),
            ("http://[::1]:3000/", "[::1]:3000", true),
            ("http://localhost:3001/", "127.0.0.1:3000", false),
            ("http://192.0.2.1:3000/", "127.0.0.1:3000", false),
            ("http://127.0.0.1:3000/", "[::1]:3000", false),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.is_local_address(address.parse().unwrap()), is_local, "{url} {address}");
        }
    }

    #[test]
    fn url_error_names_problem_but_no_password() {
        for (url, problem) in [
            ("localhost:3000/x", "no scheme"),
            ("ftp://h/x", "the scheme is not"),
            ("http://", "no host"),
            ("http:///x", "no host"),
            ("http://[::1", "a host or a path cannot contain"),
            ("http://h:99999/", "not a number from 1 to 65535"),
            ("http://h:0/", "port 0"),
            ("http://a b/", "contains the character ' '"),
            ("http://%zz/", "a host or a path cannot contain"),
            ("http://user:canary@h/", "contains a user"),
            ("ftp://h/?token=canary", "the scheme is not"),
            ("", "no scheme"),
        ] {
            let message = Target::parse(url).unwrap_err().message().to_owned();
            assert!(message.contains(problem) && !message.contains("canary"), "{url}: {message}");
        }
    }
}
