//! The functions over texts: what begins a text, what lies under a directory, the host of a URL.
//!
//! They serve lists of what is allowed, so they refuse what could be read in more than one way. What a
//! name leads to (a link, an address) is not looked up.

use serde_json::Value;

use super::EvaluationFault;

/// A function over texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// `text.startsWith(text)`.
    StartsWith,
    /// `under(path, directory)`.
    Under,
    /// `host(url)`.
    Host,
}

impl Function {
    /// Its value for these texts.
    pub(super) fn of(self, arguments: &[&Value]) -> Result<Value, EvaluationFault> {
        let texts: Option<Vec<&str>> = arguments.iter().map(|one| one.as_str()).collect();
        match (self, texts.as_deref()) {
            (Self::StartsWith, Some([text, start])) => Ok(text.starts_with(start).into()),
            (Self::Under, Some([path, directory])) => {
                let under = is_under(path, directory).ok_or_else(|| EvaluationFault::Types {
                    rule: "under() takes paths that stay below where they begin",
                    found: "another text".to_owned(),
                })?;
                Ok(under.into())
            }
            (Self::Host, Some([url])) => {
                let host = host(url).ok_or_else(|| EvaluationFault::Types {
                    rule: "host() takes a URL with a plain host",
                    found: "another text".to_owned(),
                })?;
                Ok(host.into())
            }
            (Self::StartsWith | Self::Under | Self::Host, _) => {
                let rule = "startsWith(), under() and host() take texts";
                Err(EvaluationFault::types(rule, arguments))
            }
        }
    }
}

/// The parts of a path without `.` and `..`, and whether it is absolute; none where it leads out of
/// where it begins, or has signs that another system reads otherwise.
fn parts(path: &str) -> Option<(bool, Vec<&str>)> {
    if path.is_empty() || path.contains(['\\', '\0']) {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some((path.starts_with('/'), parts))
}

/// Whether a path is a directory, or lies in it at any depth. None where that cannot be told: it is
/// neither under it nor not.
fn is_under(path: &str, directory: &str) -> Option<bool> {
    let (absolute, path) = parts(path)?;
    let (from_root, directory) = parts(directory)?;
    Some(absolute == from_root && path.starts_with(&directory))
}

/// The host of a URL in lower case, without its port and a full stop at its end. None for a URL with
/// a user, or with a host in which readers of URLs differ.
fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let mut letters = scheme.chars();
    let named = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let plain = !url.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control());
    if !named || !plain {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = if let Some(inner) = authority.strip_prefix('[') {
        let (address, port) = inner.split_once(']')?;
        let hex = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        let known = !address.is_empty() && address.chars().all(hex);
        (known.then(|| format!("[{address}]"))?, port)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, port) = authority.split_at(end);
        let host = host.strip_suffix('.').unwrap_or(host);
        let sign = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let known = !host.is_empty() && host.chars().all(sign);
        (known.then(|| host.to_owned())?, port)
    };
    let digits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.chars().all(|c| c.is_ascii_digit()));
    digits.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_under_a_directory_as_far_as_its_text_tells() {
        for (path, directory, under) in [
            ("/srv/a", "/srv", Some(true)),
            ("/srv", "/srv/", Some(true)),
            ("/srv/./a/../b//c", "/srv", Some(true)),
            ("/srv/../etc/passwd", "/srv", Some(false)),
            ("/srv/../../srv/a", "/srv", None),
            ("/../etc/passwd", "/etc", None),
            ("/srvother", "/srv", Some(false)),
            ("srv/a", "/srv", Some(false)),
            ("a/b", "a", Some(true)),
            ("a/../../a/b", "a", None),
            ("anything", ".", Some(true)),
            ("../x", ".", None),
            ("", ".", None),
            ("/srv/a\\..\\b", "/srv", None),
            ("/srv/a\0", "/srv", None),
            ("~/x", "/", Some(false)),
        ] {
            assert_eq!(is_under(path, directory), under, "{path} {directory}");
        }
    }

    #[test]
    fn a_host_is_plain_or_none() {
        for (url, expected) in [
            ("https://Example.COM/a?b#c", Some("example.com")),
            ("https://example.com:8443", Some("example.com")),
            ("https://example.com.:443/", Some("example.com")),
            ("http://[2001:DB8::1]:80/", Some("[2001:db8::1]")),
            ("ws+unix://a_b.c", Some("a_b.c")),
            ("https://example.com@evil.org/", None),
            ("https://evil.org\\@example.com/", None),
            ("https://example.com\n.evil.org/", None),
            ("https://ex%61mple.com/", None),
            ("https://ex\u{e4}mple.com/", None),
            ("https://example.com:80x/", None),
            ("https:///a", None),
            ("//example.com/a", None),
            ("example.com", None),
            ("1http://example.com", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }
}
