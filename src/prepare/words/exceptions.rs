//! Words that the rules would split otherwise: abbreviations, contractions, times, emoticons.
//!
//! Those of spaCy 3.8 for English, 1,342 besides white space.

use std::collections::HashMap;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use super::{Scratch, Token, split, token};
use crate::prepare::hashed::ByHash;

/// How a chunk is split: the lengths of its words [bytes].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    text: String,
    lengths: Vec<u8>,
}

impl Exception {
    /// Its words, where it begins at `start`.
    pub(super) fn put(&self, start: usize, tokens: &mut Vec<Token>) {
        let mut from = start;
        for len in &self.lengths {
            tokens.push(token(from, from + *len as usize));
            from += *len as usize;
        }
    }
}

/// Words that together are an exception.
#[derive(Debug)]
struct Joined {
    words: Vec<String>,
    exception: Exception,
}

/// All exceptions.
pub(super) struct Exceptions {
    whole: ByHash<Exception>,
    /// By their first word; those that the rules split.
    joined: ByHash<Vec<Joined>>,
    /// What may be one, by its length and ends: a quick no for most words.
    whole_ends: Ends,
    joined_ends: Ends,
}

/// Lengths and ends of some words, in bits.
struct Ends([u64; 64]);

impl Ends {
    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut ends = Self([0; 64]);
        for word in words {
            let (place, bit) = Self::place(word.as_bytes());
            ends.0[place] |= bit;
        }
        ends
    }

    fn place(word: &[u8]) -> (usize, u64) {
        let [first, last] = [word.first(), word.last()].map(|b| usize::from(*b.unwrap_or(&0)));
        let place = (first * 37) ^ (last * 523) ^ (word.len() * 1033);
        (place / 64 % 64, 1 << (place % 64))
    }

    fn may_hold(&self, word: &str) -> bool {
        let (place, bit) = Self::place(word.as_bytes());
        self.0[place] & bit != 0
    }
}

pub(super) static EXCEPTIONS: LazyLock<Exceptions> = LazyLock::new(Exceptions::new);

impl Exceptions {
    fn new() -> Self {
        let mut joined = ByHash::<Vec<Joined>>::default();
        let list = list();
        let whole_ends = Ends::of(list.iter().map(|e| e.text.as_str()));
        for exception in &list {
            let mut scratch = Scratch::default();
            split(&exception.text, 0, exception.text.len(), None, &mut scratch);
            if let [first, _, ..] = &scratch.tokens[..] {
                let words = scratch.tokens.iter().map(|t| of(&exception.text, *t).to_owned());
                let (key, words) =
                    (xxh3_64(of(&exception.text, *first).as_bytes()), words.collect());
                joined.entry(key).or_default().push(Joined { words, exception: exception.clone() });
            }
        }
        let whole = list.into_iter().map(|e| (xxh3_64(e.text.as_bytes()), e)).collect();
        let firsts = joined.values().flatten().filter_map(|j| j.words.first());
        let joined_ends = Ends::of(firsts.map(String::as_str));
        Self { whole, joined, whole_ends, joined_ends }
    }

    /// The exception that is this text.
    pub(super) fn get(&self, text: &str) -> Option<&Exception> {
        if !self.whole_ends.may_hold(text) {
            return None;
        }
        self.whole.get(&xxh3_64(text.as_bytes())).filter(|e| e.text == text)
    }

    /// Joins neighbouring words of a chunk that together are an exception: the longest first, then from the left.
    pub(super) fn join(&self, text: &str, tokens: &mut Vec<Token>) {
        let mut found: Vec<(usize, &Joined)> = Vec::new();
        for (i, first) in tokens[..tokens.len() - 1].iter().enumerate() {
            if !self.joined_ends.may_hold(of(text, *first)) {
                continue;
            }
            let key = xxh3_64(of(text, *first).as_bytes());
            for joined in self.joined.get(&key).into_iter().flatten() {
                let here = tokens.get(i..i + joined.words.len()).unwrap_or(&[]);
                let equal = here.len() == joined.words.len()
                    && here.iter().zip(&joined.words).all(|(t, word)| of(text, *t) == word);
                if equal {
                    found.push((i, joined));
                }
            }
        }
        if found.is_empty() {
            return;
        }
        found.sort_by_key(|(i, joined)| (std::cmp::Reverse(joined.words.len()), *i));
        let mut seen = vec![false; tokens.len()];
        found.retain(|(i, joined)| {
            let span = *i..*i + joined.words.len();
            let free = !seen[span.start] && !seen[span.end - 1];
            seen[span].fill(true);
            free
        });
        found.sort_by_key(|(i, _)| *i);
        let mut out = Vec::with_capacity(tokens.len());
        let mut from = 0;
        for (i, joined) in found {
            out.extend_from_slice(&tokens[from..i]);
            joined.exception.put(tokens[i].start as usize, &mut out);
            from = i + joined.words.len();
        }
        out.extend_from_slice(&tokens[from..]);
        *tokens = out;
    }
}

