//! Makes a recording of a crawler that never ran, asks it everything and says how long that took and how much memory.
//!
//! `cargo run --profile quick -p segue-trace --example crawler -- 100000 [FOLDER]`: FOLDER gets the recording itself and all exports.

use std::fs::{self, File};
use std::io::BufWriter;
use std::time::Instant;

use serde_json::json;

use trace::export::Format;
use trace::graph::Wanted;
use trace::synthetic::crawler;
use trace::Recording;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tasks = arguments.first().and_then(|tasks| tasks.parse().ok()).unwrap_or(100_000);
    let script = crawler(tasks);
    let before = resident();
    let mut recording = Recording::new();
    timed("read", || script.fill(&mut recording));
    timed("index", || recording.index());
    let (events, tasks) = (recording.history().len(), recording.model().tasks().len());
    let taken = resident().saturating_sub(before);
    let per_task = (taken as f64 - 32.0 * events as f64) / tasks as f64;
    println!("{tasks} tasks, {events} events, {} MB: {per_task:.0} bytes a task besides the events", taken / 1_000_000);
    for (question, arguments) in [
        ("summary", json!({})),
        ("tasks", json!({"sort": "-busy"})),
        ("tasks", json!({"sort": "name"})),
        ("task", json!({"id": "1.1"})),
        ("task", json!({"id": "1.2"})),
        ("tree", json!({})),
        ("graph", json!({})),
        ("graph", json!({"expand": "g2"})),
        ("timeline", json!({})),
        ("timeline", json!({"group": true})),
        ("search", json!({"text": "UnicodeDecodeError"})),
        ("stats", json!({})),
    ] {
        timed(&format!("{question} {arguments}"), || {
            recording.answer(question, &arguments).map(|answer| answer.to_string().len())
        })
        .unwrap_or_default();
    }
    if let Some(folder) = arguments.get(1) {
        fs::create_dir_all(folder).expect("the folder can be made");
        let path = format!("{folder}/crawler.segue");
        let file = BufWriter::new(File::create(&path).expect("the file can be made"));
        timed("write the file", || script.write_file(file)).expect("the file can be written");
        recording = timed("read the file", || Recording::open(path.as_ref())).expect("the file can be read");
        for format in Format::ALL {
            let file = File::create(format!("{folder}/crawler.{}", format.name())).expect("the file can be made");
            let written =
                timed(format.name(), || recording.export(format, &Wanted::default(), &mut BufWriter::new(file)));
            written.expect("the file can be written");
        }
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    println!("{:8.1} ms  {what}", begin.elapsed().as_secs_f64() * 1e3);
    done
}

/// Bytes of memory in use.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
