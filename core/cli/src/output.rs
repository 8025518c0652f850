//! What a person reads: messages and problems on standard error, tables and JSON on standard output.

use std::io::{self, ErrorKind, Write};

use dormouse_wire::{Problem, Severity};
use serde::Serialize;
use terminal_size::{Height, Width, terminal_size_of};

use crate::exit::Failure;
use crate::together::{self, Alike};

/// Nobody likes to read lines that are longer, or can read ones that are shorter.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=100;
/// The width where there is no terminal.
const PLAIN_WIDTH: usize = 80;
const PLAIN_HEIGHT: usize = 24;

/// Says something to the person.
pub fn say(sentence: &str) {
    to_standard_error(&wrap(&printable(sentence), error_width(), "", ""));
}

/// Says why the command ends with 1.
pub fn failure(failure: &Failure) {
    to_standard_error(&failure_text(failure, error_width()));
}

/// Names all that was lost, if anything was.
pub fn losses(losses: &[Problem]) {
    if !losses.is_empty() {
        let (number, list) = listed(losses, error_width());
        to_standard_error(&format!("{}:\n\n{list}", count(number, "loss", "losses")));
    }
}

/// Tells of programs and libraries in whose places copies are.
pub fn kept(paths: &[String]) {
    /// So many are named.
    const FEW: usize = 5;
    if paths.is_empty() {
        return;
    }
    let mut named = paths.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    if paths.len() > FEW {
        named = format!("{named} and {} more", paths.len() - FEW);
    }
    let have = if paths.len() == 1 { "has" } else { "have" };
    let which = count(paths.len(), "program or library", "programs and libraries");
    say(&format!("{which} {have} changed since the freeze; copies that were kept are in use: {named}"));
}

/// Ends a subcommand that was asked for JSON and has failed: programs read the problems on standard output, people
/// on standard error.
pub fn failure_as_json(failure: Failure) -> Failure {
    #[derive(Serialize)]
    struct Answer<'a> {
        error: &'a str,
        problems: &'a [Problem],
    }
    // What has failed weighs more than a standard output that does not take it.
    let _ = json(&Answer { error: &failure.sentence, problems: &failure.problems });
    failure
}

/// Writes a value to standard output as JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(format!("The answer cannot be written as JSON: {error}.")))?;
    print(&(text + "\n"))
}

/// Writes a value to standard output as JSON in one line; false when nobody reads it any more.
pub fn json_line(value: &impl Serialize) -> Result<bool, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(format!("The answer cannot be written as JSON: {error}.")))?;
    print_if_read(&(text + "\n"))
}

/// Writes text to standard output. Whoever reads it may stop early.
pub fn print(text: &str) -> Result<(), Failure> {
    print_if_read(text).map(|_| ())
}

/// Writes text to standard output; false when nobody reads it any more.
pub fn print_if_read(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::system("Standard output cannot be written to", &error)),
    }
}

/// The width of the terminal on standard output.
pub fn width() -> usize {
    within(terminal_size_of(io::stdout()))
}

/// How many lines the terminal on standard output has.
pub fn height() -> usize {
    terminal_size_of(io::stdout()).map_or(PLAIN_HEIGHT, |(_, Height(lines))| usize::from(lines))
}

fn error_width() -> usize {
    within(terminal_size_of(io::stderr()))
}

fn within(size: Option<(Width, Height)>) -> usize {
    size.map_or(PLAIN_WIDTH, |(Width(columns), _)| usize::from(columns)).clamp(*WIDTHS.start(), *WIDTHS.end())
}

fn to_standard_error(text: &str) {
    // There is nobody left to tell when this fails.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn failure_text(failure: &Failure, width: usize) -> String {
    let mut text = wrap(&printable(&format!("dormouse: {}", failure.sentence)), width, "", "");
    text += &weighed(&failure.problems, width);
    if let Some(hint) = &failure.hint {
        text += "\n";
        text += &wrap(&printable(hint), width, "", "");
    }
    text
}

/// A sentence, as wide as it may be.
pub fn wrapped(sentence: &str, width: usize) -> String {
    wrap(&printable(sentence), width, "", "")
}

/// The same behind a mark that the lines below stand clear of.
pub fn marked(mark: &str, sentence: &str, width: usize) -> String {
    wrap(&printable(sentence), width, mark, &" ".repeat(mark.chars().count()))
}

/// A sentence below a heading.
pub fn indented(sentence: &str, width: usize, depth: usize) -> String {
    let indent = " ".repeat(depth);
    wrap(&printable(sentence), width, &indent, &indent)
}

/// All problems below their headings: first what stands in the way, then what would be lost.
pub fn weighed(problems: &[Problem], width: usize) -> String {
    let mut text = String::new();
    let weighs = |severity| problems.iter().filter(move |problem| problem.severity == severity).cloned();
    let (blocks, losses): (Vec<_>, Vec<_>) = (weighs(Severity::Blocks).collect(), weighs(Severity::Loses).collect());
    for (problems, one, many) in [
        (blocks, "thing stands in the way", "things stand in the way"),
        (losses, "thing would be lost", "things would be lost"),
    ] {
        if !problems.is_empty() {
            let (number, list) = listed(&problems, width);
            text.extend(["\n", &count(number, one, many), ":\n\n", &list]);
        }
    }
    text
}

/// All problems, and how many paragraphs they are: who and what, why, what is lost, the way out. Those that say the same of
/// several processes and things are one.
pub fn listed(problems: &[Problem], width: usize) -> (usize, String) {
    let paragraphs: Vec<String> = together::of(problems).iter().map(|alike| paragraph(alike, width)).collect();
    (paragraphs.len(), paragraphs.join("\n"))
}

