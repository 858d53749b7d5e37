//! The picture as a Mermaid flowchart, as Markdown pages show it. Nurseries are subgraphs.

use std::io::{self, Write};

use crate::graph::{graph, Graph, Node, Shape, Wanted};
use crate::model::groups::Edge;
use crate::model::task::Outcome;
use crate::recording::Recording;

pub fn write(recording: &Recording, wanted: &Wanted<'_>, out: &mut dyn Write) -> io::Result<()> {
    let graph = graph(recording, wanted);
    writeln!(out, "flowchart TD")?;
    for (at, node) in graph.nodes.iter().enumerate() {
        if node.shape == Shape::Nursery {
            writeln!(out, "  subgraph n{}[\"{}\"]", at + 1, label(recording, node))?;
            for (member, inner) in graph.nodes.iter().enumerate().filter(|(_, inner)| inner.parent == Some(at)) {
                write_node(recording, member, inner, "    ", out)?;
            }
            writeln!(out, "  end")?;
        } else if node.parent.is_none() {
            write_node(recording, at, node, "  ", out)?;
        }
    }
    write_edges(&graph, out)?;
    writeln!(out, "  classDef failed fill:#fdd,stroke:#c00,color:#000")?;
    writeln!(out, "  classDef cancelled fill:#eee,stroke:#888,color:#000,stroke-dasharray:4")?;
    writeln!(out, "  classDef pending fill:#ffd,stroke:#aa0,color:#000")
}

fn write_node(recording: &Recording, at: usize, node: &Node, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    let class = match node.outcome() {
        None | Some(Outcome::Finished) => String::new(),
        Some(outcome) => format!(":::{}", outcome.name()),
    };
    writeln!(out, "{indent}t{}[\"{}\"]{class}", at + 1, label(recording, node))
}

fn write_edges(graph: &Graph, out: &mut dyn Write) -> io::Result<()> {
    for edge in &graph.edges {
        let (from, to) = (edge.from + 1, edge.to + 1);
        let times = if edge.count == 1 { String::new() } else { format!(" ×{}", edge.count) };
        match edge.kind {
            Edge::Spawned => writeln!(out, "  t{from} --> t{to}")?,
            Edge::Awaits => writeln!(out, "  t{from} -.->|\"awaits{times}\"| t{to}")?,
            Edge::Woke => writeln!(out, "  t{from} -.->|\"woke{times}\"| t{to}")?,
            Edge::Cancelled => writeln!(out, "  t{from} ==>|\"cancelled{times}\"| t{to}")?,
        }
    }
    Ok(())
}

fn label(recording: &Recording, node: &Node) -> String {
    let lines: Vec<String> = node.lines(recording).iter().map(|line| escape(line)).collect();
    lines.join("<br/>")
}

/// Mermaid's entity codes for what would end or restructure a quoted label, and for what isn't printable.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '#' => escaped += "#35;",
            '"' => escaped += "#quot;",
            '<' => escaped += "#lt;",
            '>' => escaped += "#gt;",
            '`' => escaped += "#96;",
            '&' => escaped += "#amp;",
            '%' => escaped += "#37;",
            '\\' => escaped += "#92;",
            c if c == '\'' || c.escape_debug().len() == 1 => escaped.push(c),
            c => escaped += &format!("#{};", c as u32),
        }
    }
    // A list, to Mermaid: it shows an error instead.
    let marker = escaped.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_list = match escaped.len() - marker.len() {
        0 => ["- ", "+ ", "* "].iter().any(|list| escaped.starts_with(list)),
        _ => marker.starts_with(". ") || marker.starts_with(") "),
    };
    if is_list {
        escaped = escaped.replacen(' ', "#160;", 1);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn labels_are_what_mermaid_takes() {
        let texts = ["a \"b\" <c> #1 `d` 100% \\", "- no list", "12) nor this", "1.5 is none", "it's", "\u{200b}"];
        let escaped = [
            "a #quot;b#quot; #lt;c#gt; #35;1 #96;d#96; 100#37; #92;",
            "-#160;no list",
            "12)#160;nor this",
            "1.5 is none",
            "it's",
            "#8203;",
        ];
        assert_eq!(texts.map(escape), escaped);
    }
}
