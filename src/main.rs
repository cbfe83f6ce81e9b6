//! The `drydock` command; see [`drydock::cli`].

use std::process::ExitCode;

/// A simulation allocates much and briefly.
#[cfg(feature = "sim")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    drydock::cli::main()
}
