//! Ceilings and paces of a vault, in one place: the real ones, and tiny ones for the simulator.

use coffre_core::chunk::ChunkSizes;
use coffre_core::pack::{MAX_PACK_LEN, PACK_ALIGN, PACK_TARGET};
use coffre_core::record::MAX_BODY;

/// Ceilings and paces. Lengths in bytes, times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Length of a journal segment file, zeroed ahead of use.
    pub segment_len: u32,
    /// Objects up to this length ride inline in the journal.
    pub inline_max: usize,
    /// A record takes no further commits once its facts reach this length.
    pub record_target: usize,
    /// Records that may wait for their acknowledgement when another one is begun. None: what comes meanwhile goes into one record.
    pub record_window: u64,
    /// A checkpoint is due when the journal after the last one is this long.
    pub checkpoint_after: u64,
    /// A pack is sealed when its blobs reach this length.
    pub pack_target: usize,
    /// Packs that may be on their way to the disks at once.
    pub packs_in_flight: usize,
    /// Cut points of chunks.
    pub chunks: ChunkSizes,
    /// Manifests up to this length ride in the object's fact.
    pub manifest_inline: usize,
    /// Packs below this length are merged.
    pub small_pack: u64,
    /// Small packs are merged when there are this many of a class,
    pub merge_count: usize,
    /// or when this long passed since the last look and there are at least two.
    pub merge_every_ms: u64,
    /// How long the first stream that waits on an open pack waits for company.
    pub seal_wait_ms: u64,
    /// A disk with a lane that finishes no job within this time, although it has some, is suspect.
    pub hang_ms: u64,
    /// New data is refused when a disk that must take it has less than this free.
    pub reserve: u64,
    /// Length of the file on each disk that is given up when the journal finds no room.
    pub ballast_len: u64,
    /// What is condemned is freed after this long on the retention clock.
    pub grace_ms: u64,
    /// Running time between two runs of forgetting.
    pub forget_every_ms: u64,
    /// Running time between two notes of the retention clock in the journal.
    pub note_clock_ms: u64,
    /// Whether clients that were given no ceilings have those that follow from the disks.
    pub default_ceilings: bool,
}

impl Limits {
    /// How an appliance runs.
    pub const STANDARD: Self = Self {
        segment_len: 4 << 20,
        inline_max: 64 << 10,
        record_target: 1 << 20,
        record_window: 0,
        checkpoint_after: 16 << 20,
        pack_target: PACK_TARGET,
        packs_in_flight: 2,
        chunks: ChunkSizes::STANDARD,
        manifest_inline: 48 << 10,
        small_pack: 8 << 20,
        merge_count: 16,
        merge_every_ms: 120_000,
        seal_wait_ms: 20,
        hang_ms: 5_000,
        reserve: 256 << 20,
        ballast_len: 64 << 20,
        grace_ms: 7 * 86_400_000,
        forget_every_ms: 86_400_000,
        note_clock_ms: 3_600_000,
        default_ceilings: true,
    };

    /// How a try-out runs: it shares its file system with other things, perhaps eight folders of it, and people watch what
    /// is forgotten.
    pub const TRY_OUT: Self = Self {
        reserve: 32 << 20,
        ballast_len: 8 << 20,
        grace_ms: 10_000,
        forget_every_ms: 10_000,
        default_ceilings: false,
        ..Self::STANDARD
    };

    /// How the simulator runs: the same shapes in a few kilobytes.
    pub const TINY: Self = Self {
        segment_len: 64 << 10,
        inline_max: 128,
        record_target: 2 << 10,
        record_window: 2,
        checkpoint_after: 96 << 10,
        pack_target: 4 << 10,
        packs_in_flight: 3,
        chunks: ChunkSizes::TINY,
        manifest_inline: 400,
        small_pack: 6 << 10,
        merge_count: 4,
        merge_every_ms: 5_000,
        seal_wait_ms: 20,
        hang_ms: 5_000,
        reserve: 0,
        ballast_len: 0,
        grace_ms: 3_000,
        forget_every_ms: 10_000,
        note_clock_ms: 20_000,
        default_ceilings: false,
    };
}

impl Limits {
    /// How a vault runs.
    pub const fn of(try_out: bool) -> Self {
        if try_out { Self::TRY_OUT } else { Self::STANDARD }
    }

    /// Bytes of a disk that the vault keeps for itself before it takes a backup.
    pub const fn own_room(&self) -> u64 {
        self.reserve + self.ballast_len + self.segment_len as u64
    }

    /// Bytes that a pack's body needs at most, in nearly all cases: its target, the chunk that goes over it, the table of
    /// contents and what makes it divisible.
    pub fn pack_room(&self) -> usize {
        self.pack_target + self.chunks.max() + self.pack_target / 64 + 8 * PACK_ALIGN
    }
}

// A record of one commit more than its target still fits, and a record fits in a segment.
const _: () = assert!(Limits::STANDARD.record_target + 2 * Limits::STANDARD.inline_max < MAX_BODY);
// Ballast makes room for as much journal as is written before it is forgotten, and for a segment more. What lies between the last
// two checkpoints stays.
const _: () = assert!(
    Limits::STANDARD.ballast_len
        > 3 * Limits::STANDARD.checkpoint_after + Limits::STANDARD.segment_len as u64
);
const _: () = assert!(MAX_BODY + 4096 < Limits::STANDARD.segment_len as usize);
const _: () = assert!(Limits::STANDARD.pack_target < MAX_PACK_LEN);
const _: () = assert!(Limits::STANDARD.manifest_inline < Limits::STANDARD.record_target);
// What rode inline and was folded into a pack is recognised as a chunk at the end of a stream only.
const _: () = assert!(Limits::STANDARD.inline_max <= Limits::STANDARD.chunks.min());
