//! A mark of a card as it is: another one once anybody has used it.

use cardkeep_block::{Extent, ReadAt};
use cardkeep_image::FrameDigest;
use cardkeep_survey::Survey;

/// Any use of a filesystem changes its first bytes.
const TELLING_BYTES: u64 = 64 * 1024;
/// So much of a digest tells cards apart.
const MARK_CHARS: usize = 16;

/// Returns the places that any use of a card changes: the beginnings of it and of its partitions.
pub(crate) fn telling_places(survey: &Survey) -> Vec<Extent> {
    let starts = survey.partitions.iter().map(|part| part.extent.start());
    std::iter::once(0)
        .chain(starts)
        .map(|start| Extent::between(start, start.saturating_add(TELLING_BYTES)))
        .collect()
}

/// Returns a mark of what the places hold; `None` where they can't be read.
pub(crate) fn fingerprint(source: &dyn ReadAt, places: &[Extent]) -> Option<String> {
    let mut bytes = Vec::new();
    for place in places {
        let place = place.intersection(Extent::between(0, source.len()));
        // What can't be read tells nothing.
        bytes.extend(source.read_vec(place.start(), place.len() as usize).ok()?);
    }
    let digest = FrameDigest::of(&bytes).to_string();
    Some(digest.chars().take(MARK_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::fingerprint;
    use cardkeep_block::{Extent, MemoryMedium, WriteAt};

    #[test]
    fn a_mark_changes_with_what_is_in_its_places_and_with_nothing_else() {
        let medium = MemoryMedium::new(1000);
        let places = [Extent::between(0, 10), Extent::between(990, 2000)];
        let before = fingerprint(&medium, &places);
        medium.write_at(500, &[1]).unwrap();
        assert_eq!(fingerprint(&medium, &places), before);
        medium.write_at(999, &[1]).unwrap();
        assert_ne!(fingerprint(&medium, &places), before);
    }
}
