//! What reaches standard output and standard error: nothing raw from a file, and no failed write unseen.
//!
//! A name in somebody's table may hold an escape sequence, a message a line of a megabyte. [`escaped`] makes such
//! characters visible, [`shown`] shortens such lines too; the terminal, the messages and the report read them here.
//!
//! A write that fails does not end the work that is being told of. The first failure of each stream is kept, and
//! `main` turns it into a message and an exit code; a reader that has gone away (`| head`) is none.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::sync::OnceLock;

use crate::error::FileError;

/// A longer line is no text for people [characters].
const LONGEST: usize = 2000;
/// What is left of it at its begin and at its end [characters].
const KEPT: [usize; 2] = [300, 100];

static OUT: OnceLock<FileError> = OnceLock::new();
static ERR: OnceLock<FileError> = OnceLock::new();

/// Prints to stdout what another program reads, as it is; escaped where it goes to a terminal.
pub fn data(text: &str) {
    let text = if io::stdout().is_terminal() { escaped(text) } else { Cow::Borrowed(text) };
    counted(&OUT, "standard output", write(io::stdout().lock(), &text));
}

/// Prints text for people to stdout.
pub fn text(text: &str) {
    counted(&OUT, "standard output", write(io::stdout().lock(), &shown(text)));
}

/// Prints progress, a warning or an error to stderr, with one line feed at its end.
pub fn say(text: &str) {
    let text = text.trim_end_matches('\n');
    if !text.is_empty() {
        let line = shown(text).into_owned() + "\n";
        counted(&ERR, "standard error", write(io::stderr().lock(), &line));
    }
}

/// [`say`] with the arguments of `format!`.
macro_rules! note {
    ($($arg:tt)*) => { $crate::terminal::say(&format!($($arg)*)) };
}
pub(crate) use note;

/// Whether a person reads standard error as it is written, and no file.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// The first failed write of this process, of stdout before stderr.
pub fn failed() -> Option<&'static FileError> {
    OUT.get().or_else(|| ERR.get())
}

/// Takes the result of a write that another library made to stdout.
pub fn told(result: io::Result<()>) {
    counted(&OUT, "standard output", result.and_then(|()| io::stdout().flush()));
}

fn write(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
}

fn counted(first: &OnceLock<FileError>, stream: &'static str, result: io::Result<()>) {
    match result {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let _ = first.set(FileError::new("write", stream)(e));
        }
        _ => {}
    }
}

/// Whether a terminal or a browser obeys this character, instead of showing it.
fn commands(c: char) -> bool {
    let direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hidden = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    direction || hidden || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// `text` with every control character but line feed and tab, and every control of the direction of writing, as
/// JSON would write it (`\u001b`). JSON that goes through it keeps its meaning.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if commands(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// [`escaped`], and of lines that no person reads the begin and the end.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.split('\n').all(|line| line.len() <= LONGEST) {
        return escaped(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(shortened).collect();
    Cow::Owned(escaped(&lines.join("\n")).into_owned())
}

/// A name that a file gave, for one line of text: line feeds and tabs are escaped too.
pub fn name(text: &str) -> Cow<'_, str> {
    let line = shown(text);
    if line.contains(['\n', '\t']) {
        Cow::Owned(line.replace('\n', "\\n").replace('\t', "\\t"))
    } else {
        line
    }
}

fn shortened(line: &str) -> Cow<'_, str> {
    let length = line.chars().count();
    if length <= LONGEST {
        return Cow::Borrowed(line);
    }
    let begin: String = line.chars().take(KEPT[0]).collect();
    let end: String = line.chars().skip(length - KEPT[1]).collect();
    let left_out = length - KEPT[0] - KEPT[1];
    Cow::Owned(format!("{begin} [{left_out} characters left out] {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible_and_the_rest_is_kept() {
        assert_eq!(
            escaped("a\x1b[2Jb\0\r\u{9b}\u{202e}c"),
            "a\\u001b[2Jb\\u0000\\u000d\\u009b\\u202ec"
        );
        assert_eq!(escaped("\u{e0041}"), "\\udb40\\udc41");
        for kept in ["two\nlines\tand a tab", "Größe N ≈ 3·10⁶ 数", "👩\u{200d}🔬"] {
            assert!(matches!(escaped(kept), Cow::Borrowed(same) if same == kept), "{kept}");
        }
        assert_eq!(name("a\nerror: b"), "a\\nerror: b");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "id\x1b": "x\u{202e}\u{7f}\u{e0041}\n\0" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = escaped(&text);
        assert!(!safe.contains(commands));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn a_line_of_a_megabyte_is_shortened_and_others_are_not() {
        let text = format!("first\n{}\nlast", "x".repeat(1 << 20));
        let short = shown(&text);
        assert!(
            short.len() < 600 && short.starts_with("first\nxxx") && short.ends_with("xxx\nlast")
        );
        assert!(short.contains(&format!("[{} characters left out]", (1 << 20) - 400)), "{short}");
        let line = "y".repeat(LONGEST);
        assert_eq!(shown(&line), line);
    }
}
