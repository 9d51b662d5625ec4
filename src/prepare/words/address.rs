//! Addresses of the net, which stay one word: `https://example.org/a?b`, `me@example.org`, `python.org`.

use crate::prepare::unicode::{self, LOWER};

/// Is all of it an address: scheme and user, or none; a host with a dot, or an IP address; port and path, or none?
pub(super) fn is_address(part: &str) -> bool {
    if !part.contains('.') {
        return false;
    }
    let scheme = part.find("://").filter(|at| is_scheme(&part[..*at])).map(|at| at + 3);
    let users = part.match_indices('@').map(|(at, _)| at + 1).filter(|at| *at > 1);
    let starts = std::iter::once(0).chain(scheme).chain(users);
    // A user stands after the scheme, or the scheme is part of the user: either way it begins after an `@`.
    starts.into_iter().any(|start| is_place(&part[start..]))
}

fn is_scheme(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    text.chars().count() >= 2 && text.chars().all(word)
}

/// Host, port, path.
fn is_place(text: &str) -> bool {
    let end = text.find([':', '/', '?', '#']).unwrap_or(text.len());
    let (host, rest) = text.split_at(end);
    if !(is_host(host) || is_ip(host)) {
        return false;
    }
    let Some(port) = rest.strip_prefix(':') else { return true };
    let digits = port.chars().take_while(char::is_ascii_digit).count();
    let path = &port[digits..];
    (2..=5).contains(&digits) && (path.is_empty() || path.starts_with(['/', '?', '#']))
}

fn is_host(host: &str) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else { return false };
    let letters = top.chars().count();
    (2..=63).contains(&letters)
        && top.chars().all(|c| unicode::is(Some(c), LOWER))
        && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let inner = |c: char| alphanumeric(c) || matches!(c, '_' | '-');
    let count = label.chars().count();
    (1..=64).contains(&count)
        && label.starts_with(alphanumeric)
        && label.ends_with(alphanumeric)
        && label.chars().all(inner)
}

/// Four numbers; not those of private networks.
fn is_ip(host: &str) -> bool {
    let mut numbers = [0_u8; 4];
    let mut parts = host.split('.');
    for number in &mut numbers {
        let Some(part) = parts.next() else { return false };
        let plain = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        match part.parse() {
            Ok(n) if plain => *number = n,
            _ => return false,
        }
    }
    let [a, b, _, d] = numbers;
    let private = a == 10
        || a == 127
        || (a, b) == (169, 254)
        || (a, b) == (192, 168)
        || a == 172 && (16..=31).contains(&b);
    parts.next().is_none() && !private && (1..=223).contains(&a) && (1..=254).contains(&d)
}
