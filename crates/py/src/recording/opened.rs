//! A recording that was made, for Python: opened, asked (`trace::queries`) and exported. Needs no loop.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyLookupError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trace::export::Format;
use trace::graph::Wanted;
use trace::queries::Arguments;
use trace::synthetic::crawler;

use super::session::os_error_at;

/// For tests of what shows recordings: writes one of about so many tasks that never ran. Raises OSError if it can't be written.
#[pyfunction]
#[pyo3(name = "_synthetic_recording")]
pub fn synthetic(py: Python<'_>, path: PathBuf, tasks: usize) -> PyResult<()> {
    py.detach(|| {
        let mut file = BufWriter::new(File::create(&path)?);
        crawler(tasks).write_file(&mut file)?;
        file.flush()
    })
    .map_err(|e| os_error_at(&e, &path))
}

/// A recording's file, read as a whole.
#[pyclass(frozen, module = "segue._core")]
pub struct OpenedRecording {
    recording: Mutex<trace::Recording>,
}

#[pymethods]
impl OpenedRecording {
    /// Raises OSError if the file can't be read, ValueError if it is no recording. What is wrong with a damaged one is in
    /// the answer to "summary".
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let recording = py.detach(|| {
            trace::Recording::open(&path).map(|mut recording| {
                recording.index();
                recording
            })
        });
        match recording {
            Ok(recording) => Ok(OpenedRecording { recording: Mutex::new(recording) }),
            Err(trace::file::Error::Io(e)) => Err(os_error_at(&e, &path)),
            Err(e) => Err(PyValueError::new_err(format!("{}: {e}", path.display()))),
        }
    }

    /// The answer to a question, with its arguments as a JSON object; JSON. `docs/design/recording.md` has the questions.
    ///
    /// Raises LookupError, saying why, if there is no answer.
    #[pyo3(signature = (question, arguments = "{}"))]
    fn answer(&self, py: Python<'_>, question: &str, arguments: &str) -> PyResult<String> {
        let arguments = serde_json::from_str(arguments).map_err(|e| PyValueError::new_err(e.to_string()))?;
        let answer = py.detach(|| {
            let recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
            recording.answer(question, &arguments).map(|answer| answer.to_string())
        });
        answer.map_err(|refused| PyLookupError::new_err(refused.0))
    }

    /// The recording in another format: "perfetto", "mermaid", "svg", "jsonl", "folded", "folded-busy".
    /// `arguments`: as for the question "graph", for pictures.
    #[pyo3(signature = (format, arguments = "{}"))]
    fn export<'py>(&self, py: Python<'py>, format: &str, arguments: &str) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = Export::new(format, arguments)?;
        let out = py.detach(|| {
            let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.of(&mut recording)
        });
        Ok(PyBytes::new(py, &out.map_err(PyLookupError::new_err)?))
    }
}

impl OpenedRecording {
    pub fn of(recording: trace::Recording) -> OpenedRecording {
        OpenedRecording { recording: Mutex::new(recording) }
    }
}

/// In which format a recording is wanted, and how.
pub struct Export {
    format: Format,
    arguments: serde_json::Value,
}

impl Export {
    /// Raises LookupError if there is no format of that name.
    pub fn new(format: &str, arguments: &str) -> PyResult<Export> {
        let Some(format) = Format::named(format) else {
            let names: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
            return Err(PyLookupError::new_err(format!("no format {format:?}: there are {}", names.join(", "))));
        };
        let arguments = serde_json::from_str(arguments).map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok(Export { format, arguments })
    }

    /// Needs no GIL.
    pub fn of(&self, recording: &mut trace::Recording) -> Result<Vec<u8>, String> {
        let arguments = Arguments::new(&self.arguments).map_err(|refused| refused.0)?;
        let wanted = Wanted::new(&arguments).map_err(|refused| refused.0)?;
        let mut out = Vec::new();
        recording.export(self.format, &wanted, &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }
}
