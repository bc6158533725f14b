//! Each rule that a bundle must keep, but for those of [`talking`](crate::talking): the message names the cause and both claimants.

use crate::sample::{accepted, device, interrupt, owned, refused, shared};
use shikiri_abi::{CoreSet, IntId, Ipa, Pa};
use shikiri_config::{
    DeviceSpec, GicVersion, Image, ImageKind, Memory, PartitionSpec, Place, RestartPolicy,
    SystemSpec,
};

#[test]
fn the_sample_is_accepted() {
    accepted(|_| {});
}

#[test]
fn performance_monitors_need_cores_of_ones_own() {
    refused(
        |s| s.partitions[1].has_pmu = true,
        "partition `b-2_x`: performance monitors of cores that it does not own: 0x1",
    );
}

#[test]
fn vcpu_0_is_not_kept_back() {
    accepted(|s| {
        s.partitions[0].kept_vcpus = u16::try_from(s.partitions[0].vcpus.len() - 1).unwrap()
    });
    refused(|s| s.partitions[1].kept_vcpus = 9, "partition `b-2_x`: vCPU 0 is kept back: 0x9");
}

#[test]
fn names_are_short_and_plain_and_unique() {
    refused(
        |s| s.partitions[0].name = "A".into(),
        "partition `A`: bad name of partition number: 0x0",
    );
    refused(|s| s.partitions[1].name.clear(), "partition ``: bad name of partition number: 0x1");
    refused(
        |s| s.partitions[1].name = "a".into(),
        "the name is claimed by partition `a` and by partition `a`",
    );
    accepted(|s| s.partitions[0].name = "x".repeat(31));
    refused(
        |s| s.partitions[0].name = "x".repeat(32),
        "partition ``: bad name of partition number: 0x0",
    );
}

#[test]
fn an_owned_core_is_nobody_elses() {
    refused(
        |s| s.partitions[1].vcpus = vec![owned(1)],
        "core 1 is claimed by vCPU 1 of `a` and by vCPU 0 of `b-2_x`",
    );
    refused(
        |s| s.partitions[0].vcpus[1] = owned(0),
        "core 0 is claimed by vCPU 0 of `a` and by vCPU 1 of `a`",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(0b11, 0, 100, 1000)],
        "core 0 is claimed by vCPU 0 of `a` and by vCPU 0 of `b-2_x`",
    );
    refused(
        |s| {
            s.partitions[0].vcpus = vec![shared(0b1, 0, 100, 1000)];
            s.partitions[1].vcpus = vec![owned(0)];
        },
        "core 0 is claimed by vCPU 0 of `a` and by vCPU 0 of `b-2_x`",
    );
}

#[test]
fn core_time_is_not_given_twice() {
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 600, 1000), shared(4, 2, 401, 1000)],
        "more than 100 % of core 2 is claimed by vCPU 0 of `b-2_x` and by vCPU 1 of `b-2_x`",
    );
    accepted(|s| s.partitions[1].vcpus = vec![shared(4, 2, 600, 1000), shared(4, 2, 400, 1000)]);
    // Rounding is upwards: three thirds of a period that 3 does not divide are too much.
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 334, 1000); 3],
        "more than 100 % of core 2 is claimed by vCPU 0 of `b-2_x` and by vCPU 2 of `b-2_x`",
    );
}

#[test]
fn vcpus_have_cores_of_the_machine_and_sound_budgets() {
    refused(
        |s| s.partitions[1].vcpus[0].cores = CoreSet::EMPTY,
        "vCPU 0 of `b-2_x`: no core to run on: 0x0",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(16, 4, 500, 1000)],
        "vCPU 0 of `b-2_x`: the machine has no core: 0x4",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 3, 500, 1000)],
        "vCPU 0 of `b-2_x`: home core is not in the core set: 0x3",
    );
    refused(
        |s| s.partitions[0].vcpus[0].cores = CoreSet(0b1001),
        "vCPU 0 of `a`: owns a core, but may run on several: 0x2",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 50, 99)],
        "vCPU 0 of `b-2_x`: period out of range: 0x63",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 50, 1_000_001)],
        "vCPU 0 of `b-2_x`: period out of range: 0xf4241",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 1001, 1000)],
        "vCPU 0 of `b-2_x`: budget out of range: 0x3e9",
    );
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 49, 1000)],
        "vCPU 0 of `b-2_x`: budget out of range: 0x31",
    );
}

