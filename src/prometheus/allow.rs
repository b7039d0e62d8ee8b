//! Which Prometheus servers Kanaries may name: the list of `--prometheus-allow`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Name, Resolve, Resolving},
};

/// The servers that may be queried. The default allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow(Arc<[Entry]>);

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// A host, at one port or at all, with all paths.
    Host { host: String, port: Option<u16> },
    /// Addresses whose first bits are these.
    Network { first: IpAddr, bits: u32 },
    /// A path and everything below it. An empty path is the whole server.
    Prefix {
        scheme: String,
        host: String,
        port: Option<u16>,
        path: String,
    },
}

/// How a server is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whatever its name resolves to.
    ByName,
    /// If every address that its name resolves to is in an allowed network.
    ByAddress,
}

impl FromIterator<Allow> for Allow {
    fn from_iter<I: IntoIterator<Item = Allow>>(all: I) -> Self {
        let entries = all.into_iter().flat_map(|allow| allow.0.to_vec());
        Self(entries.collect())
    }
}

impl FromStr for Allow {
    type Err = String;

    /// Parses one entry, or none from an empty text.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let entry = entry(text).ok_or_else(|| {
            "write a host like prometheus.monitoring or prometheus.monitoring:9090, a network like 10.0.0.0/8, or a URL \
             like https://metrics.example.com/team-a"
                .to_owned()
        });
        Ok(Self(Arc::new([entry?])))
    }
}

