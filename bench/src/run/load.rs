//! What all kinds of load have in common: the server, the rooms, and who sends what in them.

use crate::ground::{Process, open_files_limits};
use crate::report::{LimitArguments, Outputs};
use crate::run::crowd::Crowd;
use crate::run::permission::{check_target, is_of_this_machine};
use crate::run::target::Target;
use anyhow::{anyhow, bail};
use clap::Args;
use plausch_client::turn::TurnServer;
use plausch_client::{Entry, Trust};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Picture data in a full packet of ours, and packets of sound of one speaker.
const PACKET_BYTES: u64 = 1_068;
const AUDIO_PACKETS_PER_SECOND: u64 = 50;

/// Flattened into the arguments of each subcommand.
#[derive(Args)]
pub(crate) struct LoadArguments {
    /// Address of the server: http://host:port or https://host.
    #[arg(long, default_value = "http://localhost:8080")]
    pub(crate) url: String,
    /// PEM file of the certificates to believe behind https instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How participants come into their rooms; `janus` takes the address of its WebSockets as http://host:port.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) via: Entry,
    /// Rooms that are used at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rooms: u32,
    /// Participants of each room who send, and receive all others who do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) publishers: u16,
    /// Participants of each room who only receive.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1023))]
    pub(crate) viewers: u16,
    /// Others that each participant sees and hears at once [default: all, which may be 50]. Nobody speaks then, so that
    /// everybody stays in their tiles.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=50), conflicts_with = "layers")]
    pub(crate) tiles: Option<u16>,
    /// Viewers of each room who take what comes for them; for the others it is counted and thrown away by the kernel, so
    /// that the bench can have many more of them than it has CPUs for [default: all].
    #[arg(long)]
    listeners: Option<u16>,
    /// The same for whole rooms: those in which anybody takes what comes.
    #[arg(long)]
    listening_rooms: Option<u32>,
    /// Bitrate of each picture; 0 sends none.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    pub(crate) video_kbps: u32,
    /// Frames per second of each picture.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub(crate) fps: u32,
    /// Simulcast layers of each picture: all of its width and height, a half and a quarter, with a quarter of the
    /// bitrate each. Everybody gets one of them; which, is the server's choice.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) layers: u8,
    /// Whether publishers send sound (50 packets per second). In each room one has the word at a time.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) audio: bool,
    /// Leave packets of sound out where nobody speaks, as Opus does if told so.
    #[arg(long)]
    pub(crate) dtx: bool,
    /// Who speaks when follows from this number.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Address of a TURN server through which all media goes, for runs of up to five minutes.
    #[arg(long, value_name = "IP:PORT", requires = "turn_user", requires = "turn_password")]
    pub(crate) turn: Option<SocketAddr>,
    #[arg(long, requires = "turn")]
    turn_user: Option<String>,
    #[arg(long, requires = "turn")]
    turn_password: Option<String>,
    /// Process of the relay; without it, the one that receives at the media port.
    #[arg(long, value_name = "PID")]
    relay_pid: Option<u32>,
    /// Allow a server on another machine: only with the consent of those who run it.
    #[arg(long)]
    allow_remote: bool,
    /// Packets that a server on another machine may have to forward in a second.
    #[arg(long, default_value_t = 2_500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

impl LoadArguments {
    /// The server that they name.
    pub(crate) fn target(&self) -> Target {
        Target {
            url: self.url.clone(),
            entry: self.via,
            trust: self.trust(),
            server: None,
            metrics: self.metrics(),
            processes: Vec::new(),
            cpus: Vec::new(),
            receives_itself: false,
            device: None,
        }
    }

    fn trust(&self) -> Trust {
        self.ca.clone().map_or(Trust::System, Trust::File)
    }

    /// Where control and relay tell what they count; other servers are not asked.
    fn metrics(&self) -> Vec<(String, Trust)> {
        let control = (self.via != Entry::Janus).then(|| (self.url.clone(), self.trust()));
        let relay = self.limits.relay_metrics.clone().map(|url| (url, Trust::System));
        control.into_iter().chain(relay).collect()
    }

    /// Viewers of each room who take what comes for them.
    pub(crate) fn listeners(&self) -> u16 {
        self.listeners.unwrap_or(u16::MAX)
    }

    /// Rooms in which anybody does.
    pub(crate) fn listening_rooms(&self) -> u32 {
        self.listening_rooms.unwrap_or(u32::MAX)
    }

    /// The server that all media goes through, if any.
    pub(crate) fn turn_server(&self) -> Option<TurnServer> {
        let (user, password) = (self.turn_user.clone()?, self.turn_password.clone()?);
        Some(TurnServer::new(self.turn?, user, password))
    }