#[test]
fn a_partition_has_as_many_vcpus_as_its_gic_serves() {
    refused(|s| s.partitions[0].vcpus.clear(), "partition `a`: number of vCPUs out of range: 0x0");
    let many = |count| {
        move |s: &mut SystemSpec| {
            let homes = [2, 3].into_iter().cycle().take(count);
            s.partitions[1].vcpus = homes.map(|home| shared(0b1100, home, 50, 100_000)).collect();
        }
    };
    accepted(many(64));
    refused(many(65), "partition `b-2_x`: number of vCPUs out of range: 0x41");
    let gic2 = |count| {
        move |s: &mut SystemSpec| {
            many(count)(s);
            s.gic = GicVersion::V2;
            for partition in &mut s.partitions {
                partition.platform.cpu_interface = Ipa(0x0801_0000);
            }
        }
    };
    accepted(gic2(8));
    refused(gic2(9), "partition `b-2_x`: number of vCPUs out of range: 0x9");
}

#[test]
fn the_machine_is_within_bounds() {
    refused(|s| s.cores = 0, "number of cores out of range: 0x0");
    refused(|s| s.cores = 129, "number of cores out of range: 0x81");
    refused(|s| s.partitions.clear(), "number of partitions out of range: 0x0");
    refused(|s| s.board.clear(), "the board's name is not printable: 0x0");
    refused(|s| s.focus = Some(1), "the focused partition has no console: 0x1");
    refused(|s| s.focus = Some(2), "the focused partition has no console: 0x2");
    accepted(|s| s.focus = None);
}

#[test]
fn memory_is_whole_pages_in_the_address_spaces() {
    refused(
        |s| s.partitions[0].memory[0].ipa = Ipa(0x800),
        "memory of `a`: guest address is not a multiple of 4 KiB: 0x800",
    );
    refused(
        |s| s.partitions[0].memory[0].bytes = 0x801,
        "memory of `a`: size is not a multiple of 4 KiB: 0x801",
    );
    refused(
        |s| s.partitions[0].memory[0].bytes = 0,
        "memory of `a`: size is zero or passes the guest's address space: 0x0",
    );
    refused(
        |s| s.partitions[0].memory[0].ipa = Ipa((1 << 40) - 0x1000),
        "memory of `a`: size is zero or passes the guest's address space: 0x200000",
    );
    refused(
        |s| s.partitions[1].memory[0].place = Place::At(Pa(0x800)),
        "memory of `b-2_x`: physical address is not a multiple of 4 KiB: 0x800",
    );
    refused(
        |s| s.partitions[1].memory[0].place = Place::At(Pa(1 << 48)),
        "memory of `b-2_x`: beyond the physical address space: 0x1000000000000",
    );
}

#[test]
fn guest_addresses_have_one_claimant() {
    refused(
        |s| s.partitions[1].memory[1].ipa = Ipa(0x500f_f000),
        "guest address 0x500ff000 is claimed by memory of `b-2_x` and by memory of `b-2_x`",
    );
    refused(
        |s| s.partitions[0].platform.uart = Ipa(0x4000_1000),
        "guest address 0x40001000 is claimed by memory of `a` and by virtual UART of `a`",
    );
    // Two vCPUs have 256 KiB of redistributors from 0x80a0000.
    refused(
        |s| s.partitions[0].devices[0].ipa = Ipa(0x080d_f000),
        "guest address 0x80df000 is claimed by virtual CPU interface of `a` and by device `/pl031@9010000` of `a`",
    );
    accepted(|s| s.partitions[0].devices[0].ipa = Ipa(0x080e_0000));
    refused(
        |s| s.partitions[0].platform.cpu_interface = Ipa(0x0800_0000),
        "guest address 0x8000000 is claimed by virtual distributor of `a` and by virtual CPU interface of `a`",
    );
}

