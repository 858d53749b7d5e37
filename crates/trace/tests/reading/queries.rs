//! Answers: summary, tasks, tree, search, stats, timeline, and what is refused.

use serde_json::{json, Value};

use trace::event::{cause, Key};
use trace::synthetic::{crawler, Script, MS, US};
use trace::words::id;
use trace::Recording;

use super::two_and_a_lock;

fn ask(recording: &Recording, question: &str, arguments: Value) -> Value {
    recording.answer(question, &arguments).unwrap()
}

fn names(answer: &Value) -> Vec<&str> {
    answer["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap()).collect()
}

#[test]
fn the_summary_counts() {
    let (recording, _) = two_and_a_lock();
    let summary = ask(&recording, "summary", Value::Null);
    assert_eq!(summary["outcomes"], json!({"pending": 0, "finished": 1, "failed": 2, "cancelled": 0}));
    assert_eq!((&summary["tasks"], &summary["pid"], &summary["complete"]), (&json!(3), &json!(4711), &json!(true)));
    assert_eq!(summary["duration"], 1_204_100_000);
    assert_eq!(summary["loops"][0]["thread"], "MainThread");
    assert_eq!(summary["lost"], 0);
    // a sleeps 1.2 s with the lock that b waits for; b fails with it.
    let codes = summary["warnings"].as_array().unwrap().iter().map(|warning| &warning["code"]);
    assert!(codes.eq(["lock-held-long", "never-released"]));
}

#[test]
fn tasks_are_sorted_filtered_and_paged() {
    let (recording, [main, _, b]) = two_and_a_lock();
    let tasks = |arguments| ask(&recording, "tasks", arguments);
    assert_eq!(names(&tasks(json!({}))), ["main", "a", "b"]);
    assert_eq!(names(&tasks(json!({"sort": "-name", "limit": 2}))), ["main", "b"]);
    assert_eq!(names(&tasks(json!({"sort": "busy", "offset": "2"}))), ["main"]);
    assert_eq!(names(&tasks(json!({"filter": {"state": "failed"}, "sort": "-begin"}))), ["b", "main"]);
    assert_eq!(names(&tasks(json!({"filter": {"state": ["finished"], "text": "WORK"}}))), ["a"]);
    assert_eq!(names(&tasks(json!({"filter": "x.py:3"}))), ["main", "b"]);
    let page = tasks(json!({"filter": "valueerror", "limit": 1}));
    assert_eq!((names(&page), &page["total"]), (vec!["main"], &json!(2)));
    let task = &tasks(json!({"filter": id(b)}))["tasks"][0];
    assert_eq!((&task["id"], &task["parent"], &task["state"]), (&json!(id(b)), &json!(id(main)), &json!("failed")));
    assert_eq!(
        task["started_at"],
        json!({"file": "/home/you/app.py", "line": 13, "function": "main", "short": "app.py:13"})
    );
    assert_eq!((&task["why"], &task["raised_at"]["line"]), (&json!("ValueError: no"), &json!(3)));
    assert_eq!((&task["begin"], &task["end"], &task["waits_for"]), (&json!(0), &json!(1_204_100_000), &Value::Null));
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let (recording, _) = two_and_a_lock();
    let refused = |question: &str, arguments: Value| recording.answer(question, &arguments).unwrap_err().to_string();
    assert_eq!(refused("weather", json!({})), "there is no question \"weather\"");
    assert_eq!(refused("tasks", json!([])), "arguments are given by name");
    assert_eq!(refused("tasks", json!({"limit": "many"})), "limit is a number, not \"many\"");
    assert_eq!(refused("tasks", json!({"sort": "luck"})), "tasks can't be sorted by \"luck\"");
    assert_eq!(refused("tasks", json!({"filter": {"state": "odd"}})), "there is no state \"odd\"");
    assert_eq!(refused("task", json!({"id": "1.99"})), "the recording has no task 1.99");
    assert_eq!(refused("task", json!({})), "id is a task's number such as 1.17, not \"\"");
    assert_eq!(refused("graph", json!({"edges": "loves"})), "edges are spawned, awaits, woke, cancelled");
}

#[test]
fn a_task_knows_its_children_and_its_story() {
    let (recording, [main, a, b]) = two_and_a_lock();
    let task = ask(&recording, "task", json!({"id": id(main)}));
    assert_eq!(task["children"], json!([id(a), id(b)]));
    let last = task["story"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &last["at"]), (&json!("finish"), &json!(1_204_100_000)));
    let wait = &ask(&recording, "task", json!({"id": id(b)}))["story"][1];
    assert_eq!(
        (&wait["kind"], &wait["tasks"], &wait["place"]["short"]),
        (&json!("wait"), &json!([id(a), id(a)]), &json!("db.py:40"))
    );
}

