//! Questions about a recording and their answers as JSON, for the page, the terminal and `segue.inspect` alike. The table of them is in
//! `docs/design/recording.md`. Times in answers are nanoseconds since the recording began; tasks are named by [`words::id`].

mod arguments;
mod rows;
mod stuck;
mod tasks;
mod totals;
mod tree;

use serde_json::{json, Value};

use crate::graph;
use crate::recording::Recording;
use crate::story;
use crate::timeline;
use crate::words;

pub use arguments::Arguments;
pub use tasks::{cause_name, task_json, Filter};

/// Why there is no answer, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl Recording {
    /// The answer to one question of the table, with its arguments by name.
    pub fn answer(&self, question: &str, arguments: &Value) -> Result<Value, Refused> {
        let given = Arguments::new(arguments)?;
        match question {
            "summary" => Ok(self.summary()),
            "tasks" => tasks::list(self, &given),
            "task" => story::task(self, given.task("id")?),
            "tree" => tree::tree(self, given.number("limit", 1000)?, given.flag("pending")?),
            "rows" => rows::rows(self, &given),
            "stuck" => stuck::stuck(self, &given),
            "graph" => graph::answer(self, &given),
            "timeline" => timeline::answer(self, &given),
            "search" => tasks::search(self, &given),
            "warnings" => Ok(self.warnings_json()),
            "stats" => Ok(totals::stats(self)),
            _ => Err(Refused(format!("there is no question {question:?}"))),
        }
    }

    pub fn summary(&self) -> Value {
        let model = self.model();
        let outcomes = model.outcomes();
        let mut summary = json!({
            "duration": self.since_begin(self.now()),
            "tasks": outcomes.total(),
            "kept": model.tasks().len(),
            "outcomes": graph::outcomes_json(outcomes),
            "loops": model.loops().iter().map(|of_loop| totals::loop_json(self, of_loop)).collect::<Vec<_>>(),
            "events": model.events(),
            "lost": model.lost(),
            "skipped": self.skipped.saturating_add(model.unknown()),
            "damage": self.damage,
            "complete": self.is_complete,
            "live": self.is_live,
            "warnings": self.warnings_json(),
        });
        for name in ["program", "pid", "python", "started", "directory", "arguments", "flight"] {
            summary[name] = self.about.get(name).cloned().unwrap_or(Value::Null);
        }
        summary
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// "There is no task 1.5": it never was, or it is no longer kept.
pub(crate) fn no_task(key: u64) -> Refused {
    Refused(format!("the recording has no task {}", words::id(key)))
}
