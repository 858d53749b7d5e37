//! Who started, awaits, woke and cancelled whom, as a picture of at most some hundred nodes for any number of tasks.
//!
//! A node is a group of tasks that are alike ([`crate::model::groups`]), one task of a group that was asked to be unfolded, or what there
//! is no room for ("and n more"). `edges.rs` finds the arrows between them, `layout.rs` where everything is.

mod edges;
mod layout;

use std::collections::{HashMap, HashSet};

use serde_json::{json, Value};

use crate::event::{Place, Text};
use crate::model::groups::{Edge, NO_GROUP};
use crate::model::task::{Outcome, Outcomes, State};
use crate::queries::{Arguments, Refused};
use crate::recording::Recording;
use crate::story;
use crate::words::{self, counted};

/// Nodes in one picture, boxes included.
pub const MOST_NODES: usize = 300;
/// Tasks of one unfolded group.
const MOST_MEMBERS: usize = 60;
const MOST_EDGES: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Group,
    Task,
    Nursery,
    More,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Group => "group",
            Shape::Task => "task",
            Shape::Nursery => "nursery",
            Shape::More => "more",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Node {
    pub id: String,
    pub shape: Shape,
    /// The only task in it, if there is but one.
    pub task: Option<u64>,
    /// The group that it is, or is of.
    pub group: Option<u32>,
    pub label: String,
    pub place: Place,
    pub outcomes: Outcomes,
    /// Of failed and cancelled ones.
    pub why: Text,
    /// One of its tasks that went wrong: the first that failed, or else that was cancelled.
    pub example: Option<u64>,
    /// The nursery's node that it is drawn in.
    pub parent: Option<usize>,
    /// The node that started it: it is drawn below.
    pub above: Option<usize>,
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub kind: Edge,
    pub count: u64,
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub edges: Vec<Arrow>,
    pub w: f64,
    pub h: f64,
}

/// What the picture is to show.
#[derive(Debug, Clone)]
pub struct Wanted<'w> {
    /// Ids of groups to unfold.
    pub expand: HashSet<&'w str>,
    /// Only this node, what leads to it, and what it has to do with.
    pub focus: &'w str,
    pub edges: Vec<Edge>,
    pub limit: usize,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        let edges = vec![Edge::Spawned, Edge::Awaits, Edge::Cancelled];
        Wanted { expand: HashSet::new(), focus: "", edges, limit: 200 }
    }
}