#[test]
fn a_file_answers_as_the_program_did() {
    let script = crawler(2000);
    let mut file = Vec::new();
    script.write_file(&mut file).unwrap();
    let (read, made) = (Recording::read(&file[..]).unwrap(), script.recording());
    for question in ["summary", "tasks", "tree", "graph", "timeline", "stats"] {
        assert_eq!(ask(&read, question, json!({})), ask(&made, question, json!({})));
    }
    let cut = ask(&Recording::read(&file[..file.len() / 2]).unwrap(), "summary", json!({}));
    assert_eq!((&cut["complete"], &cut["damage"]), (&json!(false), &json!([])));
    assert!(Recording::read(&b"no recording"[..]).is_err());
}

fn nursery_with(count: usize) -> (Script, Key) {
    let mut s = Script::new();
    let main = s.named(0, "main", "app.py:1 <module>", "main");
    s.run(main);
    let nursery = s.nursery(main, "app.py:5 main");
    for _ in 0..count {
        let child = s.child(nursery, main, "work", "app.py:6 main");
        s.spawn(child, "helper", "app.py:9 work");
    }
    s.spawn(main, "loose", "app.py:7 main");
    (s, main)
}

#[test]
fn the_tree_has_nurseries_and_counts_what_it_leaves_out() {
    let (script, main) = nursery_with(5);
    let tree = ask(&script.recording(), "tree", json!({}));
    let root = &tree["tasks"][0];
    assert_eq!((&tree["total"], &root["id"], &root["kind"]), (&json!(12), &json!(id(main)), &json!("task")));
    let [nursery, loose] = &root["children"].as_array().unwrap()[..] else { panic!("{root}") };
    assert_eq!(
        (&nursery["kind"], &nursery["count"], &nursery["place"]["line"]),
        (&json!("nursery"), &json!(5), &json!(5))
    );
    assert_eq!(loose["coroutine"], "loose");
    assert_eq!(nursery["children"][4]["children"][0]["coroutine"], "helper");
    let small = ask(&script.recording(), "tree", json!({"limit": 3}));
    let children = &small["tasks"][0]["children"][0]["children"];
    assert_eq!(children.as_array().unwrap().len(), 3);
    assert_eq!(children[2], json!({"kind": "more", "count": 6, "failed": 0}));
}

#[test]
fn thousands_of_nurseries_are_counted_too() {
    let tree = ask(&crawler(50_000).recording(), "tree", json!({"limit": 20})).to_string();
    assert!(tree.len() < 50_000, "{}", tree.len());
    let counts = tree.split("\"kind\":\"more\"").count() - 1;
    assert!((1..=40).contains(&counts), "{counts}");
}

