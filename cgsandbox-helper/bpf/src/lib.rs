//! cgroup BPF without a compiler or a loader: programs are written as instructions, and a few
//! commands of bpf(2) load them, attach them to cgroups and fill their maps.
//!
//! Why not C through clang: the longest program has some two hundred instructions. Written out
//! they need no second tool chain to build, are the same bytes in every distribution, so that the
//! kernel's verifier judges what was tested, and a login has no ELF file to read.

mod assembler;
mod kernel;

pub use assembler::{Assembler, Call, Instruction, Label, Map, Program, Register, Size};
pub use kernel::{
    AttachType, MapFd, MapKind, ProgramFd, ProgramInfo, attach, attached, create_map, detach, load,
    map_of_id, netns_cookie, program_of_id,
};
