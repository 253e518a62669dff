use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use crate::failure::Failure;
use crate::text::safe_start;

/// Where deliveries go: the parts of a URL.
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
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        Self::try_parse(url).map_err(|what| {
            // A query may hold a token and a user's name a password; neither has to be shown to find the mistake.
            let stop: &[char] = if url.contains('@') { &[':', '?', '@'] } else { &['?'] };
            let shown = safe_start(url.split(stop).next().unwrap_or_default(), 200);
            let like = "http://127.0.0.1:3000/webhooks/roomz";
            Failure::usage(format!("the URL \"{shown}\" {what}; one looks like {like}"))
        })
    }

    fn try_parse(url: &str) -> Result<Self, String> {
        if !url.contains("://") {
            return Err("has no scheme: put http:// or https:// in front".to_owned());
        }
        let uri: Uri = url.parse().map_err(|error| format!("cannot be read: {error}"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("has another scheme than http and https".to_owned()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| "names no host".to_owned())?;
        if authority.as_str().contains('@') {
            return Err("holds a user or a password, which ROOMZ does not send: remove it".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(0) => return Err("has the port 0, on which nothing listens".to_owned()),
            Some(port) => port,
            None if has_port => return Err("has a port that is no number up to 65535".to_owned()),
            None if https => 443,
            None => 80,
        };
        let header = HeaderValue::from_str(authority.as_str()).map_err(|_| "names no host".to_owned())?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { https, host, port, authority: header, path })
    }

    /// Host and port, to tell a person where it was tried.
    pub(crate) fn place(&self) -> String {
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
    fn takes_hosts_addresses_ports_and_queries() {
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
        assert_eq!(Target::parse("http://[::1]:8080").unwrap().place(), "[::1]:8080");
    }

    #[test]
    fn says_what_is_wrong_with_a_url_and_shows_no_password() {
        for (url, what) in [
            ("localhost:3000/x", "has no scheme"),
            ("ftp://h/x", "has another scheme"),
            ("http://", "cannot be read"),
            ("http://h:99999/", "no number up to 65535"),
            ("http://h:0/", "port 0"),
            ("http://a b/", "cannot be read"),
            ("http://user:canary@h/", "holds a user"),
            ("ftp://h/?token=canary", "another scheme"),
            ("", "has no scheme"),
        ] {
            let text = Target::parse(url).unwrap_err().text().to_owned();
            assert!(text.contains(what) && !text.contains("canary"), "{url}: {text}");
        }
    }
}
