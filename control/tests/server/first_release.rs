//! A page of 0.1 in a control of today: its messages as they were recorded, with what a server filled in replaced.

use super::{Client, World, config, eventually, offer};
use plausch_control::server::Server;
use serde_json::{Value, json};

fn recorded(name: &str) -> Value {
    let path = format!("{}/signalling/fixtures/0.1/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The recorded message with the offer of a real browser in it.
fn with_offer(name: &str, connection: u32) -> Value {
    let mut message = recorded(name);
    message["offer"] = serde_json::to_value(offer(connection)).unwrap();
    message
}

/// What a page of 0.1 gets: its parser knows these fields, and wants each of them.
async fn heard(client: &mut Client, wanted: &str) -> Value {
    loop {
        let text = client.next_text().await;
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == wanted {
            return message;
        }
        assert_ne!(message["type"], "error", "{message}");
    }
}

fn has_fields_of(message: &Value, fixture: &str) {
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for field in fields(&recorded(fixture)) {
        assert!(!message[&field].is_null(), "{fixture} has {field}, {message} has not");
    }
}

#[tokio::test]
async fn a_page_of_the_first_release_stays_in_its_call_through_an_update_of_control() {
    let mut world = World::new().await;
    let mut page = world.client().await;
    page.send_text(with_offer("client-join", 1).to_string()).await;
    let welcome = heard(&mut page, "welcome").await;
    has_fields_of(&welcome, "server-welcome");
    let mut other = world.joined("kulturvereinmarion", "Jörg").await;
    has_fields_of(&heard(&mut page, "participant-joined").await, "server-participant-joined");
    has_fields_of(&heard(&mut page, "slots").await, "server-slots");

    // Control is replaced. The relay goes on, and the page comes back as it does after any lost socket.
    page.vanish().await;
    world.relay.hang_up();
    world.server = Server::start(config(&world.folder, "")).await.unwrap();
    world.relay.dial(&world).await;
    world.ready().await;
    let media = world.relay.participants();
    let mut page = world.client().await;
    page.send_text(recorded("client-ice-servers").to_string()).await;
    heard(&mut page, "ice-servers").await;
    let mut resume = recorded("client-join-resume");
    resume["resume"] = welcome["resume"].clone();
    page.send_text(resume.to_string()).await;
    let resumed = heard(&mut page, "welcome").await;
    has_fields_of(&resumed, "server-welcome-resumed");
    assert_eq!(resumed["participant"], welcome["participant"]);
    assert_eq!(resumed["participants"].as_array().unwrap().len(), 1);
    assert_eq!(world.relay.participants().len(), media.len());
    for (before, after) in media.iter().zip(world.relay.participants()) {
        assert_eq!((&before.spec.transport, before.spec.generation), (&after.spec.transport, after.spec.generation));
    }

    // And it goes on: another offer, a change of media, goodbye.
    let mut back = world.client().await;
    let token = std::mem::take(&mut other.resume);
    back.join("kulturvereinmarion", "Jörg", Some(token), None).await;
    page.send_text(with_offer("client-offer", 2).to_string()).await;
    let answer = heard(&mut page, "answer").await;
    has_fields_of(&answer, "server-answer");
    assert_eq!(answer["answer"]["id"], json!(2));
    page.send_text(recorded("client-media").to_string()).await;
    let changed = heard(&mut back, "participant-changed").await;
    assert_eq!(changed["participant"]["media"], recorded("client-media")["media"]);
    page.send_text(recorded("client-leave").to_string()).await;
    page.until_closed().await;
    eventually("only the other is left", || world.participants() == 1).await;
}
