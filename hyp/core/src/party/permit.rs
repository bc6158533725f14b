//! Who may ask whom for what: whom a partition may ask at all changes at run time, which services the asked one has is the
//! description's to say.

use shikiri_abi::PartitionSlot;
use shikiri_config::{PartitionSet, Service};

use super::Refusal;

/// Whether a partition may send a request. `asks` is whom it may ask, whatever for. A partition that the description gives
/// services is asked for those alone, each by whom it is open to; any other is asked for every number.
///
/// # Errors
/// `NotPermitted`: the same whether the partition is there, may be asked for something else, or has the service.
#[inline]
pub fn permit<'s>(
    asks: PartitionSet,
    services: impl Iterator<Item = Service<'s>>,
    (asker, asked): (PartitionSlot, PartitionSlot),
    number: u32,
) -> Result<(), Refusal> {
    let (asker, asked) = (usize::from(asker.0), usize::from(asked.0));
    let (mut has_services, mut is_open) = (false, false);
    for service in services.filter(|service| service.of == asked) {
        has_services = true;
        is_open |= service.number == number && service.to.contains(asker);
    }
    if asks.contains(asked) && (is_open || !has_services) {
        Ok(())
    } else {
        Err(Refusal::NotPermitted)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use shikiri_abi::PartitionSlot;
    use shikiri_config::{PartitionSet, Service};

    use super::{Refusal, permit};

    const EVERYBODY: PartitionSet = PartitionSet::ALL;

    fn service(of: usize, number: u32, to: u64) -> Service<'static> {
        Service { name: "", of, number, to: PartitionSet(to) }
    }

    fn may(asks: PartitionSet, services: &[Service<'_>], who: (u8, u8), number: u32) -> bool {
        let who = (PartitionSlot(who.0), PartitionSlot(who.1));
        match permit(asks, services.iter().copied(), who, number) {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::NotPermitted);
                false
            }
        }
    }

    #[test]
    fn one_without_services_is_asked_for_every_number() {
        let of_another = [service(2, 7, 0b10)];
        for number in [0, 7, u32::MAX] {
            assert!(may(EVERYBODY, &of_another, (0, 1), number));
            assert!(!may(PartitionSet::one(2), &of_another, (0, 1), number));
        }
    }

    #[test]
    fn one_with_services_is_asked_for_those_by_whom_they_are_open_to() {
        let services =
            [service(3, 7, 0b01), service(3, 8, 0b11), service(3, 9, 0), service(3, 10, u64::MAX)];
        let open = |asker| {
            let may = |number| may(EVERYBODY, &services, (asker, 3), number);
            (0..12).filter(|number| may(*number)).collect::<Vec<_>>()
        };
        assert_eq!(open(0), [7, 8, 10]);
        assert_eq!(open(1), [8, 10]);
        // One that was made at run time is in no list.
        assert_eq!(open(63), [10]);
        assert_eq!(open(64), [], "there is no such place");
    }

    #[test]
    fn a_service_is_open_to_nobody_who_may_not_ask_its_partition() {
        for to in [0b01, u64::MAX] {
            let services = [service(3, 7, to)];
            assert!(!may(PartitionSet::EMPTY, &services, (0, 3), 7));
            assert!(!may(PartitionSet(!(1 << 3)), &services, (0, 3), 7));
            assert!(may(PartitionSet::one(3), &services, (0, 3), 7));
        }
    }

    proptest! {
        /// The table says the same as the sentence that explains it; what is more in it opens nothing else.
        #[test]
        fn whatever_the_table_it_means_what_the_description_says(
            asks: u64,
            table in vec((0_usize..4, 0_u32..4, prop_oneof![any::<u64>(), Just(u64::MAX), 0_u64..16]), 0..12),
            asker in 0_u8..66,
            asked in 0_u8..5,
            number in 0_u32..5,
        ) {
            let services: Vec<_> =
                table.iter().map(|(of, number, to)| service(*of, *number, *to)).collect();
            let of_asked: Vec<_> =
                table.iter().filter(|(of, ..)| *of == usize::from(asked)).collect();
            let is_open = of_asked.iter().any(|(_, it, to)| {
                *it == number && asker < 64 && to >> asker & 1 == 1
            });
            let expected = asks >> asked & 1 == 1 && (of_asked.is_empty() || is_open);
            prop_assert_eq!(may(PartitionSet(asks), &services, (asker, asked), number), expected);
        }
    }
}
