//! The configuration: one TOML file with comments, every value checked at start.

use crate::admission::rates::Rate;
use crate::http::caller::{Host, Proxies};
use crate::sdp::CodecPolicy;
use crate::site::SiteConfig;
use crate::site::branding::{self, Branding};
use crate::site::fields::Fields;
use anyhow::{Context, Result, bail, ensure};
use plausch_daemon::log::LEVELS;
use plausch_relay_api::Codec;
use plausch_relay_api::limits::{PARTICIPANTS_PER_ROOM, PARTICIPANTS_PER_SHARD};
use serde::Deserialize;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The default file with its comments, for `print-config`.
pub const DEFAULT: &str = include_str!("../control.toml");

/// Checked settings.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Plain HTTP, for this machine and for proxies.
    pub http: Vec<SocketAddr>,
    pub proxies: Proxies,
    pub https: Vec<SocketAddr>,
    pub certificate: Certificate,
    pub link: SocketAddr,
    /// Where browsers find TURN, if not at the name by which they asked for the page.
    pub turn_host: Option<Host>,
    pub state_dir: PathBuf,
    pub limits: Limits,
    pub codecs: CodecPolicy,
    pub log_level: String,
    pub site: SiteConfig,
}

/// Where the certificate of HTTPS comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Certificate {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Made by ourselves, for these names.
    Generated {
        names: Vec<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    pub rooms: usize,
    pub participants: usize,
    pub participants_per_room: usize,
    pub sockets: usize,
    pub joins: Rate,
}

impl Config {
    /// Reads a file, or the embedded default, and what the environment replaces.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).with_context(|| {
                format!("cannot read the configuration {}; name a file that is there", path.display())
            })?,
            None => DEFAULT.to_owned(),
        };
        let config = Self::parse(&text, |name| std::env::var(name).ok());
        match file {
            Some(path) => config.with_context(|| format!("the configuration {} cannot be used", path.display())),
            None => config,
        }
    }

    /// Checks a text; `environment` gives the variables.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            anyhow::anyhow!(
                "line {line}: {}; correct it, or see `plausch-control print-config`",
                error.message().trim()
            )
        })?;
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let port = |name: &str| -> Result<Option<u16>> {
            variable(name)
                .map(|value| value.parse().with_context(|| format!("{name} must be a port number, 0 to 65535")))
                .transpose()
        };
        let mut http = file.http.listen;
        if let Some(port) = port("PLAUSCH_HTTP_PORT")? {
            http.iter_mut().for_each(|address| address.set_port(port));
        }
        let proxies = Proxies::parse(&file.http.trusted_proxies).map_err(|text| {
            anyhow::anyhow!(
                "http.trusted_proxies has {text:?}, which is no range of addresses; write it as in \"172.16.0.0/12\""
            )
        })?;
        let proxies = if file.http.behind_proxy { proxies.and_loopback() } else { proxies };
        for address in &http {
            ensure!(
                address.ip().is_loopback() || proxies.elsewhere(),
                "http.listen has {address}: plain HTTP is for this machine only, because browsers give no camera to it; \
                 use https.listen for others, or name the proxy that speaks HTTPS for us in http.trusted_proxies"
            );
        }
        let https = file.https.listen;
        ensure!(
            !(http.is_empty() && https.is_empty()),
            "http.listen and https.listen are both empty; fill one of them"
        );
        let certificate = match (file.https.certificate, file.https.key) {
            (certificate, key) if certificate.as_os_str().is_empty() && key.as_os_str().is_empty() => {
                ensure!(
                    !file.https.names.is_empty(),
                    "https.names is empty; give the name of this server, or certificate and key"
                );
                Certificate::Generated { names: file.https.names }
            }
            (certificate, key) => {
                let named = [("certificate", &certificate), ("key", &key)];
                for (name, path) in named {
                    let given = !path.as_os_str().is_empty();
                    ensure!(given, "https.{name} is empty; give both certificate and key, or none");
                }
                for (name, path) in named {
                    ensure!(path.is_file(), "https.{name} names {}, which is not there", path.display());
                }
                Certificate::Files { certificate, key }
            }
        };
        let mut link = file.link.listen;
        if let Some(port) = port("PLAUSCH_LINK_PORT")? {
            link.set_port(port);
        }
        let turn_host = match file.turn.host.as_str() {
            "" => None,
            host => Some(Host::parse(host).with_context(|| {
                format!("turn.host is \"{host}\", which is no name or address of a server; give it without a port")
            })?),
        };
        let state_dir = variable("PLAUSCH_STATE_DIR").map(PathBuf::from).unwrap_or(file.state.directory);
        let state_dir = if state_dir.as_os_str().is_empty() { default_state_dir(&variable)? } else { state_dir };
        let codecs = CodecPolicy { video: file.media.video_codecs, opus_dtx: file.media.opus_dtx };
        ensure!(!codecs.video.is_empty(), "media.video_codecs is empty; name at least one, for example \"vp8\"");
        let mut seen = HashSet::new();
        for codec in &codecs.video {
            ensure!(*codec != Codec::Opus, "media.video_codecs names opus, which is for sound; remove it");
            ensure!(seen.insert(codec), "media.video_codecs names a codec twice; remove one");
        }
        let log_level = variable("PLAUSCH_LOG_LEVEL").unwrap_or(file.log.level);
        if !LEVELS.contains(&log_level.as_str()) {
            bail!("log.level must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"");
        }
        let limits = file.limits.check()?;
        let site = SiteConfig {
            branding: Branding::check(file.branding)?,
            fields: Fields::check(file.operator)?,
            pages: (!file.pages.directory.as_os_str().is_empty()).then_some(file.pages.directory),
        };
        Ok(Self { http, proxies, https, certificate, link, turn_host, state_dir, limits, codecs, log_level, site })
    }
}

