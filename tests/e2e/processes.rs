//! How the two processes begin and end: signals, ports in use, wrong configurations.

use crate::people::{SOON, join, receives};
use crate::service::{Process, Service, get, wait};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Child, ExitStatus, Stdio};

/// Runs a process that should end by itself; its status and what it wrote.
async fn run(service: &Service, process: Process, arguments: &[&str]) -> (ExitStatus, String) {
    let path = service.dir.join("output");
    let file = || File::options().create(true).append(true).open(&path).unwrap();
    let _ = fs::remove_file(&path);
    let mut child: Child =
        service.command(process).args(arguments).stdout(file()).stderr(file()).stdin(Stdio::null()).spawn().unwrap();
    let status = wait(&mut child, process).await;
    (status, fs::read_to_string(&path).unwrap())
}

/// It failed with exit code 1 and one sentence for people that names `about`.
fn assert_sentence((status, output): (ExitStatus, String), about: &[&str]) {
    assert_eq!(status.code(), Some(1), "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let sentence = lines.last().unwrap_or_else(|| panic!("no word of what is wrong"));
    for word in about {
        assert!(sentence.contains(word), "{word:?} is not in {output:?}");
    }
    for noise in ["panicked", "stack backtrace", "Os {", "Error:"] {
        assert!(!output.contains(noise), "{output}");
    }
    let errors = lines.iter().filter(|line| !line.contains("INFO")).count();
    assert!(errors <= 3, "more than a sentence: {output}");
}

#[tokio::test]
async fn sigterm_ends_both_cleanly_also_during_a_call() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    receives(&anna, &bert.participant()).await;
    assert_eq!(service.terminate(Process::Control).await.code(), Some(0));
    assert_eq!(service.terminate(Process::Relay).await.code(), Some(0));
}

/// A disk that is full, and a pipe whose reader has gone or does not read, cost lines of the log and no call.
#[tokio::test]
async fn logs_that_cannot_be_written_end_nothing() {
    let mut service = Service::prepare().await;
    service.log_everything();
    // Nobody ever reads from this one, and it is full.
    let (unread, mut full) = std::io::pipe().unwrap();
    fill(&mut full);
    for round in 0..3 {
        let stderr = |_| match round {
            0 => Stdio::from(File::options().write(true).open("/dev/full").unwrap()),
            1 => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                Stdio::from(writer)
            }
            _ => Stdio::from(full.try_clone().unwrap()),
        };
        for process in [Process::Control, Process::Relay] {
            service.start_writing_to(process, stderr(process));
        }
        service.ready(SOON).await;
        let anna = join(&service, "room", "Anna").await;
        let bert = join(&service, "room", "Bert").await;
        receives(&anna, &bert.participant()).await;
        // The relay has something to say then, and control when it starts.
        service.kill(Process::Control);
        service.start_writing_to(Process::Control, stderr(Process::Control));
        service.ready(SOON).await;
        anna.wait_for("the re-attachment", SOON, |stats| stats.reattached >= 1).await.unwrap();
        receives(&bert, &anna.participant()).await;
        assert!(service.lives(Process::Relay) && service.lives(Process::Control), "round {round}");
        let lost = service.relay_metric("plausch_log_lines_lost_total").await;
        assert!(round == 2 || lost >= 1.0, "round {round}: lost lines are counted, not {lost}");
        drop((anna, bert));
        for process in [Process::Control, Process::Relay] {
            assert_eq!(service.terminate(process).await.code(), Some(0), "round {round}: {process:?}");
        }
    }
    drop(unread);
}

/// Writes until there is no more room.
fn fill(pipe: &mut std::io::PipeWriter) {
    use std::io::Write;
    let flags =
        |pipe: &std::io::PipeWriter, nonblocking| socket2::SockRef::from(pipe).set_nonblocking(nonblocking).unwrap();
    flags(pipe, true);
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    flags(pipe, false);
}

#[tokio::test]
async fn sighup_ends_neither_and_says_what_it_does() {
    let mut service = Service::start().await;
    let anna = join(&service, "room", "Anna").await;
    let bert = join(&service, "room", "Bert").await;
    for process in [Process::Control, Process::Relay] {
        service.signal(process, "HUP");
    }
    receives(&anna, &bert.participant()).await;
    receives(&bert, &anna.participant()).await;
    assert!(service.lives(Process::Relay) && service.lives(Process::Control));
    assert_eq!(anna.stats().connections, 1);
    assert!(service.log(Process::Relay).contains("read when the relay starts"), "{}", service.log(Process::Relay));
    assert!(service.log(Process::Control).contains("read when control starts"), "{}", service.log(Process::Control));
}

#[tokio::test]
async fn health_is_told_truly() {
    let mut service = Service::prepare().await;
    service.start_control();
    let begin = std::time::Instant::now();
    let (status, body) = loop {
        if let Some(answer) = get(service.ports.http, "/api/health").await {
            break answer;
        }
        assert!(begin.elapsed() < SOON);
    };
    assert_eq!((status, body.as_str()), (503, "{\"ready\":false}"));
    service.start_relay();
    service.ready(SOON).await;
    service.kill(Process::Relay);
    let begin = std::time::Instant::now();
    while !matches!(get(service.ports.http, "/api/health").await, Some((503, _))) {
        assert!(begin.elapsed() < SOON, "control still calls itself ready without a relay");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn ports_in_use_are_told_in_a_sentence() {
    let service = Service::prepare().await;
    let port = service.ports.http;
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert_sentence(run(&service, Process::Control, &[]).await, &[&port.to_string()]);
    drop(http);
    let port = service.ports.link;
    let link = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert_sentence(run(&service, Process::Control, &[]).await, &[&port.to_string()]);
    drop(link);
    let port = service.ports.media;
    let _media = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert_sentence(run(&service, Process::Relay, &[]).await, &[&port.to_string()]);
}

#[tokio::test]
async fn wrong_configurations_are_told_in_a_sentence() {
    let service = Service::prepare().await;
    let path = service.dir.join("wrong.toml");
    let file = path.to_str().unwrap();
    for process in [Process::Control, Process::Relay] {
        assert_sentence(run(&service, process, &["--config", "/nowhere/at/all.toml"]).await, &["/nowhere/at/all.toml"]);
        fs::write(&path, "this is = = no toml").unwrap();
        assert_ne!(run(&service, process, &["--config", file]).await.0.code(), Some(0));
        fs::write(&path, "no_such_key = 1\n").unwrap();
        let (status, output) = run(&service, process, &["--config", file]).await;
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains("no_such_key"), "{output}");
    }
    fs::write(&path, "[http]\nlisten = [\"0.0.0.0:8080\"]\n").unwrap();
    assert_sentence(run(&service, Process::Control, &["--config", file]).await, &["0.0.0.0"]);
}

#[tokio::test]
async fn wrong_ports_in_the_environment_are_told_in_a_sentence() {
    let service = Service::prepare().await;
    for (process, variable) in [(Process::Control, "PLAUSCH_HTTP_PORT"), (Process::Relay, "PLAUSCH_MEDIA_PORT")] {
        let output = service.command(process).env(variable, "seven").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert_sentence((output.status, text.into_owned()), &[variable]);
    }
}

#[tokio::test]
async fn the_default_configuration_can_be_printed_and_used() {
    let mut service = Service::prepare().await;
    for process in [Process::Control, Process::Relay] {
        let (status, text) = run(&service, process, &["print-config"]).await;
        assert_eq!(status.code(), Some(0), "{text}");
        assert!(text.lines().any(|line| line.starts_with('#')), "{text}");
        service.start_with(process, &text);
    }
    service.ready(SOON).await;
}
