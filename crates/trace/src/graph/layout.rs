//! Where the nodes of a picture are: who started a task is above it, what was started by one node lies side by side below it, many of
//! them in rows; a nursery is a box around its own. The same recording gives the same picture.

use std::collections::HashMap;

use crate::recording::Recording;

use super::{Arrow, Graph, Shape};

const CHAR: f64 = 7.0;
const LINE: f64 = 17.0;
const NARROWEST: f64 = 110.0;
const WIDEST: f64 = 300.0;
const GAP: f64 = 24.0;
/// Between a level and the next.
const FALL: f64 = 64.0;
const MARGIN: f64 = 20.0;
/// Of a box: beside and below what is in it, and above, where its name is.
const PADDING: f64 = 14.0;
const TITLE: f64 = 26.0;
/// More nodes that start nothing than this are drawn in rows.
const IN_A_ROW: usize = 6;
const SWEEPS: usize = 3;

pub(super) fn place(recording: &Recording, graph: &mut Graph) {
    for at in 0..graph.nodes.len() {
        let lines = graph.nodes[at].lines(recording);
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let node = &mut graph.nodes[at];
        // What is written on a box is on one line.
        let longest = if node.shape == Shape::Nursery { lines.join(" at ").chars().count() } else { longest };
        node.w = (longest as f64 * CHAR + 24.0).clamp(NARROWEST, WIDEST).round();
        node.h = lines.len() as f64 * LINE + 14.0;
    }
    let mut tree = Tree::new(graph);
    tree.place(graph);
    for _ in 0..SWEEPS {
        tree.order_by_neighbours(graph);
        tree.place(graph);
    }
    frame_boxes(graph);
    for at in 0..graph.edges.len() {
        graph.edges[at].points = points(graph, &graph.edges[at]);
    }
    let right = graph.nodes.iter().map(|node| node.x + node.w).fold(0.0, f64::max);
    let bottom = graph.nodes.iter().map(|node| node.y + node.h).fold(0.0, f64::max);
    (graph.w, graph.h) = (right + MARGIN + GAP, bottom + MARGIN);
}

/// Nodes below a node that are drawn together: in one box, or in none.
struct Cluster {
    of: Option<usize>,
    members: Vec<usize>,
}

/// How a cluster is laid out: nodes that start others side by side, then the others in rows.
struct Laid {
    branches: Vec<usize>,
    leaves: Vec<usize>,
    columns: usize,
    cell: f64,
    row: f64,
    /// From where it begins to what is in it.
    left: f64,
    width: f64,
    height: f64,
}

struct Tree {
    roots: Vec<Cluster>,
    below: Vec<Vec<Cluster>>,
    level: Vec<usize>,
    levels: usize,
    widths: Vec<f64>,
    tops: Vec<f64>,
}

