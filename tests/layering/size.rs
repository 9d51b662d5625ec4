//! How long functions are, from text that rustfmt wrote: the brace that closes a function stands under its first line.

/// The name of the function that begins on this line.
fn begins(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "fn")?;
    let before = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    // `pub(in crate::fit) fn`: two words.
    let may = |word: &&str| before.contains(word) || *word == "pub(in" || word.ends_with(')');
    words[..at].iter().all(may).then(|| words.get(at + 1)?.split(['(', '<']).next()).flatten()
}

/// (name, line, lines) of every function, those inside of others too, from its `fn` to its last brace. One without a
/// body, as in a trait, is left out.
pub(crate) fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = begins(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let signature = lines[first..].iter().position(|line| line.ends_with(['{', '}', ';']));
        let last = signature.and_then(|end| match lines[first + end] {
            line if line.ends_with('{') => {
                lines[first..].iter().position(|line| line.strip_prefix(indent) == Some("}"))
            }
            _ => Some(end),
        });
        let Some(last) = last else {
            panic!("no end of `{name}` below line {}: run cargo fmt", first + 1)
        };
        if lines[first + last].ends_with('}') {
            out.push((name.to_owned(), first + 1, last + 1));
        }
    }
    out
}
