//! ISA-L by its two functions, found at run time: nothing is linked, and nothing is missing where it is not installed.
#![allow(
    unsafe_code,
    reason = "a C library opened by name; its two signatures are those of isa-l/erasure_code.h"
)]

use libloading::{Library, Symbol};
use std::ffi::c_int;

/// Bytes of table per coefficient.
const TABLE_LEN: usize = 32;

type InitTables = unsafe extern "C" fn(k: c_int, rows: c_int, coefficients: *const u8, tables: *mut u8);
type EncodeData = unsafe extern "C" fn(
    len: c_int,
    k: c_int,
    rows: c_int,
    tables: *const u8,
    sources: *const *const u8,
    outputs: *const *mut u8,
);

/// The library.
pub struct Isal(Library);

impl Isal {
    /// Opens it, or says why not.
    pub fn load() -> Result<Self, String> {
        // SAFETY: Debian's library does nothing when it is opened but choose its functions by the processor.
        let library = unsafe { Library::new("libisal.so.2") }.map_err(|why| why.to_string())?;
        Ok(Self(library))
    }
}

/// Coefficients made ready.
pub struct Tables<'a> {
    encode: Symbol<'a, EncodeData>,
    k: usize,
    rows: usize,
    tables: Vec<u8>,
}

impl<'a> Tables<'a> {
    /// For `coefficients` row by row, `k` in each.
    pub fn new(isal: &'a Isal, k: usize, coefficients: &[u8]) -> Self {
        let rows = coefficients.len() / k;
        assert_eq!(coefficients.len(), rows * k, "whole rows");
        let mut tables = vec![0; coefficients.len() * TABLE_LEN];
        // SAFETY: the names and signatures are those of the header; it reads k·rows bytes and writes 32 times as many.
        let encode = unsafe {
            let init: Symbol<'_, InitTables> = isal.0.get(b"ec_init_tables").expect("ISA-L has it");
            init(k as c_int, rows as c_int, coefficients.as_ptr(), tables.as_mut_ptr());
            isal.0.get(b"ec_encode_data").expect("ISA-L has it")
        };
        Self { encode, k, rows, tables }
    }

    /// Makes each output.
    pub fn make(&self, sources: &[&[u8]], outputs: &mut [Vec<u8>]) {
        let len = outputs.first().map_or(0, Vec::len);
        assert!(sources.len() == self.k && outputs.len() == self.rows, "as many as the tables are for");
        assert!(
            sources.iter().all(|s| s.len() == len) && outputs.iter().all(|o| o.len() == len),
            "one length"
        );
        let from: Vec<*const u8> = sources.iter().map(|source| source.as_ptr()).collect();
        let to: Vec<*mut u8> = outputs.iter_mut().map(|output| output.as_mut_ptr()).collect();
        // SAFETY: all pointers are good for `len` bytes, and the tables are for k sources and this many outputs.
        unsafe {
            let (k, rows) = (self.k as c_int, self.rows as c_int);
            (self.encode)(len as c_int, k, rows, self.tables.as_ptr(), from.as_ptr(), to.as_ptr());
        }
    }
}
