use super::*;
use crate::ring::{Wake, ring};
use plausch_relay_api::{
    EdgeSocket, Fingerprint, IceParameters, ParticipantSpec, RoomId, TlsCertificate, TlsKey, Transport, TurnSecret,
};

fn put(participant: ParticipantId) -> Command {
    let ice = ["ours", "our-password", "theirs", "their-password"].map(String::from);
    let [local_ufrag, local_pwd, remote_ufrag, remote_pwd] = ice;
    Command::PutParticipant(Box::new(ParticipantSpec {
        participant,
        room: RoomId(1),
        shard: ShardId(0),
        generation: 1,
        transport: Transport::browser(
            IceParameters {
                local_ufrag,
                local_pwd: local_pwd.into(),
                remote_ufrag,
                remote_pwd: remote_pwd.into(),
                mode: Default::default(),
            },
            Fingerprint::Sha256([0; 32]),
        ),
        codecs: Vec::new(),
        extensions: Default::default(),
        sends: Vec::new(),
        slots: Vec::new(),
        note: Default::default(),
    }))
}

fn hello() -> Hello {
    let fingerprint = Fingerprint::Sha256([0; 32]);
    Hello { version: 1, name: "relay".into(), instance: 1, fingerprint, shards: vec![], turn: None }
}

/// A hub with one shard, whose ring holds `room` commands, and the shard's end of it.
fn hub(room: usize) -> (Hub, Receiver<ToShard>) {
    let notify = Arc::new(Notify::new());
    let (to_shard, commands) = ring(room, Wake::Task(notify.clone()));
    let (_, from_shard) = ring(1, Wake::Task(notify.clone()));
    (
        Hub::new(
            hello(),
            vec![(to_shard, from_shard)],
            vec![Arc::default()],
            notify,
            None,
            Draining::default(),
            watch::channel(Vec::new()).1,
        ),
        commands,
    )
}

fn dispatch_all(hub: &mut Hub, commands: impl IntoIterator<Item = Command>) -> Vec<Option<Event>> {
    (1..).zip(commands).map(|(id, command)| hub.dispatch(CommandFrame { id: CommandId(id), command })).collect()
}

