//! SPIs of event ports: the short way without the lock, binding, polling. C1.

mod vgic_support;

use shikiri_abi::{IntId, VcpuIndex};
use shikiri_arch::hw::ListRegisters as _;
use shikiri_model::vgic_hw::SPURIOUS;
use shikiri_vgic::{Frame, Here, Model, Polled, Raised, VcpuSet, Vgic, raise_without_lock};
use vgic_support::Machine;

const GICD: Frame = Frame::Distributor;
const SPI: u16 = 40;
const MODELS: [Model; 2] = [Model::V2, Model::V3];

/// The virtual GIC and where it is opened.
macro_rules! on {
    ($m:expr, $core:expr, |$vgic:ident, $here:ident| $body:expr) => {{
        let mut $vgic = Vgic::open(&mut $m.dist, &mut $m.cpus, &$m.quicks, &$m.spis);
        let $here = Here { hw: &$m.cores[$core], vcpu: $m.loaded[$core].map(VcpuIndex) };
        $body
    }};
}

/// Two vCPUs on cores of their own; the SPI is bound to vCPU 1 and enabled.
fn bound(model: Model) -> Machine {
    let mut m = Machine::running(model, 2, 4);
    m.is_delayed = true;
    let _kick = on!(m, 0, |vgic, here| vgic.bind(here, IntId(SPI), VcpuIndex(1)));
    m.write(0, GICD, 0x104, 2, 1 << (SPI - 32));
    m
}

/// An event from a core that has no vCPU of the partition.
fn event(m: &Machine) -> Option<Raised> {
    raise_without_lock(&m.quicks, &m.spis, Here { hw: &m.cores[0], vcpu: None }, IntId(SPI))
}

/// The first event goes the general way and is handled: the SPI is armed from then on.
fn armed(model: Model) -> Machine {
    let mut m = bound(model);
    assert_eq!(event(&m), None, "nothing is armed yet");
    m.raise(0, SPI, 0);
    m.drain();
    handle(&mut m, 1);
    m
}

/// Handles what is pending on a core, which has to be the SPI.
fn handle(m: &mut Machine, core: usize) {
    let taken = m.cores[core].acknowledge();
    assert_eq!(taken, u32::from(SPI));
    m.cores[core].end(taken);
    m.drain();
}

/// Serves a kick, with the exception entry of its SGI.
fn sync_shortly(m: &Machine) -> bool {
    let (quick, hw) = (&m.quicks[1], &m.cores[1]);
    hw.synchronize();
    let is_served = if m.is_v2 { quick.sync_v2(hw) } else { quick.sync_v3(hw) };
    is_served || quick.sync_spis(hw, VcpuIndex(1), &m.spis)
}

const KICKED: Raised = Raised { was_pending: false, kick: VcpuSet::one(VcpuIndex(1)) };
const PENDING: Raised = Raised { was_pending: true, kick: VcpuSet::EMPTY };

#[test]
fn an_event_to_an_armed_spi_takes_no_lock_at_either_end() {
    for model in MODELS {
        let mut m = armed(model);
        for _ in 0..3 {
            assert_eq!(event(&m), Some(KICKED));
            assert_eq!(event(&m), Some(PENDING), "until it is in the list register");
            assert!(sync_shortly(&m));
            handle(&mut m, 1);
            assert_eq!(m.acknowledge(1), SPURIOUS);
        }
    }
}

#[test]
fn an_event_to_an_spi_of_the_vcpu_that_is_loaded_here_is_put_back_at_once() {
    for model in MODELS {
        let mut m = armed(model);
        let here = Here { hw: &m.cores[1], vcpu: Some(VcpuIndex(1)) };
        let raised = raise_without_lock(&m.quicks, &m.spis, here, IntId(SPI));
        assert_eq!(raised, Some(Raised { was_pending: false, kick: VcpuSet::EMPTY }));
        // The next call, with an exception entry of its own.
        m.cores[1].synchronize();
        let again = raise_without_lock(&m.quicks, &m.spis, here, IntId(SPI));
        assert_eq!(again, None, "its list register is in use");
        handle(&mut m, 1);
    }
}