#[test]
fn the_virtual_devices_are_aligned() {
    refused(
        |s| s.partitions[0].platform.distributor = Ipa(0x0800_1000),
        "virtual distributor of `a`: address is not aligned: 0x8001000",
    );
    refused(
        |s| s.partitions[0].platform.uart = Ipa(0x0900_0800),
        "virtual UART of `a`: address is not aligned: 0x9000800",
    );
    refused(
        |s| s.partitions[0].platform.cpu_interface = Ipa((1 << 40) - 0x1_0000),
        "virtual CPU interface of `a`: beyond the guest's address space: 0xffffff0000",
    );
    // Without a console there is no UART, wherever it would be.
    accepted(|s| s.partitions[1].platform.uart = Ipa(3));
}

#[test]
fn physical_addresses_have_one_claimant() {
    refused(
        |s| s.partitions[0].memory[0].place = Place::At(Pa(0x4ff0_0000)),
        "physical address 0x50000000 is claimed by memory of `a` and by memory of `b-2_x`",
    );
    refused(
        |s| s.partitions[0].devices[0].pa = Pa(0x6000_0000),
        "physical address 0x60000000 is claimed by memory of `b-2_x` and by device `/pl031@9010000` of `a`",
    );
    refused(
        |s| {
            let mut twin = device("/other", 0x0901_0000, 0x1000);
            twin.ipa = Ipa(0x0902_0000);
            s.partitions[0].devices.push(twin);
        },
        "physical address 0x9010000 is claimed by device `/pl031@9010000` of `a` and by device `/other` of `a`",
    );
}

#[test]
fn the_hypervisor_has_places_for_so_many_regions() {
    // The sample has one moderated region and two with a physical address.
    let moderated = |s: &mut SystemSpec, count: u64| {
        s.partitions[0].devices =
            (1..count).map(|n| device("/d", 0x1_0000_0200 + (n << 12), 0x100)).collect();
    };
    accepted(|s| moderated(s, 512));
    refused(|s| moderated(s, 513), "too many moderated regions: 0x201");
    let placed = |s: &mut SystemSpec, count: u64| {
        s.partitions[0].memory.extend((2..count).map(|n| Memory {
            ipa: Ipa(0x5000_0000 + (n << 12)),
            bytes: 4096,
            place: Place::At(Pa(0x7000_0000 + (n << 12))),
        }));
    };
    accepted(|s| placed(s, 32));
    refused(|s| placed(s, 33), "too many regions by address: 0x21");
}

#[test]
fn a_device_is_kept_back_as_a_whole_and_given_in_one_step() {
    let kept = |path: &str, at, bytes| DeviceSpec { is_kept: true, ..device(path, at, bytes) };
    let (first, second) = (0x1_0000_0000, 0x1_0100_0000);
    accepted(|s| {
        s.partitions[0].devices = vec![kept("/d", first, 0x30_0000), kept("/d", second, 0x10_0000)];
    });
    refused(
        |s| {
            let more = kept("/d", second, 0x10_1000);
            s.partitions[0].devices = vec![kept("/d", first, 0x30_0000), more];
        },
        "device `/d` of `a`: is kept back, and has too many registers for one step: 0x401000",
    );
    refused(
        |s| {
            let own = device("/d", second, 0x1000);
            s.partitions[0].devices = vec![kept("/d", first, 0x1000), own];
        },
        "device `/d` of `a`: is kept back in parts: 0x101000000",
    );
    refused(
        |s| {
            let of = |n: u64, path: &str| kept(path, first + (n << 12), 0x1000);
            s.partitions[0].devices = vec![of(0, "/d"), of(1, "/e"), of(2, "/d")];
        },
        "device `/d` of `a`: is kept back twice: 0x2",
    );
    let many = |s: &mut SystemSpec, count: u64| {
        let one = |n: u64| kept(&format!("/d{n}"), first + (n << 12), 0x1000);
        s.partitions[0].devices = (0..count).map(one).collect();
    };
    accepted(|s| many(s, 64));
    refused(|s| many(s, 65), "device `/d64` of `a`: one too many is kept back: 0x40");
}

