//! A recording for other programs: traces, pictures, lines, stacks. Each format is one file here and one function that writes it.

mod folded;
mod lines;
mod mermaid;
mod perfetto;
mod svg;

use std::io::{self, Write};

use crate::graph::Wanted;
use crate::recording::Recording;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The trace events of Chrome, which ui.perfetto.dev reads: a track for each task and each loop.
    Perfetto,
    /// A flowchart for Markdown.
    Mermaid,
    /// The same picture by itself, light or dark as its reader's.
    Svg,
    /// An event a line, as JSON with words.
    JsonLines,
    /// Stacks for flamegraph.pl and its like: how long was waited for what.
    FoldedWaits,
    /// The same: how long was run.
    FoldedBusy,
}

impl Format {
    pub const ALL: [Format; 6] =
        [Format::Perfetto, Format::Mermaid, Format::Svg, Format::JsonLines, Format::FoldedWaits, Format::FoldedBusy];

    /// As it is asked for by.
    pub fn name(self) -> &'static str {
        match self {
            Format::Perfetto => "perfetto",
            Format::Mermaid => "mermaid",
            Format::Svg => "svg",
            Format::JsonLines => "jsonl",
            Format::FoldedWaits => "folded",
            Format::FoldedBusy => "folded-busy",
        }
    }

    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Perfetto => "application/json",
            Format::Svg => "image/svg+xml",
            Format::JsonLines => "application/jsonl",
            Format::Mermaid | Format::FoldedWaits | Format::FoldedBusy => "text/plain; charset=utf-8",
        }
    }
}

impl Recording {
    /// `wanted` is what a picture shows; the other formats have everything.
    pub fn export(&mut self, format: Format, wanted: &Wanted<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.index();
        match format {
            Format::Perfetto => perfetto::write(self, out),
            Format::Mermaid => mermaid::write(self, wanted, out),
            Format::Svg => svg::write(self, wanted, out),
            Format::JsonLines => lines::write(self, out),
            Format::FoldedWaits => folded::write(self, folded::Weight::Waited, out),
            Format::FoldedBusy => folded::write(self, folded::Weight::Busy, out),
        }
    }
}