/// Interrupts are masked at the receiver (PSTATE.I): its event is in the list register and is not acknowledged. To each sender, on the
/// receiver's own core or another, by either way, it is not pending any more; an event behind it is pending until it is loaded.
#[test]
fn an_event_that_is_loaded_and_not_acknowledged_is_pending_to_no_sender_c1() {
    for model in MODELS {
        for is_armed in [false, true] {
            let start = || {
                let mut m = if is_armed { armed(model) } else { bound(model) };
                m.takes_short_ways = is_armed;
                assert!(!m.raise(0, SPI, 0), "nothing has come");
                m.drain();
                m
            };
            for core in [0, 1] {
                let mut m = start();
                assert!(!m.raise(core, SPI, 0), "core {core}: it is loaded");
                // On another core it waits there, and here it is one with what was loaded.
                assert_eq!(m.raise(core, SPI, 0), core == 0, "core {core}");
                m.drain();
                handle(&mut m, 1);
                assert_eq!(m.acknowledge(1), SPURIOUS);
            }
            // What another core has left is pending to the receiver's own as well, until it is loaded.
            let mut m = start();
            m.takes_short_ways = false;
            assert!(!m.raise(0, SPI, 0));
            assert_eq!((m.raise(1, SPI, 0), m.raise(1, SPI, 0)), (true, false));
            m.drain();
            handle(&mut m, 1);
            assert_eq!(m.acknowledge(1), SPURIOUS);
        }
    }
}

#[test]
fn an_event_that_meets_a_full_list_register_is_one_interrupt_or_two_and_never_none() {
    for model in MODELS {
        let mut m = armed(model);
        assert_eq!(event(&m), Some(KICKED));
        assert!(sync_shortly(&m));
        // In the list register, and not acknowledged.
        assert_eq!(event(&m), Some(KICKED));
        assert!(!sync_shortly(&m), "it is in use");
        m.kicked.insert(1);
        m.drain();
        handle(&mut m, 1);
        assert_eq!(m.acknowledge(1), SPURIOUS);
        // Acknowledged, and not ended.
        assert_eq!(event(&m), Some(KICKED));
        assert!(sync_shortly(&m));
        let taken = m.cores[1].acknowledge();
        assert_eq!(event(&m), Some(KICKED));
        assert!(!sync_shortly(&m));
        m.kicked.insert(1);
        m.drain();
        m.cores[1].end(taken);
        handle(&mut m, 1);
        assert_eq!(m.acknowledge(1), SPURIOUS);
    }
}

/// Whoever takes the list register away takes the event into memory: the mail that is left then is old.
#[test]
fn an_event_on_its_way_survives_whatever_takes_the_list_register_away() {
    type Change = fn(&mut Machine);
    let changes: [(&str, Change); 5] = [
        ("unload", |m| {
            m.unload(1);
            m.load(1, 1);
        }),
        ("route", |m| {
            if m.is_v2 {
                m.write(0, GICD, 0x800 + u32::from(SPI), 0, 2);
            } else {
                m.write(0, GICD, 0x6000 + u32::from(SPI) * 8, 3, 1);
            }
        }),
        ("disable and enable", |m| {
            m.write(0, GICD, 0x184, 2, 1 << (SPI - 32));
            m.write(0, GICD, 0x104, 2, 1 << (SPI - 32));
        }),
        ("priority", |m| m.write(0, GICD, 0x400 + u32::from(SPI), 0, 0x40)),
        ("groups", |m| {
            m.write(0, GICD, 0, 2, 0);
            m.write(0, GICD, 0, 2, 3);
        }),
    ];
    for model in MODELS {
        for (what, change) in changes {
            let mut m = armed(model);
            assert_eq!(event(&m), Some(KICKED));
            change(&mut m);
            m.kicked.insert(1);
            m.drain();
            assert_eq!(m.cores[1].acknowledge(), u32::from(SPI), "{what}");
            m.cores[1].end(u32::from(SPI));
            m.drain();
            assert_eq!(m.acknowledge(1), SPURIOUS, "{what}: once");
            assert!(m.quicks.iter().all(|quick| !quick.has_mail()), "{what}");
        }
    }
}