#[test]
fn a_core_is_home_for_so_many() {
    accepted(|s| s.partitions[1].vcpus = vec![shared(4, 2, 100, 10_000); 32]);
    refused(
        |s| s.partitions[1].vcpus = vec![shared(4, 2, 100, 10_000); 33],
        "vCPU 32 of `b-2_x`: no seat is left at home on core: 0x2",
    );
}

#[test]
fn moderated_devices_share_a_page_and_nothing_else() {
    // Two slots of one page, in two partitions.
    accepted(|s| s.partitions[0].devices.push(device("/slot", 0x0a00_3c00, 0x200)));
    refused(
        |s| s.partitions[0].devices.push(device("/slot", 0x0a00_3f00, 0x80)),
        "physical address 0xa003f00 is claimed by device `/slot` of `a` and by device `/virtio_mmio@a003e00` of `b-2_x`",
    );
    refused(
        |s| s.partitions[0].devices.push(device("/whole", 0x0a00_3000, 0x1000)),
        "physical address 0xa003000 is claimed by device `/whole` of `a` and by device `/virtio_mmio@a003e00` of `b-2_x`",
    );
    refused(
        |s| s.partitions[1].devices[0].bytes = 0x201,
        "device `/virtio_mmio@a003e00` of `b-2_x`: a moderated region crosses its page: 0x201",
    );
    refused(
        |s| s.partitions[1].devices[0].ipa = Ipa(0x0a00_3c00),
        "device `/virtio_mmio@a003e00` of `b-2_x`: guest and physical address differ within the page: 0xa003c00",
    );
    refused(
        |s| s.partitions[1].devices[0].moderated = false,
        "device `/virtio_mmio@a003e00` of `b-2_x`: not a multiple of 4 KiB, and not moderated: 0xa003e00",
    );
}

#[test]
fn images_lie_in_memory_and_not_on_each_other() {
    refused(
        |s| s.partitions[0].images[0].load = Ipa(0x401f_ffc0),
        "an image of `a`: does not fit into its memory: 0x401fffc0",
    );
    refused(
        |s| s.partitions[0].images[0].load = Ipa(u64::MAX),
        "an image of `a`: does not fit into its memory: 0xffffffffffffffff",
    );
    refused(
        |s| s.partitions[0].images[1].load = Ipa(0x4008_0040),
        "guest address 0x40080040 is claimed by an image of `a` and by an image of `a`",
    );
    let no_blob = Image { blob: 2, load: Ipa(0x4000_0000), kind: ImageKind::Initrd };
    refused(|s| s.partitions[0].images.push(no_blob), "bundle inconsistent: image without a blob");
    refused(|s| s.blobs[0].bytes.clear(), "bundle inconsistent: empty or unknown blob");
}

#[test]
fn the_entry_is_an_instruction_in_memory() {
    refused(
        |s| s.partitions[0].entry = Ipa(0x4008_0002),
        "partition `a`: entry is not a word of its memory: 0x40080002",
    );
    refused(
        |s| s.partitions[0].entry = Ipa(0x4020_0000),
        "partition `a`: entry is not a word of its memory: 0x40200000",
    );
    refused(
        |s| s.partitions[0].memory.clear(),
        "an image of `a`: does not fit into its memory: 0x40080000",
    );
}

#[test]
fn interrupts_have_one_claimant() {
    refused(
        |s| s.partitions[1].interrupts[0].physical = 34,
        "interrupt 34 (SPI 2) is claimed by device `/pl031@9010000` of `a` and by device `/virtio_mmio@a003e00` of `b-2_x`",
    );
    refused(
        |s| s.partitions[0].interrupts[0].virtual_id = 33,
        "guest interrupt 33 (SPI 1) is claimed by virtual UART of `a` and by device `/pl031@9010000` of `a`",
    );
    refused(
        |s| {
            let mut twin = interrupt("/twin", 5);
            twin.virtual_id = 34;
            s.partitions[0].interrupts.push(twin);
        },
        "guest interrupt 34 (SPI 2) is claimed by device `/pl031@9010000` of `a` and by device `/twin` of `a`",
    );
    refused(
        |s| s.partitions[0].interrupts[0].physical = 31,
        "device `/pl031@9010000` of `a`: physical interrupt is no SPI: 0x1f",
    );
    refused(
        |s| s.partitions[0].interrupts[0].physical = 1020,
        "device `/pl031@9010000` of `a`: physical interrupt is no SPI: 0x3fc",
    );
    refused(
        |s| s.partitions[0].interrupts[0].virtual_id = 288,
        "device `/pl031@9010000` of `a`: guest interrupt is no SPI of the virtual GIC: 0x120",
    );
}