    /// Who does what, for the head of a report.
    pub(crate) fn scenario(&self, command: &str) -> String {
        let what = match (self.video_kbps, self.audio) {
            (0, _) => "audio".to_owned(),
            (kbps, true) => format!("{kbps} kbit/s video at {} fps + audio", self.fps),
            (kbps, false) => format!("{kbps} kbit/s video at {} fps", self.fps),
        };
        let what = match self.layers {
            1 => what,
            layers => format!("{what}, {layers} layers"),
        };
        let what = if self.turn.is_some() { format!("{what}, through TURN") } else { what };
        let what = match self.tiles {
            Some(tiles) => format!("{tiles} tiles each, {what}"),
            None => what,
        };
        let what = match self.listeners.filter(|listeners| *listeners < self.viewers) {
            Some(listeners) => format!("{what}, {listeners} looked at"),
            None => what,
        };
        let what = match self.listening_rooms.filter(|listening| *listening < self.rooms) {
            Some(rooms) => format!("{what}, {rooms} rooms looked at"),
            None => what,
        };
        let (rooms, publishers, viewers) = (self.rooms, self.publishers, self.viewers);
        match rooms {
            1 => format!("{command}: {publishers} → {viewers}, {what}"),
            _ => format!("{command}: {rooms} rooms of {publishers} → {viewers}, {what}"),
        }
    }

    /// Refuses what cannot work before anybody is bothered with it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.outputs.check()?;
        let remote = check_target(&self.url, self.allow_remote).map_err(|error| anyhow!(error))?;
        let turn = self.turn.filter(|turn| !is_of_this_machine(turn.ip()));
        if let Some(turn) = turn.filter(|_| !self.allow_remote) {
            bail!("{turn} is not this machine; give --allow-remote if you may put load on it");
        }
        self.check_rooms()?;
        if remote || turn.is_some() { self.check_rate() } else { Ok(()) }
    }

    /// Other machines get no more than was asked for in so many words.
    fn check_rate(&self) -> anyhow::Result<()> {
        let wanted = self.packets_per_second();
        match wanted <= u64::from(self.rate) {
            true => Ok(()),
            false => bail!(
                "another machine would have to forward about {wanted} packets in a second, and {} are allowed; give \
                 --rate {wanted} if its operators agree, or fewer participants",
                self.rate
            ),
        }
    }

    /// About how many packets the server has to forward in a second.
    fn packets_per_second(&self) -> u64 {
        // Half a packet of each frame is filled on average.
        let video = match self.video_kbps {
            0 => 0,
            kbps => u64::from(kbps) * 125 / PACKET_BYTES + u64::from(self.fps) / 2,
        };
        let audio = if self.audio { AUDIO_PACKETS_PER_SECOND } else { 0 };
        let (publishers, viewers) = (u64::from(self.publishers), u64::from(self.viewers));
        let seen = |others: u64| self.tiles.map_or(others, |tiles| others.min(tiles.into()));
        let streams = publishers * seen(publishers - 1) + viewers * seen(publishers);
        u64::from(self.rooms) * streams * (video + audio)
    }

    /// The same for a server that the run starts itself.
    pub(crate) fn check_rooms(&self) -> anyhow::Result<()> {
        self.outputs.check()?;
        if self.video_kbps == 0 && !self.audio {
            bail!("with neither picture nor sound there is nothing to forward; give --video-kbps or --audio true");
        }
        if self.viewers == 0 && self.publishers < 2 {
            bail!("nobody would receive anything; give --viewers, or at least two --publishers");
        }
        if self.tiles.is_none() && self.publishers > 51 {
            bail!("nobody can see more than 50 others at once; give --tiles");
        }
        if self.listening_rooms == Some(0) || (self.listeners == Some(0) && self.publishers < 2) {
            bail!("nobody would look at anything; give --listeners and --listening-rooms of at least 1");
        }
        if self.layers > 1 && self.video_kbps == 0 {
            bail!("only pictures have layers; give --video-kbps");
        }
        // A WebSocket and a UDP socket each, or UDP sockets to send and for each of those who are watched; and what the
        // program itself holds.
        let participants = u64::from(self.rooms) * u64::from(self.publishers + self.viewers);
        let sockets = if self.via == Entry::Whip { 1 + u64::from(self.publishers) } else { 2 };
        let wanted = sockets * participants + 64;
        let allowed = open_files_limits().map_or(u64::MAX, |(now, _)| now);
        if wanted > allowed {
            bail!("{wanted} open files are needed, but only {allowed} are allowed; run `ulimit -n {wanted}` before");
        }
        Ok(())
    }

    /// The relay that the first client is connected to; `None` where it is out of sight.
    pub(crate) fn find_relay(&self, crowd: &Crowd) -> anyhow::Result<Option<Process>> {
        let address = crowd.relay_address();
        let remote = address.filter(|address| !is_of_this_machine(address.ip()));
        if let Some(address) = remote.filter(|_| !self.allow_remote) {
            bail!("media goes to {address}, which is not this machine; give --allow-remote if you may put load on it");
        }
        if remote.is_some() {
            self.check_rate()?;
        }
        match self.relay_pid {
            Some(pid) => {
                let process = Process { pid };
                process.sample().ok_or_else(|| anyhow!("there is no process {pid}; check --relay-pid"))?;
                Ok(Some(process))
            }
            None => Ok(address.and_then(Process::at_udp)),
        }
    }
}
