use super::*;
use crate::batch::LocalSocket;

const BYTES: usize = 100;

fn parameters(ufrag: &str) -> IceParameters {
    IceParameters {
        local_ufrag: ufrag.into(),
        local_pwd: "p".repeat(22).into(),
        remote_ufrag: "them".into(),
        remote_pwd: "q".repeat(22).into(),
        mode: IceMode::LiteControlled,
    }
}

fn path(port: u16) -> Path {
    Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], port).into() }
}

/// An agent, and the ids of its checks.
struct Bench {
    agent: Agent,
    ids: u32,
}

impl Bench {
    fn new(mode: IceMode) -> Self {
        Self { agent: Agent::new(&IceParameters { mode, ..parameters("one-ufrag") }, 7), ids: 0 }
    }

    fn checks(&mut self, now: Time) -> Vec<OwnCheck> {
        let mut checks = Vec::new();
        let ids = &mut self.ids;
        let mut id = || {
            *ids += 1;
            let mut id = [0; 12];
            id[8..].copy_from_slice(&ids.to_be_bytes());
            TransactionId(id)
        };
        while let Some(check) = self.agent.take_check(now, &mut id) {
            checks.push(check);
        }
        checks
    }

    /// A check of theirs, after which ours are answered. Whether another path is selected.
    fn check(&mut self, path: Path, nominates: bool, now: Time) -> bool {
        let outcome = self.agent.check(path, b"one-ufrag", nominates, BYTES, now);
        outcome.moved | self.answers(now)
    }

    fn answers(&mut self, now: Time) -> bool {
        let checks = self.checks(now);
        checks.iter().filter(|check| self.agent.answer(check.path, check.id, now) == Some(true)).count() > 0
    }
}

#[test]
fn the_latest_first_nomination_wins_and_repetitions_do_not_flap() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    assert!(!bench.check(path(1), false, Time(0)));
    assert_eq!(bench.agent.send_path(), Some(path(1)));
    assert!(bench.check(path(2), true, Time(1)));
    assert!(bench.check(path(1), true, Time(2)));
    assert!(!bench.check(path(2), true, Time(3)));
    assert_eq!(bench.agent.send_path(), Some(path(1)));
    bench.agent.note_media(path(2), Time(4));
    assert!(!bench.check(path(2), true, Time(5)), "this check was overtaken");
    let settled = Time::from_millis(1_500);
    assert!(bench.check(path(2), true, settled), "where the media is");
    let later = Time::from_millis(10_000);
    assert!(bench.check(path(1), true, later), "the selected path is silent");
}

#[test]
fn a_handful_of_paths_is_kept_and_the_selected_one_always() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    bench.check(path(1), true, Time(0));
    for port in 2..100 {
        let outcome = bench.agent.check(path(port), b"one-ufrag", false, BYTES, Time(u64::from(port)));
        let evicted = (port > 8).then(|| path(port - 7));
        assert_eq!(outcome.evicted, evicted);
    }
    assert_eq!(bench.agent.paths().count(), TUPLES_PER_PARTICIPANT);
    assert_eq!(bench.agent.send_path(), Some(path(1)));
}

#[test]
fn after_a_restart_the_old_fragment_is_valid_until_the_new_one_serves() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    bench.check(path(1), true, Time(0));
    let agent = &mut bench.agent;
    assert_eq!(agent.restart(&parameters("two-ufrag")), None);
    assert_eq!(agent.restart(&parameters("three-ufrag")).as_deref(), Some(&b"two-ufrag"[..]));
    assert!(agent.key(b"one-ufrag").is_some() && agent.key(b"two-ufrag").is_none());
    assert!(!agent.check(path(1), b"one-ufrag", true, BYTES, Time(1)).restarted);
    assert_eq!(agent.asking().0, b"them:one-ufrag");
    assert!(agent.check(path(2), b"three-ufrag", false, BYTES, Time(2)).restarted);
    assert!(agent.key(b"one-ufrag").is_none());
    assert_eq!(agent.asking().0, b"them:three-ufrag");
    assert_eq!(agent.send_path(), Some(path(1)), "media goes on over the old path");
    agent.check(path(2), b"three-ufrag", true, BYTES, Time(3));
    assert_eq!(agent.send_path(), Some(path(1)), "and does not leave it before the new one has answered");
    assert!(bench.answers(Time(4)));
    assert_eq!(bench.agent.send_path(), Some(path(2)));
}

