//! The arrows between the nodes of a picture: from the groups' counts where both ends are groups, from tasks and events where one was
//! unfolded.

use std::collections::HashMap;

use crate::event::Kind;
use crate::model::groups::Edge;

use super::{Arrow, Drawing, Shape};

pub(super) fn between(drawing: &Drawing<'_, '_>) -> Vec<Arrow> {
    let mut counts: HashMap<(Edge, usize, usize), u64> = HashMap::new();
    let model = drawing.recording.model();
    for &kind in &drawing.wanted.edges {
        for (from, to, count) in model.groups().edges(kind) {
            if drawing.unfolded.contains(&from) || drawing.unfolded.contains(&to) {
                continue;
            }
            if let (Some(&from), Some(&to)) = (drawing.of_group.get(&from), drawing.of_group.get(&to)) {
                *counts.entry((kind, from, to)).or_default() += count;
            }
        }
    }
    if !drawing.unfolded.is_empty() {
        of_unfolded(drawing, &mut counts);
    }
    let is_more = |node: usize| drawing.nodes[node].shape == Shape::More;
    let mut edges: Vec<Arrow> = counts
        .into_iter()
        // What the left out ones have to do with each other is left out too.
        .filter(|&((_, from, to), _)| !(from == to && is_more(from)))
        .map(|((kind, from, to), count)| Arrow { from, to, kind, count, points: Vec::new() })
        .collect();
    edges.sort_by_key(|edge| (edge.kind, edge.from, edge.to));
    edges
}

fn of_unfolded(drawing: &Drawing<'_, '_>, counts: &mut HashMap<(Edge, usize, usize), u64>) {
    let model = drawing.recording.model();
    let tasks = model.tasks();
    let mut link = |kind: Edge, from: u64, to: u64| {
        let (Some(from), Some(to)) = (model.position(from), model.position(to)) else { return };
        if !drawing.unfolded.contains(&tasks[from].group) && !drawing.unfolded.contains(&tasks[to].group) {
            return;
        }
        if let (Some(from), Some(to)) = (drawing.node_of(from), drawing.node_of(to)) {
            *counts.entry((kind, from, to)).or_default() += 1;
        }
    };
    let wants = |kind: Edge| drawing.wanted.edges.contains(&kind);
    for task in tasks {
        if wants(Edge::Spawned) {
            link(Edge::Spawned, task.parent, task.key);
        }
        if let (true, Some(cancel)) = (wants(Edge::Cancelled), model.cancel_of(task)) {
            link(Edge::Cancelled, cancel.by, task.key);
        }
    }
    for event in drawing.recording.history().iter() {
        match event.kind() {
            Some(Kind::WaitTask) if wants(Edge::Awaits) => link(Edge::Awaits, event.task(), event.a),
            Some(Kind::Wake) if wants(Edge::Woke) && event.a != event.task() => link(Edge::Woke, event.a, event.task()),
            _ => {}
        }
    }
}