fn entry(text: &str) -> Option<Entry> {
    if text.contains(['@', '?', '#', '\\', '%', '*']) {
        return None;
    }
    if text.contains("://") {
        let url = Url::parse(text).ok()?;
        let (host, path) = (host(&url)?, url.path().trim_end_matches('/').to_owned());
        return ["http", "https"].contains(&url.scheme()).then(|| Entry::Prefix {
            scheme: url.scheme().to_owned(),
            host,
            port: url.port_or_known_default(),
            path,
        });
    }
    if let Some((first, bits)) = text.split_once('/') {
        let (first, bits): (IpAddr, u32) = (first.parse().ok()?, bits.parse().ok()?);
        return (bits <= width(first)).then_some(Entry::Network { first, bits });
    }
    if let Ok(first) = text.parse::<IpAddr>() {
        let first = first.to_canonical();
        return Some(Entry::Network {
            first,
            bits: width(first),
        });
    }
    let url = Url::parse(&format!("http://{text}/")).ok()?;
    // The URL leaves out the port 80.
    let port = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let port = port
        .map(|(_, port)| port.parse().ok())
        .map_or(Some(None), |port| port.map(Some))?;
    (url.path() == "/").then_some(Entry::Host {
        host: host(&url)?,
        port,
    })
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The host of a URL in one form: an address without brackets, or a name in lower case without the dot of the root.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    if let Some(address) = address(host) {
        return Some(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// An address in a URL. One of IPv4 within IPv6 counts as one of IPv4.
fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn is_within(address: IpAddr, first: IpAddr, bits: u32) -> bool {
    let differ = match (address.to_canonical(), first) {
        (IpAddr::V4(address), IpAddr::V4(first)) => {
            u128::from(u32::from(address) ^ u32::from(first)).checked_shr(32 - bits.min(32))
        }
        (IpAddr::V6(address), IpAddr::V6(first)) => (u128::from(address) ^ u128::from(first)).checked_shr(128 - bits),
        _ => return false,
    };
    // Without bits to compare, the shift is as wide as the number.
    differ.unwrap_or_default() == 0
}

/// Whether a path is `prefix` or below it. A path that a server could read in another way is not.
fn is_below(path: &str, prefix: &str) -> bool {
    if prefix.is_empty() {
        return true;
    }
    let is_plain = !path.contains(['%', ';', '\\']) && !path.contains("//");
    let rest = path.strip_prefix(prefix);
    is_plain && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Allow {
    /// Whether a server may be queried.
    ///
    /// # Errors
    ///
    /// It may not. The message is for the author of the Kanary.
    pub fn check(&self, url: &str) -> Result<Allowed, String> {
        if self.0.is_empty() {
            return Ok(Allowed::ByName);
        }
        let refused = || {
            Err(format!(
                "{url} is not allowed by --prometheus-allow: use an allowed server, or ask the operator of Kanary to allow it"
            ))
        };
        let Ok(asked) = Url::parse(url) else { return refused() };
        let Some(name) = host(&asked) else { return refused() };
        if self.0.iter().any(|entry| entry.names(&asked, &name)) {
            return Ok(Allowed::ByName);
        }
        match address(&name) {
            Some(address) if self.permits(address) => Ok(Allowed::ByName),
            None if self.0.iter().any(|entry| matches!(entry, Entry::Network { .. })) => Ok(Allowed::ByAddress),
            _ => refused(),
        }
    }

    /// Whether an address is in an allowed network.
    fn permits(&self, address: IpAddr) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Network { first, bits } => is_within(address, *first, *bits),
            _ => false,
        })
    }
}

impl Entry {
    /// Whether the entry allows a URL by its text.
    fn names(&self, asked: &Url, name: &str) -> bool {
        let asked_port = asked.port_or_known_default();
        match self {
            Self::Host { host, port } => host == name && port.is_none_or(|port| asked_port == Some(port)),
            Self::Network { .. } => false,
            Self::Prefix {
                scheme,
                host,
                port,
                path,
            } => scheme == asked.scheme() && host == name && *port == asked_port && is_below(asked.path(), path),
        }
    }
}

/// Resolves names and refuses those with an address outside the allowed networks. The connection is made to the address that
/// was checked.
pub(super) struct Guard(Allow);

impl Guard {
    pub(super) fn new(allow: &Allow) -> Self {
        Self(allow.clone())
    }

    fn check(&self, name: &str, found: &[SocketAddr]) -> Result<(), NotAllowed> {
        let outside = found
            .iter()
            .map(SocketAddr::ip)
            .find(|address| !self.0.permits(*address));
        outside.map_or(Ok(()), |address| {
            Err(NotAllowed {
                name: name.to_owned(),
                address,
            })
        })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Self(self.0.clone());
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            guard.check(name.as_str(), &found)?;
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// A name has an address that is not allowed.
#[derive(Debug)]
pub(super) struct NotAllowed {
    name: String,
    address: IpAddr,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address } = self;
        write!(
            f,
            "{name} has the address {address}, which is in no network of --prometheus-allow: use an allowed server, or ask the \
             operator of Kanary to allow it"
        )
    }
}

impl std::error::Error for NotAllowed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(entries: &[&str]) -> Allow {
        entries.iter().map(|entry| entry.parse::<Allow>().unwrap()).collect()
    }

    #[test]
    fn an_empty_list_allows_all() {
        for list in [allow(&[]), allow(&["", " "])] {
            assert_eq!(list.check("http://anything:1/x"), Ok(Allowed::ByName));
        }
    }

    #[test]
    fn hosts_networks_and_prefixes_allow_what_is_theirs() {
        let list = allow(&[
            "Prometheus.Monitoring.",
            "thanos:9090",
            "[2001:db8::1]:9090",
            "10.1.0.0/16",
            "192.168.7.7",
            "fd00::/8",
            "https://metrics.example.com/team-a/",
            "http://all.example.com",
        ]);
        for url in [
            "http://prometheus.monitoring:9090",
            "https://prometheus.monitoring/prefix",
            "http://prometheus.monitoring.:9090",
            "http://thanos:9090/x",
            "http://[2001:db8::1]:9090",
            "http://10.1.255.255:9090",
            "http://[::ffff:10.1.2.3]",
            "http://192.168.7.7",
            "http://[fd12::1]:9090",
            "https://metrics.example.com/team-a",
            "https://metrics.example.com:443/team-a/prom",
            "http://all.example.com/x/y",
        ] {
            assert_eq!(list.check(url), Ok(Allowed::ByName), "{url}");
        }
        for url in [
            "http://10.2.0.1",
            "http://[::ffff:10.2.0.1]",
            "http://192.168.7.8",
            "http://[fe80::1]",
            "http://[2001:db8::1]",
            "http://0x0a020001",
            "http://169.254.169.254",
        ] {
            let why = list.check(url).unwrap_err();
            let expected = "is not allowed by --prometheus-allow: use an allowed server, or ask the operator";
            assert!(why.starts_with(&format!("{url} {expected}")), "{why}");
        }
    }

    #[test]
    fn names_that_resemble_an_allowed_one_are_not_allowed_by_it() {
        let entries = [
            "https://metrics.example.com/team-a",
            "http://all.example.com",
            "prometheus.monitoring",
            "thanos:9090",
        ];
        let named = allow(&entries);
        let both = allow(&[&entries[..], &["10.0.0.0/8"]].concat());
        for url in [
            "http://prometheus.monitoring.evil.example.com",
            "http://xprometheus.monitoring",
            "http://thanos:9091",
            "http://thanos",
            "http://metrics.example.com/team-a",
            "https://metrics.example.com/team-abc",
            "https://metrics.example.com/team-a/..%2fteam-b",
            "https://metrics.example.com/team-a//x",
            "https://metrics.example.com/team-a/../team-b",
            "https://metrics.example.com/TEAM-A",
            "https://metrics.example.com:8443/team-a",
            "https://metrics.example.com",
            "http://all.example.com:8080",
            "https://all.example.com",
        ] {
            // It may resolve to an allowed address.
            assert_eq!(both.check(url), Ok(Allowed::ByAddress), "{url}");
            assert!(named.check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_name_is_refused_if_one_of_its_addresses_is_outside_the_networks() {
        let guard = Guard::new(&allow(&["10.0.0.0/8", "prometheus"]));
        let addresses =
            |all: &[&str]| -> Vec<_> { all.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect() };
        assert!(guard.check("a", &addresses(&["10.1.1.1", "::ffff:10.2.2.2"])).is_ok());
        let why = guard
            .check("a", &addresses(&["10.1.1.1", "127.0.0.1"]))
            .unwrap_err()
            .to_string();
        assert!(
            why.starts_with("a has the address 127.0.0.1, which is in no network of --prometheus-allow"),
            "{why}"
        );
    }

    #[test]
    fn networks_may_be_of_any_length() {
        for (network, address, is_in) in [
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.0", false),
            ("10.0.0.1/31", "10.0.0.0", true),
            ("fd00::1/128", "fd00::1", true),
        ] {
            assert_eq!(
                allow(&[network]).permits(address.parse().unwrap()),
                is_in,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for entry in [
            "10.0.0.0/33",
            "::/129",
            "10.0/8",
            "me@host",
            "http://me:pw@host",
            "host/path",
            "ftp://host",
            "http://host?x",
            "*.example.com",
            "host:port",
            "a b",
        ] {
            let why = entry.parse::<Allow>().expect_err(entry);
            assert!(why.contains("a network like 10.0.0.0/8"), "{why}");
        }
    }
}