#[test]
fn consent_is_ours_to_ask_for() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    assert_eq!(bench.agent.consent_until(), Time::NEVER);
    let begin = Time::from_millis(7);
    bench.agent.check(path(1), b"one-ufrag", true, BYTES, begin);
    assert_eq!(bench.agent.consent_until(), begin + CONSENT_TIMEOUT);
    assert_eq!(bench.agent.send_path(), None, "a nomination is no consent");
    bench.answers(begin);
    let mut asked = Vec::new();
    for ms in 0..60_000 {
        let now = begin + Duration::from_millis(ms);
        // Their checks go on all the time, and say nothing.
        if ms % 1_000 == 0 {
            bench.agent.check(path(1), b"one-ufrag", true, BYTES, now);
        }
        let checks = bench.checks(now);
        asked.extend(checks.iter().map(|_| ms));
        if ms < 20_000 {
            checks.iter().for_each(|check| assert!(bench.agent.answer(check.path, check.id, now).is_some()));
        }
    }
    let pauses: Vec<u64> = asked.windows(2).take(3).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| (4_000..=6_000).contains(pause)), "{pauses:?}");
    let until = bench.agent.consent_until();
    assert!(until > begin + Duration::from_secs(44) && until < begin + Duration::from_secs(50), "{until:?}");
    assert!(!bench.agent.renew_consent(begin + Duration::from_secs(60)));
}

#[test]
fn who_does_not_answer_gets_thrice_what_came() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    let mut received = 0;
    let mut sent = 0;
    for ms in 0..60_000 {
        let now = Time::from_millis(ms);
        if ms < 10_000 && ms % 100 == 0 {
            bench.agent.check(path(9), b"one-ufrag", true, BYTES, now);
            received += BYTES;
            // The answer.
            sent += BYTES;
        }
        sent += bench.checks(now).len() * (CHECK_BYTES_BESIDES_USERNAME + "them:one-ufrag__".len());
        while bench.agent.admit_dtls(path(9), 1_200, now) {
            sent += 1_200;
        }
        assert!(sent <= 3 * received, "{sent} for {received}");
        assert_eq!(bench.agent.send_path(), None);
    }
    assert!(bench.checks(Time::from_millis(70_000)).is_empty());
}

#[test]
fn only_the_answer_to_the_last_check_of_that_path_counts() {
    let mut bench = Bench::new(IceMode::LiteControlled);
    bench.check(path(1), true, Time(0));
    bench.agent.check(path(2), b"one-ufrag", true, BYTES, Time(1));
    let check = bench.checks(Time(1))[0];
    assert_eq!(check.path, path(2));
    assert_eq!(bench.agent.answer(path(1), check.id, Time(2)), None, "from another path");
    assert_eq!(bench.agent.answer(path(2), TransactionId([0; 12]), Time(2)), None, "to no check");
    assert_eq!(bench.agent.answer(path(2), check.id, Time(2)), Some(true));
    assert_eq!(bench.agent.answer(path(2), check.id, Time(3)), None, "for the second time");
}

#[test]
fn the_controlling_side_nominates_what_answers_and_follows_media() {
    let mut bench = Bench::new(IceMode::Controlling);
    bench.agent.check(path(1), b"one-ufrag", true, BYTES, Time(0));
    let check = bench.checks(Time(0))[0];
    assert!(matches!(check.role, IceRole::Controlling(7)) && !check.use_candidate);
    assert_eq!(bench.agent.answer(path(1), check.id, Time(1)), Some(true));
    let nominating = bench.checks(Time(1))[0];
    assert!(nominating.use_candidate);
    assert_eq!(bench.agent.answer(path(1), nominating.id, Time(2)), Some(false));
    assert!(!bench.check(path(2), true, Time(3)), "they do not nominate");
    assert_eq!(bench.agent.send_path(), Some(path(1)));
    bench.agent.note_media(path(2), Time::from_millis(4_000));
    let mut now = Time::from_millis(4_000);
    while bench.agent.send_path() == Some(path(1)) {
        now = now + Duration::from_millis(100);
        assert!(now < Time::from_millis(12_000), "it does not follow");
        bench.answers(now);
    }
}

#[test]
fn roles_are_settled_by_the_tie_breaker_and_a_lite_agent_has_none() {
    let mut lite = Bench::new(IceMode::LiteControlled).agent;
    assert!(lite.conflicts(Some(IceRole::Controlled(1))) && lite.conflicts(Some(IceRole::Controlled(99))));
    assert!(!lite.conflicts(Some(IceRole::Controlling(99))) && !lite.conflicts(None));
    let mut full = Bench::new(IceMode::Controlling);
    assert!(full.agent.conflicts(Some(IceRole::Controlling(7))) && full.agent.conflicts(Some(IceRole::Controlling(1))));
    assert!(!full.agent.conflicts(Some(IceRole::Controlled(1))));
    assert!(!full.agent.conflicts(Some(IceRole::Controlling(8))), "they win");
    full.agent.check(path(1), b"one-ufrag", true, BYTES, Time(0));
    let check = full.checks(Time(0))[0];
    assert!(matches!(check.role, IceRole::Controlled(7)));
    assert!(full.agent.refused_role(path(1), check.id, BYTES, Time(1)), "they say that they are controlled as well");
    assert!(!full.agent.refused_role(path(1), check.id, BYTES, Time(1)));
    assert!(matches!(full.checks(Time(1))[0].role, IceRole::Controlling(7)));
}
