//! What commands print: tables and lines on standard output, complaints on standard error.
//!
//! A reader that has gone away is no error: `drydock museum | head -3` ends as the museum does.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::exit::{Exit, Failure};

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line of ours to standard error, which may tell what another machine said; if that is closed, nobody wants to
/// know.
pub(super) fn error_line(text: &str) {
    let _ = writeln!(io::stderr(), "drydock: {}", printable(text));
}

/// Says why a command failed, and how to exit.
pub(super) fn complain(failure: &Failure) -> Exit {
    match failure {
        Failure::Usage(cause) => error_line(&one_line(cause)),
        Failure::Internal(cause) => error_line(&format!("internal error: {}", one_line(cause))),
    }
    failure.exit()
}

/// Shows help and version; makes one line of any other message of clap's.
pub(super) fn answer_clap(error: &clap::Error) -> Result<Exit, Failure> {
    if error.use_stderr() {
        return Err(Failure::Usage(clap_line(error)));
    }
    print(&error.render().to_string())?;
    Ok(Exit::Sound)
}

/// clap's message, without usage and headings, in one line.
pub(super) fn clap_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let about = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let about = about.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let line = about.collect::<Vec<_>>().join(" ");
    format!("{} (see `drydock --help`)", line.strip_prefix("error: ").unwrap_or(&line))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A rule below the header, and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table without colours: a header, then rows; columns whose header ends in `#` hold numbers.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(STYLE);
    table.set_header(header.iter().map(|name| name.trim_end_matches('#')));
    table.add_rows(rows);
    for (index, name) in header.iter().enumerate() {
        if let (true, Some(column)) = (name.ends_with('#'), table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The columns of a page: lists of sentences are wrapped to it, whatever they are printed to.
const PAGE_COLUMNS: u16 = 120;

/// A list of names with a sentence each, wrapped.
pub(super) fn list<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_width(PAGE_COLUMNS);
    table.set_header(header);
    table.add_rows(rows);
    table.trim_fmt()
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let lead = digits.len() % 3;
    let mut text = digits[..lead].to_owned();
    for group in digits.as_bytes()[lead..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|&digit| char::from(digit)));
    }
    text
}

/// A number of things, one or many.
pub(super) fn things(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A duration for people.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..60.0 => format!("{seconds:.1} s"),
        ..3_600.0 => format!("{:.0} min", seconds / 60.0),
        ..86_400.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// What another machine said, as it may stand on a terminal: what would steer it is written out.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => printable.push('\t'),
            steering if steering.is_control() => printable.extend(steering.escape_default()),
            plain => printable.push(plain),
        }
    }
    printable
}

/// Memory, in MiB.
#[cfg(feature = "sim")]
pub(super) fn memory(bytes: u64) -> String {
    format!("{} MiB at most", count(bytes.div_ceil(1024 * 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_kept_apart() {
        assert_eq!([0, 999, 1_000, 12_345, 1_234_567].map(count), ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(printable("a\tb\u{1b}[2J\u{9b}c\r\n"), "a\tb\\u{1b}[2J\\u{9b}c\\r\\n");
    }

    #[test]
    fn durations_are_told_in_fitting_units() {
        let told = [0.0124, 1.26, 125.0, 7_200.0, 200_000.0].map(duration);
        assert_eq!(told, ["12 ms", "1.3 s", "2 min", "2.0 h", "2.3 days"]);
    }

    #[test]
    fn a_table_has_no_colours_and_aligns_its_numbers() {
        let rows = [("a", "1"), ("long name", "1,000")].map(|(name, number)| vec![name.to_owned(), number.to_owned()]);
        insta::assert_snapshot!(table(&["name", "runs#"], rows));
    }
}