#[test]
fn a_tree_of_what_lives_has_what_leads_to_it() {
    let mut s = Script::new();
    let (a, gone) = (s.spawn(0, "a", "x.py:1"), s.spawn(0, "gone", "x.py:2"));
    s.spawn(a, "b", "x.py:3");
    s.ends(a);
    s.ends(gone);
    let tree = ask(&s.recording(), "tree", json!({"pending": true}));
    assert_eq!(tree["total"], 2);
    assert_eq!(tree["tasks"][0]["children"][0]["coroutine"], "b");
    // Each starts the next, deeper than JSON is read.
    let mut s = Script::new();
    let mut last = 0;
    for _ in 0..1000 {
        last = s.spawn(last, "chain", "x.py:1");
    }
    let text = ask(&s.recording(), "tree", json!({"limit": 5000})).to_string();
    assert!(serde_json::from_str::<Value>(&text).is_ok());
    assert!(text.contains(r#""count":969"#));
}

#[test]
fn search_finds_failed_tasks_first() {
    let (recording, _) = two_and_a_lock();
    let found = ask(&recording, "search", json!({"text": "app.py"}));
    assert_eq!(names(&found), ["main", "b", "a"]);
    assert_eq!(ask(&recording, "search", json!({"text": "nowhere"}))["total"], 0);
}

#[test]
fn stats_are_by_code_wait_and_loop() {
    let (recording, _) = two_and_a_lock();
    let stats = ask(&recording, "stats", json!({}));
    let work = |line: u64| {
        stats["code"].as_array().unwrap().iter().find(|code| code["place"]["line"] == line).unwrap().clone()
    };
    assert_eq!((&work(12)["started"], &work(12)["failed"], &work(12)["steps"]), (&json!(1), &json!(0), &json!(2)));
    assert_eq!(
        (&work(13)["failed"], &work(13)["longest_step"], &work(13)["pending"]),
        (&json!(1), &json!(MS), &json!(0))
    );
    let whats: Vec<&str> =
        stats["waits"].as_array().unwrap().iter().map(|wait| wait["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["task", "sleep", "Lock.acquire"]);
    assert_eq!(stats["loops"][0]["turn"]["longest"], 3_100_000);
}

// --- Timeline ---------------------------------------------------------------------------------------

#[test]
fn a_row_has_exact_spans_while_there_is_room() {
    let (recording, [_, _, b]) = two_and_a_lock();
    let timeline = ask(&recording, "timeline", json!({"filter": id(b)}));
    let spans = &timeline["rows"][0]["spans"];
    assert_eq!(
        *spans,
        json!([
            [0, 3_000_000, "ready"],
            [3_000_000, 3_100_000, "running"],
            [3_100_000, 1_203_100_000, "waiting", "a lock, at db.py:40"],
            [1_203_100_000, 1_204_100_000, "running"],
        ])
    );
    assert_eq!(timeline["turns"], json!([[0, 3_100_000, 3, 1]]));
    let part = ask(&recording, "timeline", json!({"filter": id(b), "from": 5_000_000, "to": 6_000_000}));
    assert_eq!(part["rows"][0]["spans"], json!([[5_000_000, 6_000_000, "waiting", "a lock, at db.py:40"]]));
}

#[test]
fn what_is_too_small_to_see_is_merged() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    for _ in 0..10_000 {
        s.run(a);
        s.pass(10 * US).waits(a, "future", 0, "x.py:2");
        s.turn(10 * US, 2);
        s.pass(90 * US).wake(a, 0, "", cause::IO);
    }
    let recording = s.recording();
    let timeline = ask(&recording, "timeline", json!({"width": 200}));
    let spans = timeline["rows"][0]["spans"].as_array().unwrap();
    assert!(spans.len() <= 200, "{}", spans.len());
    let ends: Vec<u64> = spans.iter().map(|span| span[1].as_u64().unwrap()).collect();
    assert!(ends.is_sorted() && *ends.last().unwrap() == 1_000_000_000);
    let turns = timeline["turns"].as_array().unwrap();
    assert!(turns.len() <= 200);
    assert_eq!(turns.iter().map(|turn| turn[2].as_u64().unwrap()).sum::<u64>(), 20_000);
}

#[test]
fn rows_of_groups_are_few() {
    let recording = crawler(5000).recording();
    let timeline = ask(&recording, "timeline", json!({"group": true, "width": 300}));
    let labels: Vec<&str> =
        timeline["rows"].as_array().unwrap().iter().map(|row| row["label"].as_str().unwrap()).collect();
    assert_eq!(labels.len(), 4, "{labels:?}");
    assert_eq!((labels[0], labels[1]), ("main ×1", "worker ×8"));
    assert!(timeline["rows"].as_array().unwrap().iter().all(|row| row["spans"].as_array().unwrap().len() <= 300));
    let page = ask(&recording, "timeline", json!({"rows": 50, "offset": 100}));
    assert_eq!(page["rows"].as_array().unwrap().len(), 50);
}
