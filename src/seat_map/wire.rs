//! The encoding of the states of all seats, for the maps that processes share.
//!
//! One byte for the format, the number of seats (4 bytes, little endian), and two bits per seat as in the API. Then,
//! for each held seat in ascending order, its number (4 bytes) and the end of its hold (8 bytes), both little endian.

use crate::domain::clock::EpochMs;

/// The format that is written. No other format is read.
const FORMAT: u8 = 1;

/// The seats by seat number: the state number of each seat, and the end of its hold.
pub(super) type WireSeats = Vec<(u8, Option<EpochMs>)>;

/// Encodes seats.
pub(super) fn encode(seats: &[(u8, Option<EpochMs>)]) -> Vec<u8> {
    let count = u32::try_from(seats.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![FORMAT];
    bytes.extend(count.to_le_bytes());
    let codes: Vec<u8> = seats.iter().map(|(code, _)| *code).collect();
    bytes.extend(pack(&codes));
    for (number, until) in (0_u32..).zip(seats).filter_map(|(n, (_, until))| Some((n, (*until)?))) {
        bytes.extend(number.to_le_bytes());
        bytes.extend(until.0.to_le_bytes());
    }
    bytes
}

/// Packs codes: two bits per code, four codes per byte.
pub(super) fn pack(codes: &[u8]) -> Vec<u8> {
    let byte = |four: &[u8]| four.iter().rev().fold(0, |byte, code| byte << 2 | (code & 3));
    codes.chunks(4).map(byte).collect()
}

/// Decodes seats; `None` if [`encode`] did not write these bytes.
pub(super) fn decode(bytes: &[u8]) -> Option<WireSeats> {
    let (format, rest) = bytes.split_first()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (packed, mut holds) = rest.split_at_checked(count.div_ceil(4))?;
    if *format != FORMAT {
        return None;
    }
    let code = |seat: usize| Some((*packed.get(seat / 4)? >> (2 * (seat % 4)) & 3, None));
    let mut seats: WireSeats = (0..count).map(code).collect::<Option<_>>()?;
    while !holds.is_empty() {
        let (number, rest) = holds.split_first_chunk::<4>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let seat = seats.get_mut(usize::try_from(u32::from_le_bytes(*number)).ok()?)?;
        seat.1 = Some(EpochMs(i64::from_le_bytes(*until)));
        holds = rest;
    }
    Some(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_survive_the_wire() {
        for seats in [
            vec![],
            vec![(2, None)],
            vec![(0, None), (1, Some(EpochMs(-7))), (2, None), (3, None), (1, Some(EpochMs(90)))],
        ] {
            assert_eq!(decode(&encode(&seats)), Some(seats));
        }
    }

    #[test]
    fn bytes_that_are_cut_off_or_in_another_format_are_no_map() {
        let bytes = encode(&[(1, Some(EpochMs(5))), (0, None)]);
        for end in 0..bytes.len() {
            let whole_without_holds = end == 6;
            assert_eq!(decode(&bytes[..end]).is_some(), whole_without_holds, "{end}");
        }
        let mut other = bytes.clone();
        other[0] = 2;
        assert_eq!(decode(&other), None);
        let mut beyond = bytes;
        beyond[6] = 2;
        assert_eq!(decode(&beyond), None, "the held seat does not exist");
    }
}
