//! Exports are what the programs that read them take.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use trace::event::Kind;
use trace::export::Format;
use trace::graph::Wanted;
use trace::synthetic::{crawler, Script, MS};
use trace::words::id;
use trace::Recording;

use super::two_and_a_lock;

fn export(recording: &mut Recording, format: Format, wanted: &Wanted<'_>) -> String {
    let mut out = Vec::new();
    recording.export(format, wanted, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(recording: &mut Recording, format: Format) -> String {
    export(recording, format, &Wanted::default())
}

/// Names and messages that mean something to each of the formats.
fn nasty() -> Recording {
    let mut s = Script::new();
    let texts =
        ["\"quoted\" <b>&amp; #1;", "- list", "a;b c 12", "]]>\u{0}\u{1b}[31m\u{ffff}", "end", "`x` %% \\n {}|"];
    let main = s.spawn(0, "main", "x.py:1 <module>");
    let nursery = s.nursery(main, "x;y \"z\".py:2 main");
    for text in texts {
        let task = s.child(nursery, main, text, &format!("{text}.py:5 f"));
        s.name(task, text);
        s.run(task);
        s.pass(MS).waits(task, text, 0, "x.py:7");
        s.pass(MS);
        s.run(task);
        s.fails(task, &format!("ValueError: {text}"), "x.py:9");
    }
    s.recording()
}

#[test]
fn formats_are_asked_for_by_name() {
    assert!(Format::ALL.into_iter().all(|format| Format::named(format.name()) == Some(format)));
    assert_eq!(Format::named("docx"), None);
}

// --- Perfetto ----------------------------------------------------------------------------------------

fn events(trace: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(trace).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

#[test]
fn perfetto_has_tracks_slices_arrows_and_a_curve() {
    let (mut recording, _) = two_and_a_lock();
    let events = events(&plain(&mut recording, Format::Perfetto));
    let of = |what: &str| events.iter().filter(|event| event["ph"] == what).collect::<Vec<_>>();
    let names: Vec<&str> = of("M").iter().filter_map(|event| event["args"]["name"].as_str()).collect();
    assert_eq!(names, ["app.py", "event loop 1 (MainThread)", "main (main, 1.1)", "a (work, 1.2)", "b (work, 1.3)"]);
    assert!(events.iter().all(|event| event["pid"] == 4711));
    let wait = of("X").into_iter().find(|event| event["name"] == "waits for a lock").unwrap().clone();
    assert_eq!((wait["ts"].as_u64(), wait["dur"].as_u64()), (Some(3100), Some(1_200_000)));
    assert_eq!((&wait["args"]["place"], &wait["args"]["woken_by"]), (&"db.py:40".into(), &"task".into()));
    // Each arrow has two ends, and both lie in a slice of their track.
    let (starts, tips) = (of("s"), of("f"));
    assert_eq!((starts.len(), tips.len()), (2, 2));
    for end in starts.iter().chain(&tips) {
        let at = end["ts"].as_f64().unwrap();
        let covers = |slice: &&&Value| {
            let (begin, took) = (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap());
            slice["tid"] == end["tid"] && slice["cat"] == "run" && begin <= at && at <= begin + took
        };
        assert!(of("X").iter().any(|slice| covers(&slice)), "{end}");
    }
    assert_eq!(of("C")[0]["args"]["ms"], 3.1);
    assert_eq!(of("i").iter().filter(|mark| mark["name"] == "failed").count(), 2);
}

#[test]
fn slices_of_a_track_never_overlap() {
    let mut recording = crawler(2000).recording();
    let events = events(&plain(&mut recording, Format::Perfetto));
    let mut ends: HashMap<u64, f64> = HashMap::new();
    for slice in events.iter().filter(|event| event["ph"] == "X" && event["cat"] != "turn") {
        let begin = slice["ts"].as_f64().unwrap();
        let end = ends.entry(slice["tid"].as_u64().unwrap()).or_default();
        assert!(begin >= *end - 0.001, "{slice}");
        *end = begin + slice["dur"].as_f64().unwrap();
    }
    assert!(ends.len() > 2000);
}

// --- Pictures ----------------------------------------------------------------------------------------

/// The grammar that tests/cli checks the report's diagram with, and subgraphs and labels of arrows besides.
fn check_mermaid(diagram: &str) -> usize {
    let mut lines = diagram.lines();
    assert_eq!(lines.next(), Some("flowchart TD"));
    let mut declared: HashSet<&str> = HashSet::new();
    let mut is_open = false;
    for line in lines {
        let line = line.trim_start();
        if line == "end" {
            assert!(std::mem::take(&mut is_open));
        } else if line.starts_with("classDef ") {
            assert!(line.chars().all(|c| c.is_ascii_alphanumeric() || " #:,-".contains(c)), "{line}");
        } else if let Some(rest) = line.strip_prefix("subgraph ") {
            assert!(!std::mem::replace(&mut is_open, true));
            let (_, label) = rest.split_once("[\"").unwrap();
            check_label(label.strip_suffix("\"]").unwrap());
        } else if let Some((node, rest)) = line.split_once("[\"") {
            let (label, class) = rest.split_once("\"]").unwrap();
            assert!(node[1..].parse::<usize>().is_ok() && node.starts_with('t'));
            assert!(["", ":::failed", ":::cancelled", ":::pending"].contains(&class), "{line}");
            check_label(label);
            declared.insert(node);
        } else {
            let parts: Vec<&str> = line.split(' ').collect();
            let (from, to) = (parts[0], *parts.last().unwrap());
            assert!(declared.contains(from) && declared.contains(to), "{line}");
            let arrow = parts[1..parts.len() - 1].join(" ");
            assert!(arrow == "-->" || ["-.->|\"", "==>|\""].iter().any(|start| arrow.starts_with(start)), "{line}");
        }
    }
    assert!(!is_open);
    declared.len()
}

fn check_label(label: &str) {
    let plain = label.replace("<br/>", "");
    assert!(!plain.contains(['"', '`', '%', '<', '>', '&', '\\']), "{label}");
    for code in plain.split('#').skip(1) {
        let (code, _) = code.split_once(';').unwrap();
        assert!(code.parse::<u32>().is_ok() || ["quot", "lt", "gt", "amp"].contains(&code), "{label}");
    }
    assert!(plain.chars().all(|c| !c.is_control()), "{label}");
}

#[test]
fn mermaid_is_what_its_grammar_takes() {
    assert_eq!(check_mermaid(&plain(&mut nasty(), Format::Mermaid)), 7);
    let mut recording = crawler(5000).recording();
    let diagram = plain(&mut recording, Format::Mermaid);
    assert_eq!(check_mermaid(&diagram), 4);
    assert!(
        diagram.contains("subgraph n2[\"nursery<br/>crawl.py:60\"]\n    t3[\"worker ×8<br/>crawl.py:62\"]\n  end"),
        "{diagram}"
    );
    let wanted = Wanted { expand: ["g1", "g2"].into(), ..Wanted::default() };
    assert!(check_mermaid(&export(&mut recording, Format::Mermaid, &wanted)) > 60);
}

/// Tags that open close, and nothing that is special stands alone.
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{}", &rest[..at]);
        let end = rest[at..].find('>').unwrap() + at;
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty());
    for entity in text.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)), "{entity}");
    }
    assert!(text.chars().all(|c| c == '\n' || (!c.is_control() && c < '\u{fffe}' || c > '\u{ffff}')));
}

