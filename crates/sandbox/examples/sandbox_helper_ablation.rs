//! The helper of the tests, built where mechanisms can be switched off: under a name of its own, so that neither build is
//! ever taken for the other.

#[path = "sandbox_helper.rs"]
mod helper;

fn main() -> std::process::ExitCode {
    helper::main()
}
