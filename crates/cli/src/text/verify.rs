//! `cardkeep verify` for people.

use anstyle::{AnsiColor, Style};
use cardkeep_ops::{Against, Check, Checked, Place, VerifyReport, path_text};

use crate::terminal::outln;
use crate::units::size;

/// Differences shown; the rest are counted.
const PLACES_SHOWN: usize = 30;

/// Prints what was verified.
pub(crate) fn print_verify(report: &VerifyReport) {
    let image = path_text(&report.image).to_string();
    for sum in &report.sums {
        outln!("Checksum {sum}");
    }
    if let Some(checked) = &report.checked {
        print_checked(&image, checked);
    }
    if let Some(cut) = &report.cut {
        outln!("Note     it {cut}");
    }
    if let Some(against) = &report.against {
        print_against(&image, against);
    }
}

fn print_checked(image: &str, checked: &Checked) {
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    let (word, how) = match checked.check {
        Check::Digests => ("Good", "every frame matches its digest in the manifest"),
        Check::Checksums => (
            "Good",
            "it decodes, and the container's own checksums match",
        ),
        Check::Readable => ("Readable", "a raw image holds no checksums"),
    };
    outln!([green, word] "     {image}: {how}");
    outln!(
        "Holds    {} ({})",
        size(checked.content_len),
        checked.format.extension()
    );
    outln!("Digest   blake3-frames:{}", checked.image_digest);
}

fn print_against(image: &str, against: &Against) {
    let difference = &against.difference;
    let card = path_text(&against.card);
    if difference.bytes == 0 {
        let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
        outln!(
            [green, "Equal"] "    {card} holds all {} of {image}",
            size(difference.compared_bytes)
        );
        return;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    outln!(
        [red, "Differs"] "  {card}: {} of {} differ from {image}, in {} places",
        size(difference.bytes),
        size(difference.compared_bytes),
        difference.extents.len()
    );
    for place in against.places.iter().take(PLACES_SHOWN) {
        outln!("  {}", line(place));
    }
    let more = against.places.len().saturating_sub(PLACES_SHOWN);
    if more > 0 {
        outln!("  and {more} more");
    }
}

/// Where a difference is, in words: `byte 4993024, 512 bytes, partition 2: /etc/hostname`.
fn line(place: &Place) -> String {
    let partition = match place.partition {
        None => "outside all partitions".to_owned(),
        Some(0) => "the filesystem".to_owned(),
        Some(number) => format!("partition {number}"),
    };
    let owner = place.name();
    let owner = owner.as_deref().unwrap_or("no known owner");
    format!(
        "byte {}, {} bytes, {partition}: {owner}",
        place.extent.start(),
        place.extent.len()
    )
}