fn default_state_dir(variable: &impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Ok(PathBuf::from(state).join("plausch"));
    }
    let home = variable("HOME").context("there is no home folder; set state.directory or PLAUSCH_STATE_DIR")?;
    Ok(PathBuf::from(home).join(".local/state/plausch"))
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    http: Http,
    https: Https,
    link: Link,
    turn: Turn,
    state: State,
    limits: FileLimits,
    media: Media,
    log: Log,
    branding: branding::File,
    operator: toml::Table,
    pages: PagesFile,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    listen: Vec<SocketAddr>,
    behind_proxy: bool,
    trusted_proxies: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![([127, 0, 0, 1], 8080).into(), ([0, 0, 0, 0, 0, 0, 0, 1], 8080).into()],
            behind_proxy: false,
            trusted_proxies: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Https {
    listen: Vec<SocketAddr>,
    certificate: PathBuf,
    key: PathBuf,
    names: Vec<String>,
}

impl Default for Https {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            names: vec!["localhost".to_owned()],
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Link {
    listen: SocketAddr,
}

impl Default for Link {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 7900).into() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Turn {
    host: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PagesFile {
    directory: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct State {
    directory: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileLimits {
    rooms: usize,
    participants: usize,
    participants_per_room: usize,
    sockets: usize,
    join_burst: u32,
    joins_per_minute: u32,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self {
            rooms: 1000,
            participants: 2000,
            participants_per_room: 200,
            sockets: 4000,
            join_burst: 150,
            joins_per_minute: 300,
        }
    }
}

impl FileLimits {
    fn check(self) -> Result<Limits> {
        let within = |name: &str, value: usize, max: usize| {
            ensure!((1..=max).contains(&value), "limits.{name} is {value}; it must be between 1 and {max}");
            Ok(value)
        };
        Ok(Limits {
            rooms: within("rooms", self.rooms, 1_000_000)?,
            // 64 shards of one machine.
            participants: within("participants", self.participants, 64 * PARTICIPANTS_PER_SHARD)?,
            participants_per_room: within("participants_per_room", self.participants_per_room, PARTICIPANTS_PER_ROOM)?,
            sockets: within("sockets", self.sockets, 1_000_000)?,
            joins: Rate {
                burst: within("join_burst", self.join_burst as usize, 1_000_000)? as u32,
                per_second: within("joins_per_minute", self.joins_per_minute as usize, 1_000_000)? as f64 / 60.0,
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Media {
    video_codecs: Vec<Codec>,
    opus_dtx: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self { video_codecs: vec![Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1], opus_dtx: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Log {
    level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/x".to_owned())
    }

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text, home).unwrap_err())
    }

    #[test]
    fn the_printed_default_is_the_default() {
        let printed = Config::parse(DEFAULT, home).unwrap();
        assert_eq!(printed, Config::parse("", home).unwrap());
        assert_eq!(printed.state_dir, Path::new("/home/x/.local/state/plausch"));
    }

    #[test]
    fn the_example_of_a_city_can_be_used() {
        let text = include_str!("../examples/city.toml").replace("control/examples/", "examples/");
        let config = Config::parse(&text, home).unwrap();
        assert!(config.site.branding.logo.is_some());
        let index = "<html lang=\"en\"><head><title>x</title></head></html>";
        let site = crate::site::Site::new(&config.site, index).unwrap();
        assert_eq!(site.pages.gaps, [""; 0], "it fills in every field");
    }

    #[test]
    fn the_environment_replaces() {
        let config = Config::parse("", |name| match name {
            "PLAUSCH_HTTP_PORT" => Some("1234".into()),
            "PLAUSCH_LINK_PORT" => Some("1235".into()),
            "PLAUSCH_STATE_DIR" => Some("/s".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(config.http, ["127.0.0.1:1234".parse().unwrap(), "[::1]:1234".parse().unwrap()]);
        assert_eq!(config.link.port(), 1235);
        assert_eq!(config.state_dir, Path::new("/s"));
        let bad = |name: &str| (name == "PLAUSCH_HTTP_PORT").then(|| "http".to_owned());
        let error = format!("{:#}", Config::parse("", bad).unwrap_err());
        assert!(error.contains("PLAUSCH_HTTP_PORT must be a port number"), "{error}");
    }

    #[test]
    fn every_value_is_checked_with_a_sentence() {
        for (text, sentence) in [
            ("[http]\nlisten = [\"0.0.0.0:80\"]", "plain HTTP is for this machine only"),
            ("[http]\nlisten = []", "both empty"),
            ("[http]\ntrusted_proxies = [\"10.0.0.0/40\"]", "http.trusted_proxies has \"10.0.0.0/40\""),
            ("[http]\nlisten = [\"0.0.0.0:80\"]\ntrusted_proxies = [\"127.0.0.1\"]", "http.trusted_proxies"),
            ("[http]\nlisten = [\"nonsense\"]", "invalid socket address"),
            ("[htttp]", "unknown field `htttp`"),
            ("[limits]\nroooms = 1", "unknown field `roooms`"),
            ("[limits]\nrooms = 0", "limits.rooms is 0; it must be between 1 and 1000000"),
            ("[limits]\nparticipants_per_room = 1025", "limits.participants_per_room is 1025"),
            ("[https]\ncertificate = \"/nowhere\"", "https.key is empty"),
            (
                "[https]\nlisten = [\"0.0.0.0:443\"]\ncertificate = \"/nowhere\"\nkey = \"/nowhere\"",
                "names /nowhere, which is not there",
            ),
            ("[https]\ncertificate = \"/nowhere\"\nkey = \"/nowhere\"", "names /nowhere, which is not there"),
            ("[https]\nnames = []", "https.names is empty"),
            ("[turn]\nhost = \"turn.example:3478\"", "turn.host is \"turn.example:3478\""),
            ("[turn]\nhost = \"a b\"", "no name or address"),
            ("[media]\nvideo_codecs = []", "media.video_codecs is empty"),
            ("[media]\nvideo_codecs = [\"vp8\", \"vp8\"]", "twice"),
            ("[media]\nvideo_codecs = [\"opus\"]", "names opus"),
            ("[media]\nvideo_codecs = [\"theora\"]", "unknown variant `theora`"),
            ("[branding]\naccent = \"#ffcc00\"", "branding.accent #ffcc00 has a contrast of"),
            ("[operator]\nnmae = \"x\"", "operator.nmae is no field"),
            ("[log]\nlevel = \"loud\"", "log.level must be"),
            ("# fine\n[http]\nlisten = 1", "line 3: invalid type"),
            ("[", "line 1: "),
        ] {
            assert!(error(text).contains(sentence), "{text}: {}", error(text));
        }
        assert!(format!("{:#}", Config::parse("", |_| None).unwrap_err()).contains("PLAUSCH_STATE_DIR"));
    }
}
