//! Components as the harness reads them.

/// To be replaced by the loader.
pub struct Component;