fn of(text: &str, token: Token) -> &str {
    &text[token.start as usize..token.end as usize]
}

/// One word each.
const WHOLE: &str = r#"
\") \n \t <space> '' C++ — ' ’ ’’
a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. ä. ö. ü.
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :* :-*
:3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V
v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬)
ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*> :’( :’) :’-( :’-)
em ll nuff 'em 'll 'nuff 'S 's 'd 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout
‘S ‘s and/or w/o ma'am Ma'am o'clock O'clock
doin doin' goin goin' nothin nothin' nuthin nuthin' ol ol' somethin somethin' lovin lovin' havin havin'
Doin Doin' Goin Goin' Nothin Nothin' Nuthin Nuthin' Ol Ol' Somethin Somethin' Lovin Lovin' Havin Havin'
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan.
Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa.
S.C. Sep. Sept. Tenn. Va. Wash. Wis.
a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont.
Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
"#;

/// Several words each, parted by `_`.
const PARTED: &str = "y'_all y_all not_'ve not_ve can_not gon_na got_ta let_'s c'm_on how_'d_'y i_'m i_m i_'m_a i_m_a \
     °_F_. °_f_. °_C_. °_c_. °_K_. °_k_.";

/// Words with what may follow; the same without the apostrophe.
const FOLLOWED: &[(&str, &str)] = &[
    ("i you he she it we they", "'ll 'll_'ve 'd 'd_'ve"),
    ("i you we they", "'ve"),
    ("you we they", "'re"),
    ("he she it", "'s"),
    ("who what when where why how there that this", "'s 'll 'll_'ve 'd 'd_'ve"),
    ("these those", "'ll 'll_'ve 'd 'd_'ve"),
    ("who what when where why how there these those", "'re 've"),
    ("ca could do does did had may might must need ought sha should wo would", "n't n't_'ve"),
    ("could might must should would", "'ve"),
    ("ai are is was were have has dare", "n't"),
];

/// What looks like a contraction and mostly is a word.
const WORDS: &str =
    "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore";

fn list() -> Vec<Exception> {
    let mut all: HashMap<String, Vec<u8>> = HashMap::new();
    let mut add = |parted: &str| {
        // With each kind of apostrophe.
        for parted in [parted.to_owned(), parted.replace('\'', "\u{2019}")] {
            let lengths = parted.split('\u{1f}').map(|part| part.len() as u8).collect();
            all.insert(parted.replace('\u{1f}', ""), lengths);
        }
    };
    WHOLE.split_ascii_whitespace().for_each(&mut add);
    let mut parted: Vec<String> = PARTED.split(' ').map(|p| p.replace('_', "\u{1f}")).collect();
    for (words, tails) in FOLLOWED {
        for (word, tail) in words.split(' ').flat_map(|w| tails.split(' ').map(move |t| (w, t))) {
            let with = format!("{word}\u{1f}{}", tail.replace('_', "\u{1f}"));
            parted.push(with.replace('\'', ""));
            parted.push(with);
        }
    }
    for parted in &parted {
        add(parted);
        // No one says Y'all so.
        if !parted.starts_with('y') || parted.starts_with("you") {
            add(&title(parted));
        }
    }
    for hour in 1..=12 {
        for half in ["a.m.", "am", "p.m.", "pm"] {
            add(&format!("{hour}\u{1f}{half}"));
        }
    }
    WORDS.split(' ').for_each(|word| drop(all.remove(word)));
    all.into_iter().map(|(text, lengths)| Exception { text, lengths }).collect()
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_spacy() {
        let all = list();
        // Counted in spaCy 3.8.18 without its five of white space.
        assert_eq!(all.len(), 1343);
        let parts: usize = all.iter().map(|e| e.lengths.len()).sum();
        assert_eq!(parts, 2654);
    }
}
