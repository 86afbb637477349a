//! Asking before a card is erased: its name or its size has to be typed.

use std::io::IsTerminal;

use cardkeep_ops::restore::{RestorePlan, TargetPlan};
use cardkeep_ops::{OpError, OpErrorKind, Signals, path_text};

use crate::commands::question;
use crate::units::size;

/// Asks for each card of the plan.
pub(crate) fn confirm(plan: &RestorePlan, signals: Signals) -> Result<(), OpError> {
    if !std::io::stdin().is_terminal() {
        let named = |error: OpError, target: &TargetPlan| {
            error.hint(format!(
                "pass --yes and the name {}",
                path_text(&target.path)
            ))
        };
        let error = OpError::new(
            OpErrorKind::Refused,
            "confirmation needed, but stdin is not a terminal",
        );
        return Err(plan.targets.iter().fold(error, named));
    }
    for target in &plan.targets {
        ask(target, signals)?;
    }
    Ok(())
}

fn ask(target: &TargetPlan, signals: Signals) -> Result<(), OpError> {
    let answer = question::ask(
        format_args!(
            "Everything on {} will be lost. Type {} or {} to confirm: ",
            path_text(&target.path),
            name(target),
            size(target.len)
        ),
        signals,
    )?;
    if is_meant(&answer, target) {
        return Ok(());
    }
    let message = format!("{} was not changed", path_text(&target.path));
    Err(OpError::new(OpErrorKind::Refused, message).hint("the typed text is not its name or size"))
}

fn name(target: &TargetPlan) -> String {
    match &target.device {
        Some(device) => device.name.clone(),
        None => path_text(&target.path).to_string(),
    }
}

/// Tells whether what was typed names the card. A bare "y" names nothing.
fn is_meant(answer: &str, target: &TargetPlan) -> bool {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !letter.is_whitespace());
        letters.collect::<String>().to_lowercase()
    };
    let answer = answer.trim();
    answer == name(target)
        || answer == path_text(&target.path).to_string()
        || plain(answer) == plain(&size(target.len))
}

#[cfg(test)]
mod tests {
    use super::is_meant;
    use cardkeep_ops::restore::{Fit, TargetPlan};
    use cardkeep_ops::{AllocationMap, Device, State};

    #[test]
    fn only_the_cards_own_name_or_size_will_do() {
        let device = Device {
            name: "sdb".to_owned(),
            ..Device::default()
        };
        let target = TargetPlan {
            path: "/dev/sdb".into(),
            device: Some(device),
            file: None,
            len: 31_914_983_424,
            sector_bytes: 512,
            contents: None,
            fit: Fit::of(AllocationMap::all(0, State::Free)).into(),
        };
        for answer in ["sdb\n", "/dev/sdb\n", "31.9 GB\n", "31.9gb"] {
            assert!(is_meant(answer, &target), "{answer}");
        }
        for answer in [
            "", "\n", "y\n", "yes", "sda", "sdb1", "31.9", "32 GB", "SDB",
        ] {
            assert!(!is_meant(answer, &target), "{answer}");
        }
    }
}
