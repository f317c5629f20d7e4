//! Bad targets end with one sentence and a non-zero exit.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

/// Standard error of a run that must fail.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_plausch-bench")).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

#[test]
fn bad_targets_are_told_in_one_sentence() {
    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = format!("http://127.0.0.1:{port}");
    for command in ["sfu", "joins", "churn", "overload", "soak"] {
        assert!(refusal(&[command, "--url", &closed]).contains("check that the server runs there"));
        assert!(refusal(&[command, "--url", "localhost"]).contains("http://host:port"));
        assert!(refusal(&[command, "--url", "http://192.0.2.1"]).contains("--allow-remote"));
    }
}

#[test]
fn other_ways_in_tell_bad_targets_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buf = [0; 4096];
        let _ = stream.read(&mut buf);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let url = format!("http://127.0.0.1:{port}");
    let said = refusal(&["sfu", "--via", "whip", "--url", &url]);
    assert!(said.contains("not as a Plausch server") && said.contains("404"), "{said}");
    server.join().unwrap();
    assert!(refusal(&["sfu", "--via", "whip", "--url", &url]).contains("check that the server runs there"));
}

#[test]
fn loads_of_nothing_are_refused() {
    assert!(refusal(&["sfu", "--viewers", "0"]).contains("nobody would receive"));
    assert!(refusal(&["sfu", "--video-kbps", "0", "--audio", "false"]).contains("nothing to forward"));
    assert!(refusal(&["sfu", "--video-kbps", "0", "--layers", "3"]).contains("only pictures have layers"));
}

#[test]
fn other_machines_are_not_loaded_by_oversight() {
    // TEST-NET-1 (RFC 5737) belongs to nobody; nothing is sent there.
    let remote = ["--url", "http://192.0.2.1", "--allow-remote"];
    let said = refusal(&[&["sfu", "--viewers", "100"], remote.as_slice()].concat());
    assert!(said.contains("about 24000 packets in a second") && said.contains("--rate 24000"), "{said}");
    let said = refusal(&[&["joins", "--viewers", "499", "--video-kbps", "0"], remote.as_slice()].concat());
    assert!(said.contains("about 24950 packets"), "{said}");
}

#[test]
fn comparisons_that_cannot_be_are_told_in_one_sentence() {
    assert!(refusal(&["sfu", "--against", "janus"]).contains("give --lab"));
    assert!(refusal(&["sfu", "--lab", "--viewers", "0"]).contains("nobody would receive"));
    assert!(refusal(&["sfu", "--lab", "--server-cpus", "4095"]).contains("--server-cpus"));
    let both = Command::new(env!("CARGO_BIN_EXE_plausch-bench"))
        .args(["sfu", "--lab", "--url", "http://localhost"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2), "a server that is started and one that is named: {both:?}");
}

/// Nobody waits for the end of a run to learn that its figures go nowhere.
#[test]
fn files_that_cannot_be_written_are_refused_before_the_start() {
    // Nothing listens there: whoever asks first is told of the file, not of the server.
    let nowhere = "http://127.0.0.1:9";
    for command in ["sfu", "joins", "churn", "overload", "soak"] {
        for option in ["--json", "--html"] {
            let said = refusal(&[command, "--url", nowhere, option, "/nonexistent/run"]);
            assert!(said.contains("/nonexistent/run") && said.contains("make its folder"), "{command}: {said}");
        }
    }
    let turn = ["turn", "--user", "a", "--password", "b", "--json", "/nonexistent/run"];
    for command in [&turn[..], &["self", "--json", "/nonexistent/run"], &["floor", "--html", "/nonexistent/run"]] {
        assert!(refusal(command).contains("make its folder"), "{command:?}");
    }
}
