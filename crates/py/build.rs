//! Makes `cfg(Py_3_12)` and its like known to this crate: API that only newer interpreters have is behind them.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