impl Tree {
    fn new(graph: &Graph) -> Tree {
        let mut below: Vec<Vec<Cluster>> = (0..graph.nodes.len()).map(|_| Vec::new()).collect();
        let mut roots = Vec::new();
        for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.shape != Shape::Nursery) {
            let clusters = node.above.map_or(&mut roots, |above| &mut below[above]);
            match clusters.iter_mut().find(|cluster| cluster.of == node.parent) {
                Some(cluster) => cluster.members.push(at),
                None => clusters.push(Cluster { of: node.parent, members: vec![at] }),
            }
        }
        let count = graph.nodes.len();
        let mut tree =
            Tree { roots, below, level: vec![0; count], levels: 1, widths: vec![0.0; count], tops: Vec::new() };
        let mut next: Vec<(usize, usize)> =
            tree.roots.iter().flat_map(|cluster| &cluster.members).map(|&root| (root, 0)).collect();
        while let Some((node, level)) = next.pop() {
            tree.level[node] = level;
            tree.levels = tree.levels.max(level + 1);
            next.extend(tree.below[node].iter().flat_map(|cluster| &cluster.members).map(|&node| (node, level + 1)));
        }
        tree
    }

    fn lay(&self, graph: &Graph, cluster: &Cluster) -> Laid {
        let is_leaf = |node: &usize| self.below[*node].is_empty();
        let (leaves, branches): (Vec<usize>, Vec<usize>) = cluster.members.iter().partition(|node| is_leaf(node));
        let columns = match leaves.len() {
            few if few <= IN_A_ROW => few,
            many => ((many as f64 * 1.5).sqrt().ceil() as usize).max(IN_A_ROW),
        };
        let cell = leaves.iter().map(|&leaf| graph.nodes[leaf].w).fold(0.0, f64::max);
        let row = leaves.iter().map(|&leaf| graph.nodes[leaf].h).fold(0.0, f64::max) + GAP;
        let rows = leaves.len().div_ceil(columns.max(1));
        let wide = branches
            .iter()
            .map(|&node| self.widths[node])
            .chain((columns > 0).then_some(columns as f64 * (cell + GAP) - GAP));
        let parts = branches.len() + usize::from(columns > 0);
        let padding = if cluster.of.is_some() { 2.0 * PADDING } else { 0.0 };
        let content = wide.sum::<f64>() + parts.saturating_sub(1) as f64 * GAP + padding;
        let width = cluster.of.map_or(content, |frame| content.max(graph.nodes[frame].w));
        let tall = branches.iter().map(|&node| graph.nodes[node].h).fold(rows as f64 * row - GAP, f64::max);
        let left = (width - content + padding) / 2.0;
        Laid { branches, leaves, columns, cell, row, left, width, height: tall }
    }

    fn width_below(&self, graph: &Graph, clusters: &[Cluster]) -> f64 {
        let widths: f64 = clusters.iter().map(|cluster| self.lay(graph, cluster).width).sum();
        widths + clusters.len().saturating_sub(1) as f64 * GAP
    }

    fn place(&mut self, graph: &mut Graph) {
        // From the leaves up: how wide is what is below.
        let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
        order.sort_by_key(|&node| std::cmp::Reverse(self.level[node]));
        for &node in &order {
            self.widths[node] = self.width_below(graph, &self.below[node]).max(graph.nodes[node].w);
        }
        // How tall is each level, with the boxes' edges.
        let mut tall = vec![0.0f64; self.levels];
        let mut framed = vec![false; self.levels];
        let all = self.roots.iter().chain(self.below.iter().flatten());
        for cluster in all {
            let level = self.level[cluster.members[0]];
            tall[level] = tall[level].max(self.lay(graph, cluster).height);
            framed[level] |= cluster.of.is_some();
        }
        self.tops.clear();
        let mut top = MARGIN;
        for level in 0..self.levels {
            top += if framed[level] { TITLE } else { 0.0 };
            self.tops.push(top);
            top += tall[level] + FALL + if framed[level] { PADDING } else { 0.0 };
        }
        self.place_clusters(graph, &self.roots, MARGIN);
    }

    fn place_clusters(&self, graph: &mut Graph, clusters: &[Cluster], left: f64) {
        let mut x = left;
        for cluster in clusters {
            let laid = self.lay(graph, cluster);
            let mut at = x + laid.left;
            for &node in &laid.branches {
                let (width, top) = (self.widths[node], self.tops[self.level[node]]);
                let own = graph.nodes[node].w;
                (graph.nodes[node].x, graph.nodes[node].y) = ((at + (width - own) / 2.0).round(), top);
                let below = self.width_below(graph, &self.below[node]);
                self.place_clusters(graph, &self.below[node], at + (width - below) / 2.0);
                at += width + GAP;
            }
            for (number, &leaf) in laid.leaves.iter().enumerate() {
                let (column, row) = (number % laid.columns, number / laid.columns);
                // Of equal width where lines go past them to the next row.
                if laid.leaves.len() > laid.columns {
                    graph.nodes[leaf].w = laid.cell;
                }
                let middle = at + column as f64 * (laid.cell + GAP) + (laid.cell - graph.nodes[leaf].w) / 2.0;
                let top = self.tops[self.level[leaf]] + row as f64 * laid.row;
                (graph.nodes[leaf].x, graph.nodes[leaf].y) = (middle.round(), top);
            }
            x += laid.width + GAP;
        }
    }

    /// Those that have to do with each other come closer: by the middle of whom each awaits, woke or cancelled.
    fn order_by_neighbours(&mut self, graph: &Graph) {
        let middle = |node: usize| graph.nodes[node].x + graph.nodes[node].w / 2.0;
        let mut sums: HashMap<usize, (f64, f64)> = HashMap::new();
        for edge in &graph.edges {
            if edge.from != edge.to && graph.nodes[edge.to].above != Some(edge.from) {
                for (one, other) in [(edge.from, edge.to), (edge.to, edge.from)] {
                    let (sum, count) = sums.entry(one).or_default();
                    (*sum, *count) = (*sum + middle(other), *count + 1.0);
                }
            }
        }
        let wanted = |node: usize| match sums.get(&node) {
            // Its parent pulls it too, or a leaf would cross the whole picture.
            Some((sum, count)) => (sum / count + middle(node)) / 2.0,
            None => middle(node),
        };
        for clusters in self.below.iter_mut().chain([&mut self.roots]) {
            for cluster in clusters.iter_mut() {
                // Nodes in rows stay in the order in which they were started.
                if cluster.members.len() <= IN_A_ROW {
                    cluster.members.sort_by(|a, b| wanted(*a).total_cmp(&wanted(*b)).then(a.cmp(b)));
                }
            }
            let mean = |cluster: &Cluster| {
                cluster.members.iter().map(|&node| wanted(node)).sum::<f64>() / cluster.members.len() as f64
            };
            clusters.sort_by(|a, b| mean(a).total_cmp(&mean(b)).then(a.members.cmp(&b.members)));
        }
    }
}

