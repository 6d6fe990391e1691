//! The states of all seats as bytes, for the maps that processes share.
//!
//! A byte of format, the number of seats (4 bytes, little endian), two bits a seat as on the API's wire, and
//! for each held seat in ascending order its number (4 bytes) and the end of its hold (8 bytes).

use crate::domain::clock::EpochMs;

/// The format that is written, and the only one that is read.
const FORMAT: u8 = 1;

/// Seats as the store gives them: state numbers by seat number, and the ends of holds.
pub(super) type WireSeats = Vec<(u8, Option<EpochMs>)>;

/// Writes seats.
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

/// Two bits a code, four codes a byte.
pub(super) fn pack(codes: &[u8]) -> Vec<u8> {
    let byte = |four: &[u8]| four.iter().rev().fold(0, |byte, code| byte << 2 | (code & 3));
    codes.chunks(4).map(byte).collect()
}

/// Reads seats; `None` if [`encode`] did not write these bytes.
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
        assert_eq!(decode(&beyond), None, "a hold on a seat that does not exist");
    }
}