#[test]
fn an_event_goes_where_the_guest_has_routed_it_since() {
    for model in MODELS {
        let mut m = armed(model);
        assert_eq!(event(&m), Some(KICKED));
        if m.is_v2 {
            m.write(0, GICD, 0x800 + u32::from(SPI), 0, 1);
        } else {
            m.write(0, GICD, 0x6000 + u32::from(SPI) * 8, 3, 0);
        }
        m.kicked.insert(1);
        m.drain();
        handle(&mut m, 0);
        assert_eq!((m.acknowledge(0), m.acknowledge(1)), (SPURIOUS, SPURIOUS));
    }
}

#[test]
fn a_bound_spi_stays_edge_triggered_and_keeps_the_guests_route() {
    for model in MODELS {
        let mut m = bound(model);
        let shift = u64::from(SPI % 16 * 2);
        m.write(0, GICD, 0xc08, 2, 0);
        assert_eq!(m.read(0, GICD, 0xc08, 2), 2 << shift, "only this one is fixed");
        // Bound again, as a group's next port is: the route that the guest wrote meanwhile stays.
        if m.is_v2 {
            m.write(0, GICD, 0x800 + u32::from(SPI), 0, 1);
        } else {
            m.write(0, GICD, 0x6000 + u32::from(SPI) * 8, 3, 0);
        }
        let _kick = on!(m, 0, |vgic, here| vgic.bind(here, IntId(SPI), VcpuIndex(1)));
        m.raise(1, SPI, 0);
        m.drain();
        handle(&mut m, 0);
        // Unbound, it is the guest's own.
        m.raise(1, SPI, 0);
        let _kick = on!(m, 0, |vgic, here| vgic.unbind(here, IntId(SPI)));
        m.drain();
        assert_eq!(m.acknowledge(0), SPURIOUS, "its pending state went");
        m.write(0, GICD, 0xc08, 2, 0);
        assert_eq!(m.read(0, GICD, 0xc08, 2), 0);
    }
}

fn poll(m: &mut Machine, core: usize) -> Option<bool> {
    let Polled { was_pending, kick } =
        on!(m, core, |vgic, here| vgic.take_pending(here, IntId(SPI)));
    m.kicked.extend(kick.map(|vcpu| vcpu.0));
    was_pending
}

#[test]
fn a_poll_tells_and_clears_what_is_pending_wherever_it_is() {
    for model in MODELS {
        let mut m = armed(model);
        assert_eq!(poll(&mut m, 1), Some(false));
        // Posted and not in the list register; in it; disabled and in memory.
        assert_eq!(event(&m), None, "the poll has folded it");
        m.raise(0, SPI, 0);
        assert_eq!((poll(&mut m, 1), poll(&mut m, 1)), (Some(true), Some(false)));
        m.raise(0, SPI, 0);
        m.drain();
        assert_eq!((poll(&mut m, 1), poll(&mut m, 1)), (Some(true), Some(false)));
        m.write(0, GICD, 0x184, 2, 1 << (SPI - 32));
        m.raise(0, SPI, 0);
        m.raise(0, SPI, 0);
        assert_eq!((poll(&mut m, 1), poll(&mut m, 1)), (Some(true), Some(false)));
        m.write(0, GICD, 0x104, 2, 1 << (SPI - 32));
        m.drain();
        assert_eq!(m.acknowledge(1), SPURIOUS);
    }
}

#[test]
fn a_poll_from_another_vcpu_waits_for_the_one_that_has_the_list_register() {
    for model in MODELS {
        for is_handled in [false, true] {
            let mut m = armed(model);
            assert_eq!(event(&m), Some(KICKED));
            assert!(sync_shortly(&m));
            assert_eq!(poll(&mut m, 0), None, "asked to fold");
            if is_handled {
                let taken = m.cores[1].acknowledge();
                m.cores[1].end(taken);
            }
            m.drain();
            assert_eq!(poll(&mut m, 0), Some(!is_handled));
            m.drain();
            assert_eq!(m.acknowledge(1), SPURIOUS);
        }
    }
}
