//! The conversation with UDisks2 on the bus: which object stands for a device, and one request
//! to it. It may take as long as a person takes; the caller bounds the time.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use zbus::connection::Builder;
use zbus::{Connection, Message, OwnedObjectPath, OwnedVariant, Variant};

const SERVICE: &str = "org.freedesktop.UDisks2";
const MANAGER: &str = "org.freedesktop.UDisks2.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/UDisks2/Manager";
const BLOCK: &str = "org.freedesktop.UDisks2.Block";
const DRIVE: &str = "org.freedesktop.UDisks2.Drive";
const FILESYSTEM: &str = "org.freedesktop.UDisks2.Filesystem";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The device that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: PathBuf,
    /// The number of its special file.
    pub(super) number: u64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// The device, open in a mode, "r" or "rw", and with flags of open(2).
    Open { mode: &'static str, flags: i32 },
    /// The filesystem on it unmounted, wherever it is mounted.
    Unmount,
    /// The drive that it is part of powered off.
    PowerOff,
}

/// What happens in a conversation.
#[derive(Debug)]
pub(super) enum Event {
    /// UDisks2 knows the device, and is asked now.
    Asked,
    /// What it answered.
    Answered(Result<Option<OwnedFd>, Failure>),
}

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error's name on the bus; empty where the conversation itself failed.
    pub(super) name: String,
    /// What was said, in words.
    pub(super) said: String,
}

impl Failure {
    fn of(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, said, _) => Self {
                said: said.unwrap_or_else(|| name.to_string()),
                name: name.to_string(),
            },
            error => Self {
                name: String::new(),
                said: error.to_string(),
            },
        }
    }
}

/// Finds the device and asks for it. Ends without any event where there is nobody to ask: no bus,
/// no UDisks2, or one that doesn't know the device.
pub(super) fn converse(
    address: Option<&str>,
    asked: &Asked,
    request: Request,
    events: &Sender<Event>,
) {
    zbus::block_on(async {
        // No bus, no service, or none that knows the device: nobody to ask, as the end of events says.
        let Ok((bus, object)) = find(address, asked).await else {
            return;
        };
        // Fails where nobody listens any more, as does the next one.
        if events.send(Event::Asked).is_err() {
            return;
        }
        let answer = request.put(&bus, &object).await.map_err(Failure::of);
        // A device that comes too late is closed here.
        drop(events.send(Event::Answered(answer)));
    });
}

async fn find(
    address: Option<&str>,
    asked: &Asked,
) -> Result<(Connection, OwnedObjectPath), zbus::Error> {
    let builder = match address {
        Some(address) => Builder::address(address),
        None => Builder::system(),
    };
    let bus = builder.build().await?;
    for object in objects(&bus, &asked.path).await? {
        let number: u64 = property(&bus, &object, "DeviceNumber").await?.try_into()?;
        if number == asked.number {
            return Ok((bus, object));
        }
    }
    Err(zbus::Error::InterfaceNotFound)
}

/// Returns the objects that UDisks2 has for the device at `path`.
async fn objects(bus: &Connection, path: &Path) -> Result<Vec<OwnedObjectPath>, zbus::Error> {
    let path = path.to_str().ok_or(zbus::Error::InvalidField)?;
    let which = HashMap::from([("path", Variant::from(path))]);
    let body = (which, no_options());
    let reply = bus
        .call_method(
            Some(SERVICE),
            MANAGER_PATH,
            Some(MANAGER),
            "ResolveDevice",
            &body,
        )
        .await?;
    reply.body().deserialize()
}

async fn property(
    bus: &Connection,
    object: &OwnedObjectPath,
    name: &str,
) -> Result<OwnedVariant, zbus::Error> {
    let reply = bus
        .call_method(
            Some(SERVICE),
            object,
            Some(PROPERTIES),
            "Get",
            &(BLOCK, name),
        )
        .await?;
    reply.body().deserialize()
}

/// No options: above all not `auth.no_user_interaction`, so that polkit may ask a person.
fn no_options() -> HashMap<&'static str, Variant<'static>> {
    HashMap::new()
}

/// A method of an object on the bus.
#[derive(Clone, Copy, Debug)]
struct Method {
    interface: &'static str,
    name: &'static str,
}

const OPEN_DEVICE: Method = Method {
    interface: BLOCK,
    name: "OpenDevice",
};
const UNMOUNT: Method = Method {
    interface: FILESYSTEM,
    name: "Unmount",
};
const POWER_OFF: Method = Method {
    interface: DRIVE,
    name: "PowerOff",
};

impl Request {
    async fn put(
        self,
        bus: &Connection,
        object: &OwnedObjectPath,
    ) -> Result<Option<OwnedFd>, zbus::Error> {
        match self {
            Self::Open { mode, flags } => {
                let options = HashMap::from([("flags", Variant::from(flags))]);
                let body = (mode, options);
                let reply = call(bus, object, OPEN_DEVICE, &body).await?;
                let fd: zbus::OwnedFd = reply.body().deserialize()?;
                Ok(Some(fd.into()))
            }
            Self::Unmount => {
                call(bus, object, UNMOUNT, &no_options()).await?;
                Ok(None)
            }
            Self::PowerOff => {
                let drive: OwnedObjectPath = property(bus, object, "Drive").await?.try_into()?;
                call(bus, &drive, POWER_OFF, &no_options()).await?;
                Ok(None)
            }
        }
    }
}

async fn call<B>(
    bus: &Connection,
    object: &OwnedObjectPath,
    method: Method,
    body: &B,
) -> Result<Message, zbus::Error>
where
    B: zbus::export::serde::Serialize + zbus::DynamicType,
{
    bus.call_method(
        Some(SERVICE),
        object,
        Some(method.interface),
        method.name,
        body,
    )
    .await
}
