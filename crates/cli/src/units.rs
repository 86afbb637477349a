//! Sizes and times for people, and as people type them.

pub(crate) use cardkeep_ops::size_text as size;

use crate::quote::quoted;

/// Returns the number of bytes that `text` means: `8GB`, `7.5 GiB`, `7948206080`. Units are those of
/// the card's print (powers of 1000) and, with an `i`, powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let factor = factor_of(unit).ok_or_else(|| {
        format!(
            "`{}` is not a unit of size: use kB, MB, GB, TB, KiB, MiB, GiB",
            quoted(unit)
        )
    })?;
    let wrong = || {
        let text = quoted(text);
        format!("`{text}` is not a size: write it like 8GB, 7.5GiB or a number of bytes")
    };
    // What is no whole number may have a fraction.
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = value * factor as f64;
    // Beyond 2^53 fractions of units are no whole bytes any more; no card is that large.
    if bytes.is_finite() && (0.0..9e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(wrong())
    }
}

fn factor_of(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024_u64),
        None => (unit, 1000),
    };
    let power = match (letter, base) {
        ("", 1000) => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        _ => return None,
    };
    Some(base.pow(power))
}

/// Returns the thousandths that `text`, a number of per cent, means: `4`, `2.5`, `10%`.
pub(crate) fn parse_per_mille(text: &str) -> Result<u32, String> {
    let number = text.trim().trim_end_matches('%').trim();
    match number.parse::<f64>() {
        Ok(value) if (0.0..=1000.0).contains(&value) => Ok((value * 10.0).round() as u32),
        _ => Err(format!(
            "`{}` is not a percentage from 0 to 1000",
            quoted(text)
        )),
    }
}

/// Returns a number of seconds as one would say it: `1 min 16 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, parse_per_mille, parse_size};

    #[test]
    fn sizes_are_read_as_they_are_printed_on_cards() {
        let cases = [
            ("0", 0),
            ("7948206080", 7_948_206_080),
            ("8GB", 8_000_000_000),
            ("8 gb", 8_000_000_000),
            ("8g", 8_000_000_000),
            ("7.5GiB", 8_053_063_680),
            ("512 MiB", 512 << 20),
            ("1.5kB", 1500),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "8 pounds", "-1", "1..2", "99999999999 GB", "1e3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn margins_are_per_cent() {
        let cases = [("4", 40), ("2.5", 25), ("0", 0), ("10 %", 100)];
        for (text, per_mille) in cases {
            assert_eq!(parse_per_mille(text), Ok(per_mille), "{text}");
        }
        for text in ["", "-1", "1001", "NaN", "many"] {
            assert!(parse_per_mille(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_what_one_would_say() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(76.2), "76 s");
        assert_eq!(duration(125.0), "2 min 5 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
