//! How alike two texts are.

/// Texts up to this length are compared without allocating.
const SHORT: usize = 64;

/// Jaro-Winkler similarity, 0 to 1, with the usual prefix weight of 0.1 over at most four characters.
pub fn jaro_winkler(a: &str, b: &str) -> f64 {
    if a.is_ascii() && b.is_ascii() {
        return winkler(a.as_bytes(), b.as_bytes());
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    winkler(&a, &b)
}

fn winkler<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    let jaro = if a.len() <= SHORT && b.len() <= SHORT {
        jaro(a, b, &mut [false; SHORT], &mut [false; SHORT])
    } else {
        jaro(a, b, &mut vec![false; a.len()], &mut vec![false; b.len()])
    };
    // Winkler's boost is for texts that are alike already.
    if jaro <= 0.7 {
        return jaro;
    }
    let prefix = a.iter().zip(b).take(4).take_while(|(x, y)| x == y).count();
    jaro + prefix as f64 * 0.1 * (1.0 - jaro)
}

fn jaro<T: PartialEq>(a: &[T], b: &[T], matched: &mut [bool], taken: &mut [bool]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return if a.is_empty() && b.is_empty() { 1.0 } else { 0.0 };
    }
    let window = (a.len().max(b.len()) / 2).saturating_sub(1);
    let mut count = 0_usize;
    for (at, x) in a.iter().enumerate() {
        let near = at.saturating_sub(window)..(at + window + 1).min(b.len());
        if let Some(found) = near.into_iter().find(|&other| !taken[other] && b[other] == *x) {
            taken[found] = true;
            matched[at] = true;
            count += 1;
        }
    }
    if count == 0 {
        return 0.0;
    }
    let in_a = a.iter().zip(&*matched).filter(|(_, matched)| **matched).map(|(x, _)| x);
    let in_b = b.iter().zip(&*taken).filter(|(_, taken)| **taken).map(|(y, _)| y);
    let out_of_place = in_a.zip(in_b).filter(|(x, y)| x != y).count();
    let count = count as f64;
    let transpositions = (out_of_place / 2) as f64;
    (count / a.len() as f64 + count / b.len() as f64 + (count - transpositions) / count) / 3.0
}

/// Whether two texts differ by at most one insertion, deletion, substitution, or swap of neighbours.
pub fn one_edit_apart(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return one_edit(a.as_bytes(), b.as_bytes());
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    one_edit(&a, &b)
}

/// [`one_edit_apart`] of any sequences.
pub fn one_edit<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let start = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let (short, long) = (&short[start..], &long[start..]);
    match long.len() - short.len() {
        0 => match short {
            [] => true,
            [x, y, rest @ ..] if *y == long[0] && *x == long[1] && rest == &long[2..] => true,
            _ => short[1..] == long[1..],
        },
        1 => short == &long[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jaro_winkler_has_its_published_values() {
        for (a, b, expected) in [
            ("MARTHA", "MARHTA", 0.961),
            ("DWAYNE", "DUANE", 0.84),
            ("DIXON", "DICKSONX", 0.813),
            ("", "", 1.0),
            ("A", "", 0.0),
            ("ABC", "XYZ", 0.0),
        ] {
            assert!((jaro_winkler(a, b) - expected).abs() < 0.001, "{a} {b} {}", jaro_winkler(a, b));
        }
    }

    #[test]
    fn one_edit_is_one_slip_of_the_hand() {
        for (a, b, near) in [
            ("123456789", "123456789", true),
            ("123456789", "123456798", true),
            ("123456789", "123456780", true),
            ("12345678", "123456789", true),
            ("12", "21", true),
            ("123456789", "123456700", false),
            ("1234", "4321", false),
            ("", "12", false),
        ] {
            assert_eq!(one_edit_apart(a, b), near, "{a} {b}");
            assert_eq!(one_edit_apart(b, a), near, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn jaro_winkler_agrees_with_an_independent_implementation(a in "[A-D]{0,12}", b in "[A-D]{0,12}") {
            let theirs = rapidfuzz::distance::jaro_winkler::similarity(a.chars(), b.chars());
            prop_assert!((jaro_winkler(&a, &b) - theirs).abs() < 1e-9, "{} {} {} {}", a, b, jaro_winkler(&a, &b), theirs);
        }

        #[test]
        fn one_edit_agrees_with_an_independent_implementation(a in "[A-C]{0,6}", b in "[A-C]{0,6}") {
            let theirs = rapidfuzz::distance::osa::distance(a.chars(), b.chars()) <= 1;
            prop_assert_eq!(one_edit_apart(&a, &b), theirs);
        }
    }
}