fn tickets(commands: &mut Receiver<ToShard>) -> Vec<Ticket> {
    std::iter::from_fn(|| commands.pop().ok())
        .map(|message| match message {
            ToShard::Control { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_refusal_of_yesterday_says_nothing_of_today() {
    let (mut hub, mut commands) = hub(16);
    let participant = ParticipantId(7);
    let again = [put(participant), Command::RemoveParticipant { participant }, put(participant)];
    assert_eq!(dispatch_all(&mut hub, again), [None, None, None]);
    let tickets = tickets(&mut commands);
    let refused = |ticket| FromShard::Done { ticket, result: Err(CommandError::Busy) };
    hub.note(&refused(tickets[0]));
    assert!(hub.places.contains_key(&participant), "it was put again since");
    hub.note(&refused(tickets[2]));
    assert!(hub.places.is_empty());
}

#[test]
fn a_removal_waits_for_a_busy_shard_and_all_else_is_refused() {
    let (mut hub, mut commands) = hub(1);
    let participant = ParticipantId(7);
    let removal = Command::RemoveParticipant { participant };
    let answers = dispatch_all(&mut hub, [put(participant), put(ParticipantId(8)), removal, put(participant)]);
    let busy = |id| Some(Event::Done { id: CommandId(id), result: Err(CommandError::Busy) });
    assert_eq!(answers, [None, busy(2), None, busy(4)]);
    assert_eq!(tickets(&mut commands).iter().map(|ticket| ticket.id.0).collect::<Vec<_>>(), [1]);
    hub.collect(&mut VecDeque::new());
    assert_eq!(tickets(&mut commands).iter().map(|ticket| ticket.id.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn while_it_runs_empty_rooms_go_on_and_none_begins() {
    let (mut hub, mut commands) = hub(16);
    let (anna, bert, clara) = (ParticipantId(7), ParticipantId(8), ParticipantId(9));
    assert_eq!(dispatch_all(&mut hub, [put(anna)]), [None]);
    hub.draining = Draining::on();
    let mut told = VecDeque::new();
    hub.collect(&mut told);
    hub.collect(&mut told);
    assert!(matches!(told.make_contiguous(), [Event::Load { draining: true, .. }]), "{told:?}");
    let elsewhere = |participant| match put(participant) {
        Command::PutParticipant(mut spec) => {
            spec.room = RoomId(2);
            Command::PutParticipant(spec)
        }
        other => other,
    };
    let removal = Command::RemoveParticipant { participant: anna };
    let answers = dispatch_all(&mut hub, [put(bert), elsewhere(clara), put(anna), removal, put(anna)]);
    let refused = Some(Event::Done { id: CommandId(2), result: Err(CommandError::Draining) });
    assert_eq!(answers, [None, refused, None, None, None]);
    let told = std::iter::from_fn(|| commands.pop().ok());
    let drains = told.filter(|message| matches!(message, ToShard::Drain)).count();
    assert_eq!(drains, 1);
    hub.note(&FromShard::Event(Event::ShardRestarted { shard: ShardId(0) }));
    assert!(matches!(commands.pop(), Ok(ToShard::Drain)), "a new shard is told, too");
    assert_eq!(
        dispatch_all(&mut hub, [put(anna)])[0],
        Some(Event::Done { id: CommandId(1), result: Err(CommandError::Draining) })
    );
}

#[test]
fn a_command_of_a_later_release_is_answered_where_it_has_a_number() {
    let unreadable = |id| Unreadable { id, kind: Some("sing".to_owned()) };
    let result = Err(CommandError::Invalid("unknown command".to_owned()));
    assert_eq!(refuse(&unreadable(Some(CommandId(7)))), Some(Event::Done { id: CommandId(7), result }));
    assert_eq!(refuse(&unreadable(None)), None);
}

fn settings(secret: &'static [u8]) -> Box<TurnSettings> {
    let certificate = TlsCertificate { chain: "chain".into(), key: TlsKey::new("key") };
    let edge_socket = Some(EdgeSocket { path: "/run/edge.sock".into(), uid: 7 });
    Box::new(TurnSettings {
        secrets: vec![TurnSecret::new(secret)],
        certificate: Some(certificate),
        edge_socket,
        ports: vec![7],
    })
}

#[test]
fn turn_settings_are_done_when_every_shard_has_them_and_a_new_shard_gets_them_too() {
    let notify = Arc::new(Notify::new());
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..2 {
        let (to_shard, commands) = ring(4, Wake::Task(notify.clone()));
        let (news, from_shard) = ring(4, Wake::Task(notify.clone()));
        ours.push((to_shard, from_shard));
        theirs.push((commands, news));
    }
    let mut hub = Hub::new(
        hello(),
        ours,
        vec![Arc::default(), Arc::default()],
        notify,
        None,
        Draining::default(),
        watch::channel(Vec::new()).1,
    );
    let mut told = |hub: &mut Hub, shard: usize| {
        let ToShard::Control { ticket, command: Command::SetTurn(settings) } = theirs[shard].0.pop().unwrap() else {
            panic!("settings of TURN");
        };
        assert_eq!((settings.secrets.len(), settings.certificate.is_none(), &settings.edge_socket), (1, true, &None));
        assert_eq!(settings.ports, [7]);
        theirs[shard].1.send(FromShard::Done { ticket, result: Ok(()) });
        let mut outgoing = VecDeque::new();
        hub.collect(&mut outgoing);
        outgoing.pop_front()
    };
    assert_eq!(dispatch_all(&mut hub, [Command::SetTurn(settings(b"one"))]), [None]);
    assert_eq!(told(&mut hub, 0), None);
    assert_eq!(told(&mut hub, 1), Some(Event::Done { id: CommandId(1), result: Ok(()) }));
    hub.note(&FromShard::Event(Event::ShardRestarted { shard: ShardId(1) }));
    // Nobody waits for this answer, but the link is the first, and the ticket is of none.
    hub.link = 1;
    assert_eq!(told(&mut hub, 1), None);
    let mut many = settings(b"two");
    many.secrets = vec![TurnSecret::new("x"); TURN_SECRETS + 1];
    let refused = dispatch_all(&mut hub, [Command::SetTurn(many)]);
    assert!(matches!(refused[..], [Some(Event::Done { result: Err(CommandError::Limit(_)), .. })]), "{refused:?}");
}
