//! Pictures: which nodes and arrows, and that nothing covers anything.

use serde_json::{json, Value};

use trace::graph::{graph, Graph, Shape, Wanted, MOST_NODES};
use trace::synthetic::{crawler, Script};
use trace::words::id;
use trace::Recording;

fn labels(graph: &Graph, shape: Shape) -> Vec<&str> {
    graph.nodes.iter().filter(|node| node.shape == shape).map(|node| &*node.label).collect()
}

/// Nodes lie apart, boxes hold their own and nothing else, all is within the picture.
pub fn check_layout(graph: &Graph) {
    let covers = |a: &trace::graph::Node, b: &trace::graph::Node| {
        a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
    };
    for (at, node) in graph.nodes.iter().enumerate() {
        assert!(node.x >= 0.0 && node.y >= 0.0 && node.x + node.w <= graph.w && node.y + node.h <= graph.h, "{node:?}");
        for (other_at, other) in graph.nodes.iter().enumerate().skip(at + 1) {
            let belongs = node.parent == Some(other_at) || other.parent == Some(at);
            assert!(belongs || !covers(node, other), "{node:?} {other:?}");
        }
        if let Some(parent) = node.parent {
            let parent = &graph.nodes[parent];
            assert!(node.x >= parent.x && node.x + node.w <= parent.x + parent.w, "{node:?} {parent:?}");
            assert!(node.y >= parent.y && node.y + node.h <= parent.y + parent.h, "{node:?} {parent:?}");
        }
    }
    for edge in &graph.edges {
        assert!(edge.points.len() >= 2 && edge.points.iter().all(|(x, y)| x.is_finite() && y.is_finite()), "{edge:?}");
    }
}

fn drawn(recording: &Recording, wanted: &Wanted<'_>) -> Graph {
    let graph = graph(recording, wanted);
    check_layout(&graph);
    assert!(graph.nodes.len() <= MOST_NODES);
    graph
}

#[test]
fn a_hundred_thousand_tasks_are_a_few_groups() {
    let recording = crawler(100_000).recording();
    let graph = drawn(&recording, &Wanted::default());
    let groups = labels(&graph, Shape::Group);
    assert_eq!(groups.len(), 4, "{groups:?}");
    assert_eq!((groups[0], groups[1]), ("Task-1: main", "worker ×8"));
    assert_eq!(labels(&graph, Shape::Nursery), ["nursery", "nursery"]);
    let worst: Vec<_> = graph.nodes.iter().filter_map(|node| node.outcome()).map(|outcome| outcome.name()).collect();
    assert_eq!(worst, ["finished", "finished", "failed", "failed"]);
    let answer = recording.answer("graph", &json!({})).unwrap();
    let kinds: Vec<&Value> = answer["edges"].as_array().unwrap().iter().map(|edge| &edge["kind"]).collect();
    assert_eq!(kinds, ["spawned", "spawned", "spawned", "awaits", "cancelled"]);
    assert_eq!(answer["nodes"][0]["outcomes"]["finished"], 1);
}

#[test]
fn an_unfolded_group_shows_its_failed_tasks_and_counts_the_rest() {
    let recording = crawler(20_000).recording();
    let wanted = Wanted { expand: ["g2"].into(), ..Wanted::default() };
    let graph = drawn(&recording, &wanted);
    let failed = recording.model().tasks().iter().filter(|task| task.group == 2 && task.state.name() == "failed");
    let shown: Vec<&str> = graph.nodes.iter().map(|node| &*node.id).collect();
    for task in failed {
        assert!(shown.contains(&&*format!("t{}", id(task.key))), "{}", id(task.key));
    }
    assert_eq!(labels(&graph, Shape::Task).len(), 60);
    let more = graph.nodes.iter().find(|node| node.shape == Shape::More).unwrap();
    let groups = recording.model().groups().all();
    assert_eq!(more.outcomes.total(), groups[2].outcomes.total() - 60);
    let spawned: u64 = graph.edges.iter().filter(|edge| edge.kind.name() == "spawned").map(|edge| edge.count).sum();
    assert_eq!(spawned, recording.model().outcomes().total() - 1);
}

#[test]
fn all_tasks_of_a_small_group_are_shown_and_nothing_is_left() {
    let recording = crawler(1000).recording();
    let graph = drawn(&recording, &Wanted { expand: ["g1"].into(), ..Wanted::default() });
    let workers = labels(&graph, Shape::Task);
    assert_eq!(
        workers,
        ["worker-1", "worker-2", "worker-3", "worker-4", "worker-5", "worker-6", "worker-7", "worker-8"]
    );
    assert!(labels(&graph, Shape::More).is_empty());
}

#[test]
fn more_groups_than_fit_are_counted_and_failed_ones_are_there() {
    let mut s = Script::new();
    let main = s.spawn(0, "main", "x.py:1");
    for line in 0..2000 {
        let one = s.spawn(main, &format!("work{line}"), &format!("x.py:{}", 10 + line));
        let two = s.spawn(one, &format!("helper{line}"), &format!("x.py:{}", 5000 + line));
        if line == 1777 {
            s.fails(two, "ValueError: the one that matters", "x.py:3");
        }
        s.ends(one);
    }
    let recording = s.recording();
    for limit in [10, 50, 300] {
        let graph = drawn(&recording, &Wanted { limit, ..Wanted::default() });
        assert!(graph.nodes.len() <= limit, "{}", graph.nodes.len());
        assert!(graph.nodes.iter().any(|node| node.label == "helper1777"));
        let all: u64 = graph.nodes.iter().filter(|n| n.shape != Shape::Nursery).map(|node| node.outcomes.total()).sum();
        assert_eq!(all, 4001);
    }
}

#[test]
fn the_same_recording_gives_the_same_picture() {
    let script = crawler(3000);
    let expand = json!({"expand": "g1,g2,g3", "edges": ["spawned", "awaits", "woke", "cancelled"], "limit": 300});
    let one = script.recording().answer("graph", &expand).unwrap();
    assert_eq!(one, script.recording().answer("graph", &expand).unwrap());
    let graph =
        drawn(&script.recording(), &Wanted { expand: ["g1", "g2", "g3"].into(), limit: 300, ..Wanted::default() });
    assert_eq!(graph.nodes.len(), one["nodes"].as_array().unwrap().len());
}

#[test]
fn focus_leaves_what_a_node_has_to_do_with() {
    let recording = crawler(1000).recording();
    let graph = drawn(&recording, &Wanted { focus: "g1", ..Wanted::default() });
    let groups: Vec<&str> =
        graph.nodes.iter().filter(|node| node.shape == Shape::Group).map(|node| &*node.id).collect();
    assert_eq!(groups, ["g0", "g1", "g2"]);
    assert_eq!(labels(&graph, Shape::Nursery).len(), 2);
}

#[test]
fn nothing_is_a_picture_too() {
    let graph = drawn(&Recording::new(), &Wanted::default());
    assert!(graph.nodes.is_empty() && graph.w > 0.0);
}
