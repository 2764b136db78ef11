//! Instructions (Documentation/bpf/standardization/instruction-set.rst), with labels.

/// A register. R0 is what a call or the program returns, R1 to R5 are arguments and lost by a
/// call, R6 to R9 keep, R10 is the end of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much a load or store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    Byte,
    /// Two.
    Half,
    /// Four.
    Word,
    /// Eight.
    Double,
}

impl Size {
    fn bits(self) -> u8 {
        match self {
            Size::Byte => 0x10,
            Size::Half => 0x08,
            Size::Word => 0x00,
            Size::Double => 0x18,
        }
    }
}

/// A function of the kernel's (bpf-helpers(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "bpf-helpers(7) has them")]
pub enum Call {
    MapLookup = 1,
    SkbLoadBytes = 26,
    Bind = 64,
    GetLocalStorage = 81,
    SkFullsock = 95,
    GetNetnsCookie = 122,
}

/// A map that a program uses, by its place in the list given to [`crate::load`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map(pub usize);

/// A place to jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// One instruction as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source.
    pub opcode: u8,
    /// The register written to.
    pub to: u8,
    /// The register read from; for a map 1, BPF_PSEUDO_MAP_FD.
    pub from: u8,
    /// The distance of a load, a store or a jump.
    pub offset: i16,
    /// A number of the instruction's own.
    pub immediate: i32,
}

impl Instruction {
    /// Its eight bytes.
    pub fn encode(self) -> u64 {
        let [low, high] = self.offset.to_ne_bytes();
        let [a, b, c, d] = self.immediate.to_ne_bytes();
        let registers = match cfg!(target_endian = "little") {
            true => self.from << 4 | self.to,
            false => self.to << 4 | self.from,
        };
        u64::from_ne_bytes([self.opcode, registers, low, high, a, b, c, d])
    }
}

/// A program, and which of its instructions name which map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Every instruction; the two of a map's count as two.
    pub instructions: Vec<Instruction>,
    /// The first of the two instructions that load a map, and the map.
    pub maps: Vec<(usize, Map)>,
}

impl Program {
    /// With the maps' file descriptors in their places.
    pub(crate) fn encode(&self, fds: &[i32]) -> Vec<u64> {
        let mut instructions = self.instructions.clone();
        for (at, Map(map)) in &self.maps {
            instructions[*at].immediate = fds[*map];
        }
        instructions.into_iter().map(Instruction::encode).collect()
    }
}

/// A program under construction.
#[derive(Debug, Default)]
pub struct Assembler {
    instructions: Vec<Instruction>,
    maps: Vec<(usize, Map)>,
    /// Where each label is, once it is known.
    places: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// An empty program.
    pub fn new() -> Self {
        Assembler::default()
    }

    /// A label to be placed later.
    pub fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Gives `label` its place: the next instruction.
    pub fn place(&mut self, label: Label) {
        self.places[label.0] = Some(self.instructions.len());
    }

    /// The program, with every jump resolved.
    ///
    /// # Panics
    ///
    /// On a jump to a label that has no place or is out of reach: a mistake in the program's
    /// text, which every test of it meets.
    pub fn finish(mut self) -> Program {
        for (at, label) in self.jumps {
            let distance = |place: usize| i16::try_from(place as i64 - at as i64 - 1).ok();
            let Some(offset) = self.places[label.0].and_then(distance) else {
                unreachable!("a jump to a label without a place, or too far");
            };
            self.instructions[at].offset = offset;
        }
        Program { instructions: self.instructions, maps: self.maps }
    }

    fn push(&mut self, opcode: u8, to: Register, from: u8, offset: i16, immediate: i32) {
        self.instructions.push(Instruction { opcode, to: to as u8, from, offset, immediate });
    }

    /// `to = *(from + offset)`, widened with zeroes.
    pub fn load(&mut self, size: Size, to: Register, from: Register, offset: i16) {
        self.push(0x61 | size.bits(), to, from as u8, offset, 0);
    }

    /// `*(to + offset) = from`
    pub fn store(&mut self, size: Size, to: Register, offset: i16, from: Register) {
        self.push(0x63 | size.bits(), to, from as u8, offset, 0);
    }

