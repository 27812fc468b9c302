//! A program with two defects, for the test that looks at what is told of them: one whose text is the program's own, and
//! one whose text has the argument in it.

fn main() {
    causeway::cli::tell_defects();
    let argument = std::env::args().nth(1).unwrap_or_default();
    let first = std::thread::spawn(|| assert!(std::env::args().count() > 9, "a text of the program"));
    let second = std::thread::spawn(move || assert!(argument.is_empty(), "the patient is {argument}"));
    assert!(first.join().is_err() && second.join().is_err());
}
