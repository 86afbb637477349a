//! Readers that come and go, and cards that come and go in readers and slots.

use std::path::Path;

use serde_json::json;

use super::{Guest, SLOT};

/// How a card is put in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Insertion {
    /// Bytes per second that it is read at; its full speed without.
    pub read_speed: Option<u64>,
    /// Bytes per second that it is written at; its full speed without.
    pub write_speed: Option<u64>,
    /// Whether its switch forbids writing.
    pub is_locked: bool,
}

impl Guest {
    /// Plugs in a USB reader called `name`, its serial number too, with a card of `file`'s content in it.
    ///
    /// # Panics
    /// Where the machine refuses.
    pub fn plug(&mut self, name: &str, file: &Path, insertion: Insertion) {
        let card = self.make_card(name, file, insertion);
        let reader = json!({
            "driver": "usb-storage", "id": name, "serial": name, "bus": "usb.0",
            "drive": card, "removable": true,
        });
        self.monitor.ask("device_add", reader);
    }

    /// Tears a reader out, with its card. Returns when it is gone and the card's file can be looked at.
    ///
    /// # Panics
    /// As [`Guest::plug`].
    pub fn unplug(&mut self, name: &str) {
        // What waits for its turn goes first: emulators don't like to lose it.
        let limits = json!({"bps-read": 0, "bps-write": 0});
        let group = json!({"path": format!("/objects/speed-{name}"), "property": "limits", "value": limits});
        self.monitor.ask("qom-set", group);
        self.monitor.ask("device_del", json!({"id": name}));
        self.monitor.wait_for("DEVICE_DELETED", "device", name);
        self.drop_card(name);
    }

    /// Takes the card out of a reader or the SD slot, which stays.
    ///
    /// # Panics
    /// As [`Guest::plug`].
    pub fn take_out(&mut self, name: &str) {
        let id = self.medium_of(name);
        self.monitor
            .ask("blockdev-open-tray", json!({"id": id, "force": true}));
        self.monitor
            .ask("blockdev-remove-medium", json!({"id": id}));
        self.drop_card(name);
    }

    /// Puts a card into a reader or slot that has none.
    ///
    /// # Panics
    /// As [`Guest::plug`].
    pub fn put_in(&mut self, name: &str, file: &Path, insertion: Insertion) {
        let card = self.make_card(name, file, insertion);
        let id = self.medium_of(name);
        self.monitor.ask(
            "blockdev-insert-medium",
            json!({"id": id, "node-name": card}),
        );
        self.monitor.ask("blockdev-close-tray", json!({"id": id}));
    }

    /// Returns what the monitor calls the part of a reader that holds the card.
    fn medium_of(&self, name: &str) -> String {
        match name {
            SLOT => SLOT.to_owned(),
            _ => format!("/machine/peripheral/{name}/{name}.0/legacy[0]"),
        }
    }

    fn make_card(&mut self, name: &str, file: &Path, insertion: Insertion) -> String {
        let card = format!("card-{name}");
        let mut limits = serde_json::Map::new();
        for (key, speed) in [
            ("bps-read", insertion.read_speed),
            ("bps-write", insertion.write_speed),
        ] {
            limits.extend(speed.map(|speed| (key.to_owned(), json!(speed))));
        }
        let group =
            json!({"qom-type": "throttle-group", "id": format!("speed-{name}"), "limits": limits});
        self.monitor.ask("object-add", group);
        let node = json!({
            "node-name": card, "driver": "throttle", "throttle-group": format!("speed-{name}"),
            "read-only": insertion.is_locked,
            "file": {"driver": "raw", "read-only": insertion.is_locked, "file": {
                "driver": "file", "filename": file, "read-only": insertion.is_locked,
            }},
        });
        self.monitor.ask("blockdev-add", node);
        card
    }

    fn drop_card(&mut self, name: &str) {
        self.monitor
            .ask("blockdev-del", json!({"node-name": format!("card-{name}")}));
        self.monitor
            .ask("object-del", json!({"id": format!("speed-{name}")}));
    }
}
