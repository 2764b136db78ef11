//! Runs programs on made-up contexts, and refuses what the kernel's verifier would: memory that
//! is not theirs, words that were never written, functions they may not call.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use cgsandbox_bpf::{Call, Program};

use crate::loopback::record::SIZE;

/// Where the memories begin, as a program sees them.
const CONTEXT: u64 = 1 << 32;
const RECORD: u64 = 2 << 32;
const STACK: u64 = 3 << 32;
const PACKET: u64 = 4 << 32;
const REACH: u64 = 5 << 32;
const MAP: u64 = 6 << 32;
const SOCKET: u64 = 7 << 32;
const STACK_SIZE: usize = 512;

/// Where `data` and `data_end` are in `struct __sk_buff`.
const DATA: usize = 76;
const END: usize = 80;
const SOCKET_OF_PACKET: usize = 168;

/// Where the socket is in `struct bpf_sock_addr`.
const SOCKET_OF_ADDRESS: usize = 64;

/// The kernel around a program.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub context: Vec<u8>,
    pub record: Vec<u8>,
    pub packet: Vec<u8>,
    /// `struct bpf_sock`; empty where there is none.
    pub socket: Vec<u8>,
    pub reach: BTreeMap<[u8; 8], u8>,
    pub namespace: u64,
    /// What bpf_bind() was asked for.
    pub bound: Option<Vec<u8>>,
    pub found: [u8; 1],
    pub stack: Vec<u8>,
}

