//! A page as an independent parser reads it.

use super::*;
use roxmltree::{Document, Node, ParsingOptions};

fn page() -> Page {
    let lines = Lines {
        title: "Packets <received>".to_owned(),
        unit: "packets/s",
        along: "s",
        series: vec![
            Series::new("expected", (0..30).map(|n| (f64::from(n), 4_808.0))),
            Series::new("received", (0..30).map(|n| (f64::from(n), if n == 7 { f64::NAN } else { 4_700.0 }))),
        ],
        ..Lines::default()
    };
    let latency = Lines {
        title: "Latency".to_owned(),
        unit: "ms",
        x: Scale::Nines,
        y: Scale::Logarithmic,
        series: vec![Series::new("ours", [(0.0, 0.1), (0.5, 0.3), (0.99, 2.0), (1.0, 9.0)])],
        ..Lines::default()
    };
    let bars = Bars {
        title: "CPU by thread".to_owned(),
        unit: "% of a CPU",
        bars: vec![("shard-0 & co".to_owned(), 28.9, 0), ("main".to_owned(), 0.4, 0)],
    };
    let columns = Columns::of("Join times", "participants", "ms", &[("ours".to_owned(), vec![(2.0, 90), (14.0, 3)])]);
    Page {
        title: "sfu: 1 → 20 \"quoted\" & <b>not bold</b>".to_owned(),
        warnings: vec!["DISTURBED: others used the machine".to_owned()],
        tables: vec![Table {
            title: "Figures".to_owned(),
            head: vec![String::new(), "ours".to_owned()],
            rows: vec![vec!["forwarded".to_owned(), "86520 of 86520".to_owned()]],
        }],
        plots: vec![Plot::Lines(lines), Plot::Lines(latency), Plot::Bars(bars), Plot::Columns(columns)],
        circumstances: vec![
            ("target".to_owned(), "http://localhost:8080".to_owned()),
            ("command".to_owned(), "plausch-bench sfu\u{7}".to_owned()),
        ],
    }
}

fn with_class<'a>(document: &'a Document<'a>, class: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document
        .descendants()
        .filter(move |node| node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class)))
}

#[test]
fn pages_are_well_formed_and_hold_their_figures() {
    let html = page().html();
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&html, options).unwrap();
    let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
    for figure in ["86520 of 86520", "28.9", "99 %", "sfu: 1 → 20 \"quoted\" & <b>not bold</b>"] {
        assert!(texts.contains(&figure), "{figure}: {texts:?}");
    }
    assert_eq!(with_class(&document, "warning").count(), 1);
    // The gap makes two lines of one.
    assert_eq!(with_class(&document, "s1").count(), 2);
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("svg")).count(), 4);
    let bars = document.descendants().filter(|node| node.has_tag_name("rect")).count();
    assert_eq!(bars, 2 + 2);
    // All points are inside of their picture.
    for line in with_class(&document, "line") {
        for point in line.attribute("points").unwrap().split_whitespace() {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=220.0).contains(&y), "{point}");
        }
    }
}

#[test]
fn pages_ask_nothing_of_the_network_and_run_nothing() {
    let html = page().html();
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&html, options).unwrap();
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(!["script", "link", "img", "iframe", "object", "image", "use", "a"].contains(&name), "{name}");
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!attribute.name().starts_with("on") && !value.contains("//"), "{name} {attribute:?}");
        }
        if name == "style" {
            let style = node.text().unwrap();
            assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("//"));
        }
    }
}

#[test]
fn empty_pictures_are_left_out() {
    let plots = vec![Plot::Lines(Lines::default()), Plot::Bars(Bars::default()), Plot::Columns(Columns::default())];
    let html = Page { plots, ..Page::default() }.html();
    assert!(!html.contains("<svg"), "{html}");
}
