//! Where a group's fixed metadata lies (kernel doc, "Layout" and "Meta Block Groups").

use crate::superblock::{Superblock, feature};

impl Superblock {
    /// Returns the first block of a group.
    #[must_use]
    pub fn group_first_block(&self, group: u64) -> u64 {
        group * u64::from(self.blocks_per_group) + u64::from(self.first_data_block)
    }

    /// Returns the number of blocks in a group; the last one may be shorter.
    #[must_use]
    pub fn group_block_count(&self, group: u64) -> u64 {
        let left = self
            .block_count
            .saturating_sub(self.group_first_block(group));
        left.min(u64::from(self.blocks_per_group))
    }

    /// Returns how many group descriptors fit a block.
    #[must_use]
    pub fn descriptors_per_block(&self) -> u64 {
        u64::from(self.block_bytes) / u64::from(self.descriptor_bytes)
    }

    /// Returns the number of blocks that the group descriptors take.
    #[must_use]
    pub fn descriptor_block_count(&self) -> u64 {
        self.group_count().div_ceil(self.descriptors_per_block())
    }

    /// Returns the number of blocks that one inode table takes.
    #[must_use]
    pub fn inode_table_block_count(&self) -> u64 {
        let bytes = u64::from(self.inodes_per_group) * u64::from(self.inode_bytes);
        bytes.div_ceil(u64::from(self.block_bytes))
    }

    /// Tells whether a group begins with a copy of the superblock.
    #[must_use]
    pub fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.has_compat(feature::COMPAT_SPARSE_SUPER2) {
            return self
                .backup_groups
                .iter()
                .any(|&backup| u64::from(backup) == group);
        }
        if group == 1 || !self.has_ro_compat(feature::RO_COMPAT_SPARSE_SUPER) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| is_power_of(group, base))
    }

    /// Tells whether group descriptor block `index` lies in its own meta block group.
    #[must_use]
    pub fn is_meta_bg(&self, index: u64) -> bool {
        self.has_incompat(feature::INCOMPAT_META_BG) && index >= u64::from(self.first_meta_bg)
    }

    /// Returns how many blocks lie before group 0's superblock and within group 0: with blocks of
    /// 1 KiB and bigalloc, `s_first_data_block` is 0 but the superblock is in block 1 all the same
    /// (`descriptor_loc` in fs/ext4/super.c).
    #[must_use]
    pub fn odd_block_count(&self) -> u64 {
        u64::from(self.block_bytes == 1024 && self.first_data_block == 0)
    }

    /// Returns the block that holds the descriptors of `descriptors_per_block()` groups from
    /// `index * descriptors_per_block()` on.
    #[must_use]
    pub fn descriptor_block(&self, index: u64) -> u64 {
        let odd = self.odd_block_count();
        if !self.is_meta_bg(index) {
            return u64::from(self.first_data_block) + odd + 1 + index;
        }
        let group = index * self.descriptors_per_block();
        let odd = if group == 0 { odd } else { 0 };
        self.group_first_block(group) + u64::from(self.has_superblock(group)) + odd
    }

    /// Returns how many blocks a group begins with that hold copies of the superblock, of group
    /// descriptors, and room for more of those.
    #[must_use]
    pub fn base_block_count(&self, group: u64) -> u64 {
        let superblock = u64::from(self.has_superblock(group));
        let per_block = self.descriptors_per_block();
        let index = group / per_block;
        if self.is_meta_bg(index) {
            // The first, second and last group of a meta group hold its one descriptor block.
            let within = group % per_block;
            let odd = if group == 0 {
                self.odd_block_count()
            } else {
                0
            };
            return superblock + odd + u64::from(within <= 1 || within == per_block - 1);
        }
        if superblock == 0 {
            return 0;
        }
        let all = self.group_count().div_ceil(per_block);
        let plain = if self.has_incompat(feature::INCOMPAT_META_BG) {
            all.min(u64::from(self.first_meta_bg))
        } else {
            all
        };
        let odd = if group == 0 {
            self.odd_block_count()
        } else {
            0
        };
        superblock + odd + plain + u64::from(self.reserved_gdt_blocks)
    }
}

fn is_power_of(number: u64, base: u64) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

#[cfg(test)]
mod tests {
    use crate::superblock::{Superblock, feature, tests::bytes};

    #[test]
    fn sparse_super_keeps_copies_in_powers_of_3_5_and_7() {
        let mut superblock = Superblock::parse(&bytes()).unwrap();
        superblock.ro_compat = feature::RO_COMPAT_SPARSE_SUPER;
        let groups: Vec<u64> = (0..130).filter(|&g| superblock.has_superblock(g)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
        superblock.compat = feature::COMPAT_SPARSE_SUPER2;
        superblock.backup_groups = [1, 77];
        let groups: Vec<u64> = (0..130).filter(|&g| superblock.has_superblock(g)).collect();
        assert_eq!(groups, [0, 1, 77]);
    }

    /// Blocks of 1 KiB in clusters: block 0 is before the superblock, and descriptors follow it.
    #[test]
    fn clusters_of_small_blocks_push_descriptors_to_block_2() {
        let mut superblock = Superblock::parse(&bytes()).unwrap();
        superblock.block_bytes = 1024;
        superblock.blocks_per_group = 8192;
        superblock.incompat = feature::INCOMPAT_META_BG;
        assert_eq!(superblock.descriptor_block(0), 2);
        assert_eq!(superblock.base_block_count(0), 3);
        superblock.first_data_block = 1;
        assert_eq!(superblock.descriptor_block(0), 2);
        assert_eq!(superblock.base_block_count(0), 2);
    }
}
