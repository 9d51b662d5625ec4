//! What each rule measures of a document, in words.

use super::SHARE;

/// What the number of a removed document is, and whether its limit is the most or the least that stays.
pub fn measures(rule: &str) -> Option<String> {
    if let Some(n) = rule.strip_prefix("top-").and_then(|rest| rest.strip_suffix("-gram")) {
        return Some(format!("share of its characters in the most frequent {}, at most", words(n)));
    }
    if let Some(n) = rule.strip_prefix("duplicate-").and_then(|rest| rest.strip_suffix("-grams")) {
        return Some(format!("share of its characters in a repeated {}, at most", words(n)));
    }
    let plain = match rule {
        "empty" => "nothing is left of it",
        "language" => "likelihood of a wanted language, at least",
        "duplicate-paragraphs" => "share of paragraphs that stood before, at most",
        "duplicate-paragraph-characters" => {
            "share of characters in paragraphs that stood before, at most"
        }
        "duplicate-lines" => "share of lines that stood before, at most",
        "duplicate-line-characters" | "repeated-lines" => {
            "share of characters in lines that stood before, at most"
        }
        "too-few-words" => "words, at least",
        "too-many-words" => "words, at most",
        "short-words" => "mean characters of a word, at least",
        "long-words" => "mean characters of a word, at most",
        "hashes" => "hash signs for each word, at most",
        "ellipses" => "ellipses for each word, at most",
        "bullets" => "share of lines that begin with a bullet, at most",
        "ellipsis-lines" => "share of lines that end with an ellipsis, at most",
        "non-alphabetic-words" => "share of words with a letter, at least",
        "stop-words" => "different stop words, at least",
        "lorem-ipsum" => "it holds \"lorem ipsum\"",
        "curly-bracket" => "it holds a curly bracket",
        "too-few-sentences" => "sentences in the lines that stay, at least",
        "paragraphs" => "long lines, at least",
        "terminal-punctuation" => "share of lines that end with a full stop or the like, at least",
        "short-lines" => "share of short lines, at most",
        "line-ends" => "line ends for each word, at most",
        "longest-line" => "characters of the longest line, at most",
        "mean-line" => "mean characters of a line, at most",
        "alphanumeric" => "share of letters and digits, at least",
        SHARE => "place of its hash between 0 and 1, at most",
        _ => return None,
    };
    Some(plain.to_owned())
}

fn words(n: &str) -> String {
    if n == "1" { "word".to_owned() } else { format!("sequence of {n} words") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_rule_says_what_it_measures() {
        let silent: Vec<&&str> =
            super::super::RULES.iter().filter(|rule| super::measures(rule).is_none()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
