//! Ceilings in bytes as people type them: see `coffre_core::amount`.

use coffre_core::amount::ByteCount;

/// For `value_parser`: a quota or a daily cap. 0 is none: a client that may keep nothing is removed instead.
pub(super) fn quota(text: &str) -> Result<u64, String> {
    match text.parse::<ByteCount>()?.0 {
        0 => Err("a client that may keep nothing cannot push: leave it out for the box's own ceiling, or remove the client".into()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_ceiling() {
        assert_eq!((quota("5Go"), quota("1")), (Ok(5_000_000_000), Ok(1)));
        assert!(quota("0").is_err_and(|why| why.contains("leave it out")) && quota("0G").is_err());
        assert!(quota("much").is_err());
    }
}
