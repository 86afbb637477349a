//! What there is to say about any filesystem.

/// What there is to say about any filesystem. Sizes in bytes. Texts are as they stand on the medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsSummary {
    /// Its name in lower case: `ext4`, `fat32`.
    pub name: String,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID or volume id, as `blkid` prints it.
    pub uuid: Option<String>,
    /// Whether it was unmounted properly.
    pub is_clean: bool,
    /// A system that sleeps lies in it, and expects to find its media as they were.
    pub is_hibernated: bool,
    /// The size of a block or cluster.
    pub block_bytes: u64,
    /// The size of the filesystem.
    pub len: u64,
    /// What it says is free for files.
    pub free_bytes: u64,
    /// What may lie behind it in its partition.
    pub behind: Behind,
    /// How its files are compressed, in words; `None` where they are not, or that is not known.
    pub compression: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_seconds: Option<u64>,
    /// How many more devices hold parts of its files.
    pub more_devices: u32,
}

/// What may lie behind a filesystem in its partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behind {
    /// Something that it knows nothing of: the writable overlay of an appliance, a tree of hashes.
    #[default]
    Unknown,
    /// Nothing that anybody would miss: it was made to fill its partition.
    Nothing,
}
