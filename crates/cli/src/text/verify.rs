//! `cardkeep verify` for people.

use anstyle::{AnsiColor, Style};
use cardkeep_copy::{Check, Checked};
use cardkeep_ops::{Against, VerifyReport};
use cardkeep_survey::Place;

use crate::units::size;

/// Differences shown; the rest are counted.
const PLACES_SHOWN: usize = 30;

/// Prints what was verified.
pub(crate) fn print_verify(report: &VerifyReport) {
    let image = report.image.display().to_string();
    if let Some(checked) = &report.checked {
        print_checked(&image, checked);
    }
    if let Some(cut) = &report.cut {
        anstream::println!("Note     it {cut}");
    }
    if let Some(against) = &report.against {
        print_against(&image, against);
    }
}

fn print_checked(image: &str, checked: &Checked) {
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    let (word, how) = match checked.check {
        Check::Digests => (
            "Good",
            "every frame has the digest that its manifest states",
        ),
        Check::Checksums => (
            "Good",
            "it decodes, and the container's own checksums are right",
        ),
        Check::Readable => ("Readable", "a raw image holds nothing to check it by"),
    };
    anstream::println!("{green}{word}{green:#}     {image}: {how}");
    anstream::println!(
        "Holds    {} ({})",
        size(checked.content_len),
        checked.format.extension()
    );
    anstream::println!("Digest   blake3-frames:{}", checked.image_digest);
}

fn print_against(image: &str, against: &Against) {
    let difference = &against.difference;
    let card = against.card.display();
    if difference.bytes == 0 {
        let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
        anstream::println!(
            "{green}Equal{green:#}    {card} holds all {} of {image}",
            size(difference.compared_bytes)
        );
        return;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    anstream::println!(
        "{red}Differs{red:#}  {card}: {} of {} differ from {image}, in {} places",
        size(difference.bytes),
        size(difference.compared_bytes),
        difference.extents.len()
    );
    for place in against.places.iter().take(PLACES_SHOWN) {
        anstream::println!("  {}", line(place));
    }
    let more = against.places.len().saturating_sub(PLACES_SHOWN);
    if more > 0 {
        anstream::println!("  and {more} more");
    }
}

/// Where a difference is, in words: `byte 4993024, 512 bytes, partition 2: /etc/hostname`.
fn line(place: &Place) -> String {
    let partition = match place.partition {
        None => "outside all partitions".to_owned(),
        Some(0) => "the filesystem".to_owned(),
        Some(number) => format!("partition {number}"),
    };
    let owner = match (&place.path, &place.what) {
        (Some(path), _) => printable(path),
        (None, Some(what)) => what.clone(),
        (None, None) => "no known owner".to_owned(),
    };
    format!(
        "byte {}, {} bytes, {partition}: {owner}",
        place.extent.start(),
        place.extent.len()
    )
}

/// Names come from the card: control characters don't reach the terminal.
fn printable(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