impl<'w> Wanted<'w> {
    pub fn new(given: &Arguments<'w>) -> Result<Wanted<'w>, Refused> {
        let expand = given.texts("expand")?.into_iter().collect();
        let mut wanted = Wanted { expand, focus: given.text("focus")?, ..Wanted::default() };
        let edges = given.texts("edges")?;
        if !edges.is_empty() {
            let kind = |name: &&str| Edge::ALL.into_iter().find(|edge| edge.name() == *name);
            let kinds: Option<Vec<Edge>> = edges.iter().map(kind).collect();
            wanted.edges = kinds.ok_or_else(|| Refused("edges are spawned, awaits, woke, cancelled".to_owned()))?;
        }
        wanted.limit = given.number("limit", 200)?.clamp(10, MOST_NODES as u64) as usize;
        Ok(wanted)
    }
}

pub fn answer(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let graph = graph(recording, &Wanted::new(given)?);
    let nodes: Vec<Value> = graph.nodes.iter().map(|node| node_json(recording, &graph, node)).collect();
    let edge = |edge: &Arrow| {
        json!({
            "from": graph.nodes[edge.from].id, "to": graph.nodes[edge.to].id,
            "kind": edge.kind.name(), "count": edge.count, "points": edge.points,
            "outcome": graph.nodes[edge.to].outcome().map(Outcome::name),
        })
    };
    let edges: Vec<Value> = graph.edges.iter().map(edge).collect();
    Ok(json!({"nodes": nodes, "edges": edges, "w": graph.w, "h": graph.h}))
}

fn node_json(recording: &Recording, graph: &Graph, node: &Node) -> Value {
    json!({
        "id": node.id,
        "kind": node.shape.name(),
        "task": node.task.map(words::id),
        "label": node.label,
        "place": recording.place_json(node.place),
        "count": node.outcomes.total(),
        "outcomes": outcomes_json(&node.outcomes),
        "outcome": node.outcome().map(Outcome::name),
        "why": recording.tables.text(node.why),
        "lines": node.lines(recording),
        "group": node.group.map(|group| format!("g{group}")),
        "example": node.example.map(words::id),
        "explained": node.example.and_then(|task| explained(recording, task)),
        "parent": node.parent.map(|parent| &graph.nodes[parent].id),
        "x": node.x, "y": node.y, "w": node.w, "h": node.h,
    })
}

/// Why a task went wrong, in words.
fn explained(recording: &Recording, task: u64) -> Option<String> {
    let model = recording.model();
    let task = model.task(task)?;
    match (task.state, model.cancel_of(task)) {
        (State::Cancelled, Some(cancel)) => Some(story::cancellation(recording, task.key, cancel)),
        _ => story::ending(recording, task),
    }
}

pub fn outcomes_json(outcomes: &Outcomes) -> Value {
    let told = Outcome::ALL.into_iter().map(|outcome| (outcome.name().to_owned(), json!(outcomes.of(outcome))));
    Value::Object(told.collect())
}

impl Node {
    /// The worst of its tasks' outcomes; None for a box.
    pub fn outcome(&self) -> Option<Outcome> {
        let by_badness = [Outcome::Failed, Outcome::Cancelled, Outcome::Pending, Outcome::Finished];
        (self.shape != Shape::Nursery).then(|| worst(&self.outcomes, &by_badness))
    }

    /// The lines that are drawn in it.
    pub fn lines(&self, recording: &Recording) -> Vec<String> {
        let mut lines = vec![self.label.clone()];
        lines.extend(recording.place(self.place));
        let mut parts: Vec<String> = Vec::new();
        for outcome in [Outcome::Failed, Outcome::Cancelled, Outcome::Pending] {
            match (self.outcomes.of(outcome), self.outcomes.total()) {
                (0, _) => {}
                (_, 1) => parts.push(outcome.name().to_owned()),
                (count, all) if count == all => parts.push(format!("all {}", outcome.name())),
                (count, _) => parts.push(format!("{} {}", words::count(count), outcome.name())),
            }
        }
        if self.shape != Shape::Nursery {
            let said = parts.join(", ");
            let why = words::one_line(recording.tables.text(self.why));
            match (said.is_empty(), why.is_empty()) {
                (true, _) => {}
                (false, true) => lines.push(said),
                (false, false) => lines.push(format!("{said}: {}", words::shortened(&why, 80))),
            }
        }
        lines
    }
}

fn worst(outcomes: &Outcomes, order: &[Outcome]) -> Outcome {
    order.iter().copied().find(|outcome| outcomes.of(*outcome) > 0).unwrap_or(Outcome::Finished)
}

pub fn graph(recording: &Recording, wanted: &Wanted<'_>) -> Graph {
    let mut drawing = Drawing::new(recording, wanted);
    drawing.groups();
    drawing.members();
    drawing.left_out();
    drawing.examples();
    let mut edges = edges::between(&drawing);
    edges.sort_by_key(|edge| (edge.kind, std::cmp::Reverse(edge.count), edge.from, edge.to));
    edges.truncate(MOST_EDGES);
    let mut graph = Graph { nodes: drawing.nodes, edges, w: 0.0, h: 0.0 };
    if !wanted.focus.is_empty() {
        focus(&mut graph, wanted.focus);
    }
    boxes_count(&mut graph);
    layout::place(recording, &mut graph);
    graph
}

/// A picture in the making.
struct Drawing<'r, 'w> {
    recording: &'r Recording,
    wanted: &'w Wanted<'w>,
    nodes: Vec<Node>,
    /// The node of a group, or of what is left of an unfolded one.
    of_group: HashMap<u32, usize>,
    /// The node of each task that is drawn by itself, by its position.
    of_task: HashMap<usize, usize>,
    unfolded: HashSet<u32>,
    boxes: HashMap<(Option<usize>, Place), usize>,
}

impl<'r, 'w> Drawing<'r, 'w> {
    fn new(recording: &'r Recording, wanted: &'w Wanted<'w>) -> Drawing<'r, 'w> {
        let (of_group, of_task) = (HashMap::new(), HashMap::new());
        let (unfolded, boxes) = (HashSet::new(), HashMap::new());
        Drawing { recording, wanted, nodes: Vec::new(), of_group, of_task, unfolded, boxes }
    }