#[test]
fn svg_is_well_formed_and_needs_nothing_else() {
    for mut recording in [nasty(), crawler(5000).recording(), Recording::new()] {
        let svg = plain(&mut recording, Format::Svg);
        check_xml(&svg);
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert_eq!(svg.matches("http").count(), 1, "only the namespace");
    }
    let svg = plain(&mut nasty(), Format::Svg);
    assert!(svg.contains("class=\"node failed\"") && svg.contains("&quot;quoted&quot; &lt;b&gt;&amp;amp; #1;"));
}

// --- Lines and stacks ----------------------------------------------------------------------------------

#[test]
fn json_lines_have_one_event_each_in_words() {
    let (mut recording, [_, a, b]) = two_and_a_lock();
    let count = recording.history().len();
    let text = plain(&mut recording, Format::JsonLines);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), count + 1);
    assert_eq!((&lines[0]["kind"], &lines[0]["program"]), (&"program".into(), &"app.py".into()));
    let find = |kind: &str, task| lines.iter().find(|line| line["kind"] == kind && line["task"] == id(task)).unwrap();
    let wait = find("wait", b);
    assert_eq!(
        (&wait["what"], &wait["object"], &wait["place"]["line"]),
        (&"Lock.acquire".into(), &1.into(), &40.into())
    );
    assert_eq!((&find("wake", b)["by"], &find("wake", b)["cause"]), (&id(a).into(), &"task".into()));
    assert_eq!(find("finish", b)["outcome"], "failed");
    assert_eq!(find("why", b)["text"], "ValueError: no");
    assert!(lines.iter().all(|line| line["kind"].is_string()));
}

#[test]
fn every_kind_of_event_has_a_name_of_its_own() {
    let mut s = Script::new();
    for kind in Kind::ALL {
        s.write(kind, 5, 1, 1, 1);
    }
    let text = plain(&mut s.recording(), Format::JsonLines);
    let kinds: HashSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.len(), Kind::ALL.len() + 1);
}

#[test]
fn folded_stacks_weigh_what_was_waited_and_what_ran() {
    let (mut recording, _) = two_and_a_lock();
    let waits = plain(&mut recording, Format::FoldedWaits);
    assert_eq!(
        waits,
        "main (app.py:30);a task (app.py:14) 1202100000\n\
         main (app.py:30);work (app.py:12);sleep (db.py:39) 1200100000\n\
         main (app.py:30);work (app.py:13);a lock (db.py:40) 1200000000\n"
    );
    let busy = plain(&mut recording, Format::FoldedBusy);
    assert_eq!(busy.lines().count(), 3);
    assert!(busy.contains("main (app.py:30);work (app.py:13) 1100000\n"));
    for line in plain(&mut nasty(), Format::FoldedWaits).lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        assert!(weight.parse::<u64>().is_ok() && stack.split(';').count() == 3, "{line}");
    }
}