impl Machine {
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.context[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn run(&mut self, program: &Program) -> u64 {
        assert_eq!(self.record.len(), SIZE);
        self.stack = vec![0; STACK_SIZE];
        let mut registers = Registers([None; 11]);
        registers[1] = CONTEXT;
        registers[10] = STACK + STACK_SIZE as u64;
        let mut at = 0;
        for _ in 0..4096 {
            let one = program.instructions[at];
            at += 1;
            let (to, from) = (usize::from(one.to), usize::from(one.from));
            let number = one.immediate.cast_unsigned();
            let jump = |at: usize| at.checked_add_signed(one.offset.into()).unwrap();
            let low = |register: u64| register as u32;
            match one.opcode {
                0x61 | 0x69 | 0x71 | 0x79 => {
                    let address = registers[from].wrapping_add_signed(one.offset.into());
                    registers[to] = self.load(address, size(one.opcode));
                }
                0x62 | 0x6a | 0x72 | 0x7a => {
                    let address = registers[to].wrapping_add_signed(one.offset.into());
                    assert_ne!(address >> 32, CONTEXT >> 32, "a number into the context");
                    self.store(address, size(one.opcode), one.immediate as u64);
                }
                0x63 | 0x6b | 0x73 | 0x7b => {
                    let address = registers[to].wrapping_add_signed(one.offset.into());
                    self.store(address, size(one.opcode), registers[from]);
                }
                0xb4 => registers[to] = number.into(),
                0xbf => registers[to] = registers[from],
                0x07 => {
                    registers[to] = registers.read(to).wrapping_add_signed(one.immediate.into())
                }
                0x0f => registers[to] = registers.read(to).wrapping_add(registers[from]),
                0x54 => registers[to] = (low(*registers.read(to)) & number).into(),
                0x5c => registers[to] = (low(*registers.read(to)) & low(registers[from])).into(),
                0xac => registers[to] = (low(*registers.read(to)) ^ low(registers[from])).into(),
                0x64 => registers[to] = (low(*registers.read(to)) << number).into(),
                0xdc => registers[to] = u32::from_be(low(*registers.read(to))).into(),
                0x18 => {
                    registers[to] = MAP + one.immediate as u64;
                    let (_, map) = program.maps.iter().find(|(place, _)| *place == at - 1).unwrap();
                    registers[to] += map.0 as u64;
                    at += 1;
                }
                0x05 => at = jump(at),
                0x16 if low(registers[to]) == number => at = jump(at),
                0x56 if low(registers[to]) != number => at = jump(at),
                0x1e if low(registers[to]) == low(registers[from]) => at = jump(at),
                0x5e if low(registers[to]) != low(registers[from]) => at = jump(at),
                0x5d if registers[to] != registers[from] => at = jump(at),
                0x15 if registers[to] == u64::from(number) => at = jump(at),
                0x2d if registers[to] > registers[from] => at = jump(at),
                0x16 | 0x56 | 0x1e | 0x5e | 0x5d | 0x15 | 0x2d => {}
                0x85 => {
                    registers[0] = self.call(number, &registers);
                    // A call leaves nothing in its arguments.
                    registers.0[1..=5].fill(None);
                }
                0x95 => return registers[0],
                other => panic!("instruction {other:#x} at {}", at - 1),
            }
        }
        panic!("it does not end");
    }

    fn call(&mut self, call: u32, registers: &Registers) -> u64 {
        let known = [
            Call::MapLookup,
            Call::SkbLoadBytes,
            Call::Bind,
            Call::GetLocalStorage,
            Call::SkFullsock,
            Call::GetNetnsCookie,
        ];
        match known.into_iter().find(|one| *one as u32 == call).unwrap() {
            Call::GetLocalStorage => {
                assert_eq!((registers[1], registers[2]), (MAP, 0));
                RECORD
            }
            Call::SkFullsock => {
                assert_eq!(registers[1], SOCKET);
                SOCKET
            }
            Call::MapLookup => {
                assert_eq!(registers[1], MAP + 1);
                let mut key = [0; 8];
                for (at, byte) in key.iter_mut().enumerate() {
                    *byte = self.load(registers[2] + at as u64, 1) as u8;
                }
                match self.reach.get(&key) {
                    Some(value) => {
                        self.found = [*value];
                        REACH
                    }
                    None => 0,
                }
            }
            Call::GetNetnsCookie => {
                assert_eq!(registers[1], CONTEXT);
                self.namespace
            }
            Call::Bind => {
                assert_eq!(registers[1], CONTEXT);
                let length = registers[3];
                let address = (0..length).map(|at| self.load(registers[2] + at, 1) as u8);
                self.bound = Some(address.collect());
                0
            }
            Call::SkbLoadBytes => {
                assert_eq!(registers[1], CONTEXT);
                let (from, length) = (registers[2] as usize, registers[4] as usize);
                let Some(bytes) = self.packet.get(from..from + length).map(<[u8]>::to_vec) else {
                    return u64::MAX;
                };
                for (at, byte) in bytes.into_iter().enumerate() {
                    self.store(registers[3] + at as u64, 1, byte.into());
                }
                0
            }
        }
    }

    fn memory(&mut self, address: u64, length: usize) -> &mut [u8] {
        let at = (address & u64::from(u32::MAX)) as usize;
        let memory = match address & !u64::from(u32::MAX) {
            CONTEXT => &mut self.context[..],
            RECORD => &mut self.record,
            PACKET => &mut self.packet,
            STACK => &mut self.stack,
            REACH => &mut self.found,
            SOCKET => &mut self.socket,
            _ => panic!("no memory at {address:#x}"),
        };
        &mut memory[at..at + length]
    }

    fn load(&mut self, address: u64, length: usize) -> u64 {
        // Some words of the context stand for pointers.
        let socket = if self.socket.is_empty() { 0 } else { SOCKET };
        match (address.wrapping_sub(CONTEXT) as usize, self.packet.len()) {
            (SOCKET_OF_ADDRESS, 0) => return socket,
            (_, 0) => {}
            (SOCKET_OF_PACKET, _) => return socket,
            (DATA, _) => return PACKET,
            (END, length) => return PACKET + length as u64,
            _ => {}
        }
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(self.memory(address, length));
        u64::from_le_bytes(bytes)
    }

    fn store(&mut self, address: u64, length: usize, value: u64) {
        let bytes = value.to_le_bytes();
        self.memory(address, length).copy_from_slice(&bytes[..length]);
    }
}

/// What was never written cannot be read.
struct Registers([Option<u64>; 11]);

impl Registers {
    /// As an index reads, where the same register is written then.
    fn read(&self, register: usize) -> &u64 {
        &self[register]
    }
}

impl Index<usize> for Registers {
    type Output = u64;
    fn index(&self, register: usize) -> &u64 {
        self.0[register].as_ref().unwrap()
    }
}

impl IndexMut<usize> for Registers {
    fn index_mut(&mut self, register: usize) -> &mut u64 {
        self.0[register].get_or_insert_default()
    }
}

fn size(opcode: u8) -> usize {
    match opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}