    /// `*(to + offset) = number`
    pub fn store_number(&mut self, size: Size, to: Register, offset: i16, number: i32) {
        self.push(0x62 | size.bits(), to, 0, offset, number);
    }

    /// `to = number`, as 32 bits.
    pub fn set(&mut self, to: Register, number: u32) {
        self.push(0xb4, to, 0, 0, number.cast_signed());
    }

    /// `to = from`
    pub fn copy(&mut self, to: Register, from: Register) {
        self.push(0xbf, to, from as u8, 0, 0);
    }

    /// `to += number`
    pub fn add(&mut self, to: Register, number: i32) {
        self.push(0x07, to, 0, 0, number);
    }

    /// `to &= number`, as 32 bits.
    pub fn and(&mut self, to: Register, number: u32) {
        self.push(0x54, to, 0, 0, number.cast_signed());
    }

    /// `to &= from`, as 32 bits.
    pub fn and_register(&mut self, to: Register, from: Register) {
        self.push(0x5c, to, from as u8, 0, 0);
    }

    /// `to ^= from`, as 32 bits.
    pub fn xor_register(&mut self, to: Register, from: Register) {
        self.push(0xac, to, from as u8, 0, 0);
    }

    /// `to <<= bits`, as 32 bits.
    pub fn shift_left(&mut self, to: Register, bits: i32) {
        self.push(0x64, to, 0, 0, bits);
    }

    /// Between network order and the machine's, 32 bits.
    pub fn from_network(&mut self, to: Register) {
        self.push(0xdc, to, 0, 0, 32);
    }

    /// `to` is the address of `map`.
    pub fn map(&mut self, to: Register, map: Map) {
        self.maps.push((self.instructions.len(), map));
        self.push(0x18, to, 1, 0, 0);
        self.push(0, Register::R0, 0, 0, 0);
    }

    /// Calls a function of the kernel's.
    pub fn call(&mut self, call: Call) {
        self.push(0x85, Register::R0, 0, 0, call as i32);
    }

    /// Ends the program with `number`.
    pub fn end(&mut self, number: u32) {
        self.set(Register::R0, number);
        self.push(0x95, Register::R0, 0, 0, 0);
    }

    /// Goes on at `label`.
    pub fn jump(&mut self, label: Label) {
        self.branch(0x05, Register::R0, 0, 0, label);
    }

    /// Goes on at `label` if `left` is `number`, of their low 32 bits.
    pub fn if_is(&mut self, left: Register, number: u32, label: Label) {
        self.branch(0x16, left, 0, number.cast_signed(), label);
    }

    /// Goes on at `label` if `left` is not `number`, of their low 32 bits.
    pub fn if_not(&mut self, left: Register, number: u32, label: Label) {
        self.branch(0x56, left, 0, number.cast_signed(), label);
    }

    /// Goes on at `label` if `left` is `right`, of their low 32 bits.
    pub fn if_same(&mut self, left: Register, right: Register, label: Label) {
        self.branch(0x1e, left, right as u8, 0, label);
    }

    /// Goes on at `label` if `left` is not `right`, of their low 32 bits.
    pub fn if_other(&mut self, left: Register, right: Register, label: Label) {
        self.branch(0x5e, left, right as u8, 0, label);
    }

    /// Goes on at `label` if `left` is not `right`, of all 64 bits.
    pub fn if_other_wide(&mut self, left: Register, right: Register, label: Label) {
        self.branch(0x5d, left, right as u8, 0, label);
    }

    /// Goes on at `label` if `left` is 0, of all 64 bits: a pointer to nothing.
    pub fn if_null(&mut self, left: Register, label: Label) {
        self.branch(0x15, left, 0, 0, label);
    }

    /// Goes on at `label` if `left` is above `right`, of all 64 bits.
    pub fn if_above(&mut self, left: Register, right: Register, label: Label) {
        self.branch(0x2d, left, right as u8, 0, label);
    }

    fn branch(&mut self, opcode: u8, left: Register, right: u8, number: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(opcode, left, right, 0, number);
    }
}