/// A box is around what is in it.
fn frame_boxes(graph: &mut Graph) {
    let mut frames: HashMap<usize, [f64; 4]> = HashMap::new();
    for node in &graph.nodes {
        if let Some(parent) = node.parent {
            let frame = frames.entry(parent).or_insert([f64::MAX, f64::MAX, 0.0, 0.0]);
            let [left, top, right, bottom] = *frame;
            *frame = [left.min(node.x), top.min(node.y), right.max(node.x + node.w), bottom.max(node.y + node.h)];
        }
    }
    for (at, [left, top, right, bottom]) in frames {
        let node = &mut graph.nodes[at];
        let half = ((right - left) / 2.0 + PADDING).max(node.w / 2.0);
        let middle = (left + right) / 2.0;
        (node.x, node.y) = ((middle - half).floor(), top - TITLE);
        (node.w, node.h) = ((middle + half).ceil() - node.x, bottom + PADDING - node.y);
    }
}

/// From the lower edge of who started to the upper edge of what was started, between the rows; all others straight, from edge to edge.
fn points(graph: &Graph, edge: &Arrow) -> Vec<(f64, f64)> {
    let (from, to) = (&graph.nodes[edge.from], &graph.nodes[edge.to]);
    let middle = |node: &super::Node| (node.x + node.w / 2.0, node.y + node.h / 2.0);
    let points = if edge.from == edge.to {
        let (right, (_, y)) = (from.x + from.w, middle(from));
        vec![(right, y - 8.0), (right + 16.0, y - 8.0), (right + 16.0, y + 8.0), (right, y + 8.0)]
    } else if to.above == Some(edge.from) && edge.kind == crate::model::groups::Edge::Spawned {
        let (start, (x, _)) = ((middle(from).0, from.y + from.h), middle(to));
        let bend = start.1 + FALL / 3.0;
        let siblings = graph.nodes.iter().filter(|node| node.above == Some(edge.from) && node.shape != Shape::Nursery);
        let first_row = siblings.map(|node| node.y).fold(f64::MAX, f64::min);
        let mut points = vec![start, (start.0, bend)];
        if to.y > first_row {
            // Past the rows above it, through the gap beside it.
            let (gap, above) = (to.x - GAP / 2.0, to.y - GAP / 2.0);
            points.extend([(gap, bend), (gap, above), (x, above)]);
        } else {
            points.push((x, bend));
        }
        points.push((x, to.y));
        points
    } else {
        let ends = (middle(from), middle(to));
        let (start, end) = (border(from, ends.1), border(to, ends.0));
        // Beside the others between the same two.
        let aside = [0.0, 9.0, -9.0, 18.0][edge.kind as usize];
        let (dx, dy) = (end.0 - start.0, end.1 - start.1);
        let long = dx.hypot(dy).max(1.0);
        let shift = (-dy / long * aside, dx / long * aside);
        vec![(start.0 + shift.0, start.1 + shift.1), (end.0 + shift.0, end.1 + shift.1)]
    };
    points.into_iter().map(|(x, y)| (x.round(), y.round())).collect()
}

/// Where the line from the middle of a node to a point leaves the node.
fn border(node: &super::Node, to: (f64, f64)) -> (f64, f64) {
    let (x, y) = (node.x + node.w / 2.0, node.y + node.h / 2.0);
    let (dx, dy) = (to.0 - x, to.1 - y);
    let reach = |half: f64, way: f64| if way == 0.0 { f64::MAX } else { half / way.abs() };
    let part = reach(node.w / 2.0, dx).min(reach(node.h / 2.0, dy)).min(1.0);
    (x + dx * part, y + dy * part)
}