#[test]
fn the_virtual_gic_has_whole_registers_of_spis() {
    refused(
        |s| s.partitions[0].platform.spis = 100,
        "partition `a`: number of SPIs is not a multiple of 32: 0x64",
    );
    refused(
        |s| s.partitions[0].platform.spis = 992,
        "partition `a`: number of SPIs is not a multiple of 32: 0x3e0",
    );
    accepted(|s| s.partitions[0].platform.spis = 988);
    refused(
        |s| s.partitions[0].platform.uart_intid = IntId(31),
        "partition `a`: the UART's interrupt is no SPI of the virtual GIC: 0x1f",
    );
}

#[test]
fn a_trusted_bus_master_has_identity_memory() {
    refused(
        |s| s.partitions[1].memory[1].ipa = Ipa(0x6000_1000),
        "memory of `b-2_x`: a device with DMA needs IPA = PA, which this region has not: 0x60001000",
    );
    refused(
        |s| s.partitions[1].memory[1].place = Place::Any,
        "memory of `b-2_x`: a device with DMA needs IPA = PA, which this region has not: 0x60000000",
    );
}

#[test]
fn limits_are_not_below_what_is_given() {
    let limit = |resource: usize, limit| {
        move |s: &mut SystemSpec| s.partitions[0].limits[resource] = Some(limit)
    };
    accepted(limit(2, 512));
    refused(limit(2, 511), "partition `a`: limit of memory is 511, but 512 are given");
    // With the page of its clock; a moderated region is not mapped.
    accepted(limit(1, 513));
    refused(limit(1, 512), "partition `a`: limit of IPA space is 512, but 513 are given");
    accepted(|s| s.partitions[1].limits[1] = Some(257));
    refused(
        limit(0, 1_999_999),
        "partition `a`: limit of core time is 1999999, but 2000000 are given",
    );
    refused(limit(5, 0), "partition `a`: limit of devices is 0, but 1 are given");
}

#[test]
fn restarts_are_bounded_within_a_time() {
    refused(
        |s| s.partitions[1].restart.window_ms = 0,
        "partition `b-2_x`: restarts are bounded within no time: 0x0",
    );
    accepted(|s| {
        s.partitions[1].restart.window_ms = 0;
        s.partitions[1].restart.max = 0;
    });
    accepted(|s| {
        s.partitions[1].restart.window_ms = 0;
        s.partitions[1].restart.policy = RestartPolicy::Never;
    });
}

#[test]
fn device_paths_are_paths() {
    refused(
        |s| s.partitions[0].devices[0].path = "pl031".into(),
        "bundle inconsistent: device without a path, or an unknown flag",
    );
    refused(
        |s| s.partitions[0].interrupts[0].path = "/a b".into(),
        "bundle inconsistent: interrupt without a path, or an unknown flag",
    );
}

#[test]
fn sixty_four_partitions_are_possible() {
    let small = |index: u8| {
        let mut partition = PartitionSpec::new(&format!("p{index}"), GicVersion::V3);
        partition.vcpus = vec![owned(index)];
        partition.memory =
            vec![Memory { ipa: Ipa(0x4000_0000), bytes: 1 << 20, place: Place::Any }];
        partition.entry = Ipa(0x4000_0000);
        partition
    };
    let full = |count: u8| {
        move |s: &mut SystemSpec| {
            s.focus = None;
            s.events.clear();
            s.names.clear();
            s.services.clear();
            s.shared.clear();
            s.cores = 128;
            s.partitions = (0..count).map(small).collect();
        }
    };
    accepted(full(64));
    refused(full(65), "number of partitions out of range: 0x41");
}