    /// The groups that there is room for: failed ones with what leads to them first, then from the top.
    fn groups(&mut self) {
        let groups = self.recording.model().groups().all();
        let room = if groups.len() * 2 > self.wanted.limit { self.wanted.limit / 2 } else { groups.len() };
        let mut shown: HashSet<u32> = HashSet::new();
        for outcome in [Outcome::Failed, Outcome::Cancelled, Outcome::Pending, Outcome::Finished] {
            for (number, group) in groups.iter().enumerate().filter(|(_, group)| group.outcomes.of(outcome) > 0) {
                if shown.len() >= room {
                    break;
                }
                if group.depth as usize > room {
                    continue;
                }
                let mut branch = Vec::new();
                let mut number = number as u32;
                while number != NO_GROUP && !shown.contains(&number) {
                    branch.push(number);
                    number = groups[number as usize].parent;
                }
                if shown.len() + branch.len() <= room {
                    shown.extend(branch);
                }
            }
        }
        let mut shown: Vec<u32> = shown.into_iter().collect();
        // A group is made after its parent.
        shown.sort_unstable();
        let looked_at = self.looked_at().map(|at| self.recording.model().tasks()[at].group);
        for number in shown {
            let group = &groups[number as usize];
            let above = self.of_group.get(&group.parent).copied();
            let parent = group.nursery.map(|opened_at| self.box_of(above, opened_at));
            let name = self.recording.code_name(group.coroutine);
            let count = group.outcomes.total();
            let label = if count == 1 { name } else { format!("{name} ×{}", words::count(count)) };
            let id = format!("g{number}");
            let node = self.node(id, Shape::Group, label, group.place, group.outcomes, parent, above);
            (self.nodes[node].why, self.nodes[node].group) = (group.why, Some(number));
            self.of_group.insert(number, node);
            if self.wanted.expand.contains(&*self.nodes[node].id) || looked_at == Some(number) {
                self.unfolded.insert(number);
            }
        }
        self.name_the_only_ones();
    }

    /// The task that is in focus, by its position: it is drawn by itself.
    fn looked_at(&self) -> Option<usize> {
        let model = self.recording.model();
        let at = model.position(words::key(self.wanted.focus.strip_prefix('t')?)?)?;
        // A group of one stands for its task.
        let group = model.groups().all().get(model.tasks()[at].group as usize)?;
        (group.outcomes.total() > 1).then_some(at)
    }

