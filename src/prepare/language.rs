//! Which language is a document in? A fastText model where the user gives one, else whatlang.

use std::io::Read;

use fasttext::FastText;
use whatlang::Lang;

use super::filter::Removed;
use crate::error::InputError;
use crate::spec::Language;

/// whatlang reads so much of a document [bytes].
const HEAD: usize = 4 << 10;

/// Tells languages apart.
pub enum Detector {
    /// By frequent triples of letters, in the first 4 kB.
    Whatlang,
    /// By a model over all of the text.
    FastText(Box<FastText>),
}

impl Detector {
    /// Reads a fastText model. `name` is that of its file.
    ///
    /// # Errors
    ///
    /// For a quantised model, whose predictions the reader gets wrong, and for what is no model.
    pub fn model(name: &str, file: &mut impl Read) -> Result<Self, InputError> {
        let extension = std::path::Path::new(name).extension();
        if extension.is_some_and(|e| e.eq_ignore_ascii_case("ftz")) {
            return Err(quantised(name));
        }
        let model = FastText::load(file).map_err(|e| {
            InputError::new(
                format!("`{name}` is no fastText model: {e}"),
                "lid.176.bin of fasttext.cc is one; without `model` whatlang guesses the language",
            )
        })?;
        if model.is_quant() {
            return Err(quantised(name));
        }
        Ok(Self::FastText(Box::new(model)))
    }

    /// The likeliest language of a text, where one is known, and how likely the likeliest wanted one is, 0 to 1.
    pub fn guess(&self, text: &str, wanted: &[String]) -> (Option<String>, f64) {
        let is_wanted = |code: &str| wanted.is_empty() || wanted.iter().any(|keep| keep == code);
        match self {
            Self::Whatlang => {
                let head = &text[..text.floor_char_boundary(HEAD)];
                let Some(info) = whatlang::detect(head) else { return (None, 0.0) };
                let code = code(info.lang());
                let wanted = is_wanted(code) || is_wanted(info.lang().code());
                (Some(code.to_owned()), if wanted { info.confidence() } else { 0.0 })
            }
            Self::FastText(model) => {
                // A line end would end the text.
                let line = text.replace('\n', " ");
                let (mut first, mut most, mut best): (Option<String>, f64, f64) = (None, 0.0, 0.0);
                for one in model.predict(&line, usize::MAX >> 33, 0.0) {
                    let code = one.label.strip_prefix("__label__").unwrap_or(&one.label);
                    let likely = f64::from(one.prob).min(1.0);
                    if is_wanted(code) {
                        best = best.max(likely);
                    }
                    if first.is_none() || likely >= most {
                        (first, most) = (Some(code.to_owned()), likely);
                    }
                }
                (first, best)
            }
        }
    }

    /// The likeliest language of a text, and why it goes: no wanted language is likely enough.
    pub fn judge(&self, text: &str, rule: &Language) -> (Option<String>, Option<Removed>) {
        let (language, value) = self.guess(text, &rule.keep);
        let goes = value < rule.at_least;
        (language, goes.then_some(Removed { rule: "language", value, limit: rule.at_least }))
    }
}

/// The codes of a recipe that whatlang does not know.
pub fn unknown(keep: &[String]) -> Vec<&str> {
    let known = |asked: &str| Lang::all().iter().any(|l| l.code() == asked || code(*l) == asked);
    keep.iter().map(String::as_str).filter(|asked| !known(asked)).collect()
}

fn quantised(name: &str) -> InputError {
    InputError::new(
        format!(
            "`{name}` is a quantised fastText model, and its predictions cannot be trusted here"
        ),
        "give the full model, lid.176.bin for lid.176.ftz",
    )
}

/// ISO 639-1, or 639-3 where there is none.
#[rustfmt::skip]
fn code(lang: Lang) -> &'static str {
    const CODES: &str = "epo eo eng en rus ru cmn zh spa es por pt ita it ben bn fra fr deu de ukr uk kat ka ara ar hin hi \
        jpn ja heb he yid yi pol pl amh am jav jv kor ko nob no dan da swe sv fin fi tur tr nld nl hun hu ces cs ell el \
        bul bg bel be mar mr kan kn ron ro slv sl hrv hr srp sr mkd mk lit lt lav lv est et tam ta vie vi urd ur tha th \
        guj gu uzb uz pan pa aze az ind id tel te pes fa mal ml ori or mya my nep ne sin si khm km tuk tk aka ak zul zu \
        sna sn afr af lat la slk sk cat ca tgl tl hye hy cym cy";
    let mut words = CODES.split_ascii_whitespace();
    while let (Some(three), Some(two)) = (words.next(), words.next()) {
        if three == lang.code() {
            return two;
        }
    }
    lang.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "When in the course of human events it becomes necessary for one people to dissolve the \
        political bands which have connected them with another, a decent respect requires it.";
    const FRENCH: &str = "Les hommes naissent et demeurent libres et égaux en droits. Les distinctions sociales ne \
        peuvent être fondées que sur l'utilité commune, et la loi est l'expression de la volonté générale.";

    fn rule(keep: &[&str], at_least: f64) -> Language {
        Language { keep: keep.iter().map(|s| (*s).to_owned()).collect(), at_least, model: None }
    }

    #[test]
    fn what_is_not_in_a_wanted_language_goes() {
        let detector = Detector::Whatlang;
        let judge = |text: &str, keep: &[&str]| detector.judge(text, &rule(keep, 0.65));
        let (english, french) = (Some("en".to_owned()), Some("fr".to_owned()));
        assert_eq!(judge(ENGLISH, &["en"]), (english.clone(), None));
        assert_eq!(judge(ENGLISH, &["fr", "eng"]), (english, None));
        let removed = Removed { rule: "language", value: 0.0, limit: 0.65 };
        assert_eq!(judge(FRENCH, &["en"]), (french.clone(), Some(removed)));
        assert_eq!(judge(FRENCH, &["en", "fr"]), (french, None));
        assert_eq!(judge("1234", &["en"]), (None, Some(removed)));
    }

    #[test]
    fn only_the_head_is_read_without_a_model() {
        let text = format!("{} {FRENCH}", ENGLISH.repeat(40));
        assert_eq!(Detector::Whatlang.guess(&text, &[]).0.as_deref(), Some("en"));
        let wide = "é".repeat(HEAD);
        assert!(Detector::Whatlang.guess(&wide, &[]).0.is_some(), "cut between characters");
    }

    #[test]
    fn every_language_has_a_code() {
        let asked: Vec<String> = ["en", "eng", "zh", "fa", "xx", ""].map(str::to_owned).to_vec();
        assert_eq!(unknown(&asked), ["xx", ""]);
        assert!(Lang::all().iter().all(|lang| code(*lang).len() == 2));
    }

    #[test]
    fn a_quantised_model_is_refused_by_name_and_what_is_none_too() {
        for (name, bytes, why) in [
            ("lid.176.ftz", &b""[..], "quantised"),
            ("models/LID.FTZ", b"", "quantised"),
            ("lid.bin", b"not a model at all", "is no fastText model"),
        ] {
            let Err(error) = Detector::model(name, &mut &*bytes) else { panic!("{name}") };
            assert!(error.message.contains(why) && error.message.contains(name), "{error}");
        }
    }
}
