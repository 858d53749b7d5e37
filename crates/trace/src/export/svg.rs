//! The picture as an SVG that needs nothing else: readable in a browser, light or dark as the reader's system, and by screen readers.

use std::io::{self, Write};

use crate::graph::{graph, Arrow, Graph, Node, Shape, Wanted};
use crate::model::groups::Edge;
use crate::recording::Recording;
use crate::words::{counted, shortened};

const STYLE: &str = "\
:root{--page:#fff;--ink:#1b1f24;--soft:#57606a;--node:#f6f8fa;--line:#8c959f;--box:#0969da;--failed:#cf222e;--failed-fill:#ffebe9;\
--cancelled:#8250df;--pending:#9a6700;--pending-fill:#fff8c5}
@media (prefers-color-scheme:dark){:root{--page:#0d1117;--ink:#e6edf3;--soft:#9da7b1;--node:#161b22;--line:#6e7681;--box:#58a6ff;\
--failed:#ff7b72;--failed-fill:#3d1418;--cancelled:#bc8cff;--pending:#d29922;--pending-fill:#2e2111}}
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:var(--ink)}
.first{font-weight:600}.soft{fill:var(--soft)}
.page{fill:var(--page)}
.node rect{fill:var(--node);stroke:var(--line)}
.failed rect{fill:var(--failed-fill);stroke:var(--failed);stroke-width:2}
.cancelled rect{stroke:var(--cancelled);stroke-dasharray:5 3}
.pending rect{fill:var(--pending-fill);stroke:var(--pending)}
.more rect{stroke-dasharray:2 3}
.nursery rect{fill:none;stroke:var(--box);stroke-dasharray:8 4}
.nursery text{fill:var(--box)}
path{fill:none;stroke:var(--line);stroke-width:1.3}
.awaits{stroke:var(--box);stroke-dasharray:5 4}.woke{stroke:var(--pending);stroke-dasharray:2 3}.cancelled-by{stroke:var(--cancelled);stroke-width:2}
.spawned.to-failed{stroke:var(--failed);stroke-width:2}.spawned.to-cancelled{stroke:var(--cancelled)}
marker path{fill:var(--line);stroke:none}
";

pub fn write(recording: &Recording, wanted: &Wanted<'_>, out: &mut dyn Write) -> io::Result<()> {
    let graph = graph(recording, wanted);
    let (w, h) = (graph.w.max(320.0), graph.h + 28.0);
    let program = recording.about.get("program").and_then(|program| program.as_str()).unwrap_or("a program");
    let tasks = counted(recording.model().outcomes().total(), "task");
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-labelledby=\"title desc\">"
    )?;
    writeln!(out, "<title id=\"title\">Tasks of {}</title>", escape(program))?;
    writeln!(out, "<desc id=\"desc\">{tasks}: who started, awaits and cancelled whom.</desc>")?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(
        out,
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>"
    )?;
    writeln!(out, "<rect class=\"page\" width=\"{w}\" height=\"{h}\"/>")?;
    // What lies below comes first.
    for node in graph.nodes.iter().filter(|node| node.shape == Shape::Nursery) {
        write_node(recording, node, out)?;
    }
    for edge in &graph.edges {
        write_edge(&graph, edge, out)?;
    }
    for node in graph.nodes.iter().filter(|node| node.shape != Shape::Nursery) {
        write_node(recording, node, out)?;
    }
    write_legend(wanted, graph.h, out)?;
    writeln!(out, "</svg>")
}

fn write_node(recording: &Recording, node: &Node, out: &mut dyn Write) -> io::Result<()> {
    let lines = node.lines(recording);
    let mut class = match node.outcome() {
        None => "nursery".to_owned(),
        Some(outcome) => format!("node {}", outcome.name()),
    };
    if node.shape == Shape::More {
        class += " more";
    }
    writeln!(out, "<g class=\"{class}\"><title>{}</title>", escape(&lines.join("\n")))?;
    writeln!(out, "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>", node.x, node.y, node.w, node.h)?;
    // As many characters as there is room for.
    let most = ((node.w - 16.0) / 7.3) as usize;
    if node.shape == Shape::Nursery {
        let line = shortened(&lines.join(" at "), most);
        writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text></g>", node.x + 8.0, node.y + 17.0, escape(&line))?;
        return Ok(());
    }
    for (number, line) in lines.iter().enumerate() {
        let class = if number == 0 { "first" } else { "soft" };
        let (x, y) = (node.x + node.w / 2.0, node.y + 20.0 + 17.0 * number as f64);
        let line = escape(&shortened(line, most));
        writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{line}</text>")?;
    }
    writeln!(out, "</g>")
}

fn write_edge(graph: &Graph, edge: &Arrow, out: &mut dyn Write) -> io::Result<()> {
    let way: Vec<String> = edge.points.iter().map(|(x, y)| format!("{x} {y}")).collect();
    let (from, to) = (&graph.nodes[edge.from].label, &graph.nodes[edge.to].label);
    let said = format!("{from} {} {to}, {}", edge.kind.name(), counted(edge.count, "time"));
    let leads_to = graph.nodes[edge.to].outcome().map_or("", |outcome| outcome.name());
    let (class, way) = (format!("{} to-{leads_to}", class(edge.kind)), way.join("L"));
    writeln!(
        out,
        "<path class=\"{class}\" d=\"M{way}\" marker-end=\"url(#tip)\"><title>{}</title></path>",
        escape(&said)
    )
}

fn class(edge: Edge) -> &'static str {
    match edge {
        Edge::Spawned => "spawned",
        Edge::Awaits => "awaits",
        Edge::Woke => "woke",
        Edge::Cancelled => "cancelled-by",
    }
}

fn write_legend(wanted: &Wanted<'_>, y: f64, out: &mut dyn Write) -> io::Result<()> {
    let (mut x, y) = (20.0, y + 8.0);
    for &kind in &wanted.edges {
        let (class, name, end) = (class(kind), kind.name(), x + 24.0);
        writeln!(out, "<path class=\"{class}\" d=\"M{x} {y}L{end} {y}\" marker-end=\"url(#tip)\"/>")?;
        writeln!(out, "<text class=\"soft\" x=\"{}\" y=\"{}\">{name}</text>", end + 6.0, y + 4.0)?;
        x = end + 24.0 + name.len() as f64 * 7.3;
    }
    Ok(())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' => escaped.push(c),
            // Not allowed in XML at all.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