    /// A group of one task is named as the task.
    fn name_the_only_ones(&mut self) {
        let recording = self.recording;
        for task in recording.model().tasks() {
            let Some(&node) = self.of_group.get(&task.group) else { continue };
            let node = &mut self.nodes[node];
            if node.outcomes.total() == 1 {
                node.task = Some(task.key);
                let (name, code) = (recording.name(task), recording.coroutine(task));
                let is_made_up = recording.tables.text(task.name).is_empty();
                node.label = if is_made_up || name == code { code } else { format!("{name}: {code}") };
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn node(
        &mut self,
        id: String,
        shape: Shape,
        label: String,
        place: Place,
        outcomes: Outcomes,
        parent: Option<usize>,
        above: Option<usize>,
    ) -> usize {
        let (x, y, w, h) = (0.0, 0.0, 0.0, 0.0);
        let (task, group, why, example) = (None, None, 0, None);
        self.nodes.push(Node {
            id,
            shape,
            task,
            group,
            label,
            place,
            outcomes,
            why,
            example,
            parent,
            above,
            x,
            y,
            w,
            h,
        });
        self.nodes.len() - 1
    }

    fn box_of(&mut self, host: Option<usize>, opened_at: Place) -> usize {
        if let Some(&known) = self.boxes.get(&(host, opened_at)) {
            return known;
        }
        let id = format!("n{}:{opened_at}", host.map_or("", |host| &self.nodes[host].id));
        let outcomes = Outcomes::default();
        let label = "nursery".to_owned();
        let node = self.node(id, Shape::Nursery, label, opened_at, outcomes, None, host);
        self.boxes.insert((host, opened_at), node);
        node
    }

    /// Unfolds the groups that were asked for, as far as there is room: the failed tasks first.
    fn members(&mut self) {
        let recording = self.recording;
        let tasks = recording.model().tasks();
        let looked_at = self.looked_at();
        let mut unfolded: Vec<u32> = self.unfolded.iter().copied().collect();
        unfolded.sort_unstable();
        for group in unfolded {
            let mut members: Vec<usize> = (0..tasks.len()).filter(|&at| tasks[at].group == group).collect();
            members.sort_by_key(|&at| match tasks[at].state {
                _ if looked_at == Some(at) => (0, 0),
                State::Failed => (0, at),
                State::Cancelled => (1, at),
                State::Finished => (3, at),
                _ => (2, at),
            });
            let room = self.wanted.limit.saturating_sub(self.nodes.len() + 1).min(MOST_MEMBERS);
            members.truncate(room);
            members.sort_unstable();
            let folded = self.of_group[&group];
            let (parent, above) = (self.nodes[folded].parent, self.nodes[folded].above);
            let mut rest = self.nodes[folded].outcomes;
            for &member in &members {
                let task = &tasks[member];
                let mut outcomes = Outcomes::default();
                outcomes.add(task.state.outcome(), 1);
                rest = less_one(rest, task.state.outcome());
                let id = format!("t{}", words::id(task.key));
                let label = recording.name(task);
                let node = self.node(id, Shape::Task, label, task.started_at, outcomes, parent, above);
                (self.nodes[node].task, self.nodes[node].why) = (Some(task.key), task.why);
                self.nodes[node].group = Some(group);
                self.of_task.insert(member, node);
            }
            let node = &mut self.nodes[folded];
            node.outcomes = rest;
            (node.shape, node.task) = (Shape::More, None);
            node.label = format!("and {} more", words::count(rest.total()));
        }
        self.drop_empty();
    }

    /// Groups of which every task is drawn: their tasks stand for them.
    fn drop_empty(&mut self) {
        let mut stand_in: HashMap<usize, usize> = HashMap::new();
        for &group in &self.unfolded {
            let folded = self.of_group[&group];
            if self.nodes[folded].outcomes.total() > 0 {
                continue;
            }
            let tasks = self.recording.model().tasks();
            let first = self.of_task.iter().filter(|(&at, _)| tasks[at].group == group).map(|(_, &node)| node).min();
            if let Some(first) = first {
                stand_in.insert(folded, first);
                self.of_group.insert(group, first);
            }
        }
        let new = renumbered(self.nodes.len(), |node| !stand_in.contains_key(&node));
        let now_at = |node: usize| new[*stand_in.get(&node).unwrap_or(&node)];
        let mut at = 0;
        self.nodes.retain(|_| {
            at += 1;
            !stand_in.contains_key(&(at - 1))
        });
        for node in &mut self.nodes {
            (node.parent, node.above) = (node.parent.map(now_at), node.above.map(now_at));
        }
        self.of_group.values_mut().chain(self.of_task.values_mut()).for_each(|node| *node = now_at(*node));
        self.boxes =
            self.boxes.drain().map(|((host, place), node)| ((host.map(now_at), place), now_at(node))).collect();
    }

    /// One node below each for what there is no room for there.
    fn left_out(&mut self) {
        let groups = self.recording.model().groups().all();
        if self.of_group.len() == groups.len() {
            return;
        }
        let mut more: HashMap<Option<usize>, usize> = HashMap::new();
        for number in 0..groups.len() as u32 {
            if self.of_group.contains_key(&number) {
                continue;
            }
            // Its parent has a node by now: its own, or the one that counts what is left out.
            let group = &groups[number as usize];
            let above = self.of_group.get(&group.parent).copied();
            let node = match above {
                Some(counts) if self.nodes[counts].id.starts_with('h') => counts,
                above => self.more(&mut more, above),
            };
            self.nodes[node].outcomes.add_all(&group.outcomes);
            self.of_group.insert(number, node);
        }
        for &node in more.values() {
            let count = self.nodes[node].outcomes.total();
            self.nodes[node].label = format!("and {} more", counted(count, "task"));
        }
    }

    fn more(&mut self, more: &mut HashMap<Option<usize>, usize>, above: Option<usize>) -> usize {
        if let Some(&known) = more.get(&above) {
            return known;
        }
        let id = format!("h{}", above.map_or("", |above| &self.nodes[above].id));
        let node = self.node(id, Shape::More, String::new(), 0, Outcomes::default(), None, above);
        more.insert(above, node);
        node
    }

    fn examples(&mut self) {
        let tasks = self.recording.model().tasks();
        for wanted in [State::Failed, State::Cancelled] {
            for (at, task) in tasks.iter().enumerate().filter(|(_, task)| task.state == wanted) {
                if let Some(node) = self.node_of(at) {
                    self.nodes[node].example.get_or_insert(task.key);
                }
            }
        }
    }

    fn node_of(&self, position: usize) -> Option<usize> {
        let group = self.recording.model().tasks()[position].group;
        self.of_task.get(&position).or_else(|| self.of_group.get(&group)).copied()
    }
}

fn less_one(outcomes: Outcomes, of: Outcome) -> Outcomes {
    let mut less = Outcomes::default();
    for outcome in Outcome::ALL {
        less.add(outcome, outcomes.of(outcome).saturating_sub(u64::from(outcome == of)));
    }
    less
}

/// Where each will be when only some stay.
fn renumbered(len: usize, stays: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut next = 0;
    let place = |node| {
        let at = next;
        next += usize::from(stays(node));
        at
    };
    (0..len).map(place).collect()
}

/// Leaves the node, what is above it, and what it has to do with.
fn focus(graph: &mut Graph, id: &str) {
    let task = id.strip_prefix('t').and_then(words::key);
    let is_it = |node: &Node| node.id == id || (task.is_some() && node.task == task);
    let Some(at) = graph.nodes.iter().position(is_it) else { return };
    let mut stays: HashSet<usize> = HashSet::from([at]);
    for edge in &graph.edges {
        if edge.from == at || edge.to == at {
            stays.extend([edge.from, edge.to]);
        }
    }
    let mut next = Some(at);
    while let Some(node) = next.filter(|_| stays.len() <= graph.nodes.len()) {
        stays.insert(node);
        next = graph.nodes[node].above;
    }
    let boxes: Vec<usize> = stays.iter().filter_map(|&node| graph.nodes[node].parent).collect();
    stays.extend(boxes);
    let new = renumbered(graph.nodes.len(), |node| stays.contains(&node));
    let moved = |node: Option<usize>| node.filter(|node| stays.contains(node)).map(|node| new[node]);
    let mut at = 0;
    graph.nodes.retain(|_| {
        at += 1;
        stays.contains(&(at - 1))
    });
    for node in &mut graph.nodes {
        (node.parent, node.above) = (moved(node.parent), moved(node.above));
    }
    graph.edges.retain(|edge| stays.contains(&edge.from) && stays.contains(&edge.to));
    graph.edges.iter_mut().for_each(|edge| (edge.from, edge.to) = (new[edge.from], new[edge.to]));
}

/// A box counts what is drawn in it.
fn boxes_count(graph: &mut Graph) {
    for at in 0..graph.nodes.len() {
        if let Some(parent) = graph.nodes[at].parent {
            let outcomes = graph.nodes[at].outcomes;
            graph.nodes[parent].outcomes.add_all(&outcomes);
        }
    }
}