fn paragraph(alike: &Alike<'_>, width: usize) -> String {
    let problem = alike.first();
    let mut subjects = alike.subjects();
    if subjects.is_empty() {
        subjects.push(kind(problem));
    }
    let mut text: String = subjects.iter().map(|one| wrap(&printable(one), width, "  ", "    ")).collect();
    let clauses = [("Why", Some(&problem.what)), ("Lost", problem.lost()), ("Way out", problem.way_out.as_ref())];
    for (label, clause) in clauses {
        if let Some(clause) = clause {
            text += &wrap(&printable(clause), width, &format!("    {label:<9}"), &" ".repeat(13));
        }
    }
    text
}

/// The stable name of the kind, as words: `pid-taken` becomes `Pid taken`.
fn kind(problem: &Problem) -> String {
    let name = serde_json::to_value(problem.kind).ok();
    let words = name.as_ref().and_then(|name| name.as_str()).unwrap_or("problem").replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Several names in a line that can be read.
pub fn several(names: &[String]) -> String {
    const MOST: usize = 3;
    match names {
        [] => "nobody".to_owned(),
        names if names.len() <= MOST => names.join(", "),
        names => format!("{} and {}", names[..MOST].join(", "), count(names.len() - MOST, "other", "others")),
    }
}

/// `1 process`, `2 processes`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Text without control characters: names of files and processes may hold some that would change the terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// Breaks text between words into lines of at most `width` letters; a longer word has a line of its own.
pub fn wrap(text: &str, width: usize, first: &str, next: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let length = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if !is_empty && length > width {
            lines += line.trim_end();
            lines.push('\n');
            next.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines += line.trim_end();
    lines.push('\n');
    lines
}

/// Columns under headings; the last one is as wide as it is.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    numbers: &'static [usize],
}

impl Table {
    /// An empty table; `numbers` names the columns that are aligned to the right.
    pub fn new(headings: &[&str], numbers: &'static [usize]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()], numbers }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// The table as lines of at most `width` letters, where `flexible` columns are shortened first, the widest of them first,
    /// but not to fewer letters than stand beside them.
    pub fn within(&self, width: usize, flexible: &[(usize, usize)]) -> String {
        let mut narrow = self.clone();
        loop {
            let widths = narrow.widths();
            let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
            let shrinks = |(column, least): &&(usize, usize)| widths.get(*column).is_some_and(|width| width > least);
            let widest = flexible.iter().filter(shrinks).max_by_key(|(column, _)| widths[*column]);
            let Some((column, _)) = widest.filter(|_| total > width) else { return narrow.lines(width) };
            for cell in narrow.rows.iter_mut().filter_map(|row| row.get_mut(*column)) {
                *cell = cut(cell, widths[*column] - 1);
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect()
    }

    /// The table as lines of at most `width` letters.
    pub fn lines(&self, width: usize) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column > 0 {
                    line += "  ";
                }
                let space = " ".repeat(width - cell.chars().count());
                let is_number = self.numbers.contains(&column);
                line.extend(if is_number { [space.as_str(), cell.as_str()] } else { [cell.as_str(), space.as_str()] });
            }
            text += cut(line.trim_end(), width).as_str();
            text.push('\n');
        }
        text
    }
}

/// The beginning of a line, with an ellipsis where something is left out.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use dormouse_wire::phrase;
    use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName};

    use super::{Table, failure_text, listed, printable, wrap};
    use crate::exit::Failure;

    fn card() -> Problem {
        let firefox = ProcessName { pid: Pid(42), comm: "firefox".to_owned() };
        Problem::blocks(ProblemKind::Device, phrase!("the graphics card keeps state that nobody can read back"))
            .of(&firefox)
            .at("descriptor 7 (/dev/dri/card0)")
            .way_out(phrase!("Pause it instead"))
    }

    #[test]
    fn a_problem_is_told_with_process_resource_why_and_way_out() {
        assert_eq!(
            listed(&[card()], 60).1,
            "  firefox (pid 42), descriptor 7 (/dev/dri/card0)\n\
             \x20   Why      the graphics card keeps state that nobody can\n\
             \x20            read back\n\
             \x20   Way out  Pause it instead\n"
        );
    }

    #[test]
    fn a_failure_lists_what_blocks_before_what_is_lost() {
        let loss = Problem::loses(ProblemKind::PidTaken, phrase!("another process has it"), phrase!("the number"));
        let failure = Failure::new("The group cannot be frozen.").because(vec![loss, card()]).hint("Try again.");
        assert_eq!(
            failure_text(&failure, 100),
            "dormouse: The group cannot be frozen.\n\
             \n\
             1 thing stands in the way:\n\
             \n\
             \x20 firefox (pid 42), descriptor 7 (/dev/dri/card0)\n\
             \x20   Why      the graphics card keeps state that nobody can read back\n\
             \x20   Way out  Pause it instead\n\
             \n\
             1 thing would be lost:\n\
             \n\
             \x20 Pid taken\n\
             \x20   Why      another process has it\n\
             \x20   Lost     the number\n\
             \n\
             Try again.\n"
        );
    }

    #[test]
    fn a_word_longer_than_the_line_stays_whole() {
        assert_eq!(wrap("to /a/very/long/path now", 10, "", "  "), "to\n  /a/very/long/path\n  now\n");
    }

    #[test]
    fn a_name_cannot_send_commands_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn a_table_aligns_its_columns_and_fits_its_width() {
        let mut table = Table::new(&["PID", "COMMAND"], &[0]);
        table.row(["7".to_owned(), "sh".to_owned()]);
        table.row(["1234".to_owned(), "a long command line".to_owned()]);
        assert_eq!(table.lines(14), " PID  COMMAND\n   7  sh\n1234  a long …\n");
    }
}
