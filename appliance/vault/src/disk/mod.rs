//! Disks: the real adapter of the `Disk` port, who holds a disk, what a path on it may look like, what init asks of a folder,
//! and what a disk says of its health.
//!
//! Only this room knows the system's calls for files (`nix`).

mod beneath;
mod fs;
mod health;
mod hold;
mod path;
mod probe;

pub use fs::FsDisk;
pub use health::{health_of, parse as parse_health};
pub use hold::{Hold, Holder};
pub use path::{MAX_PATH_LEN, MAX_PATH_PARTS, is_folder, is_path, parent};
pub use probe::{is_empty_dir, is_mount_point, same_file_system};

/// Most files a disk keeps open for writing at once; one more is a leak of its owner, and refused.
pub const MAX_OPEN_FILES: usize = 256;
