//! Synchronous exits: calls, device models, trapped registers, faults.

use shikiri_abi::{Call, DecodeError, Ipa, POLICY_FIRST, Status, VcpuIndex, smccc};
use shikiri_arch::Exit;
use shikiri_arch::exit::{self, Abort, AbortKind, MmioAccess, WaitKind};
use shikiri_arch::hw::Clock;
use shikiri_arch::trap_config::is_hidden_feature;
use shikiri_config::GicVersion;
use shikiri_core::lifecycle::EndCause;
use shikiri_core::psci::{self, PsciAction};
use shikiri_core::vuart::{self, Drain};
use shikiri_vgic::{Frame, Here, Line, MmioOutcome, VcpuSet};

use super::context::Context;
use super::live::Live;
use super::{
    books, indexed, inject, message, object, policy, request, run, share, sysreg, talk, worker,
};
use crate::hw::clock::Counter;
use crate::hw::device;
use crate::hw::gic::MappedRegisters;
use crate::hw::mem::Ram;
use crate::percore::{CoreLocal, Leave, Loaded};
use crate::report::{self, Unserved};
use crate::{console, regs};

/// What the vectors do next: the numbers that they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Next {
    /// Back to the guest.
    Resume = 0,
    /// Ask the scheduler.
    Leave = 1,
    /// Back to the guest, one of whose x19 to x29 was changed.
    Reload = 2,
}

impl Next {
    /// Back to the guest after its register `rt` was written.
    #[inline]
    pub(crate) const fn after_writing(rt: u8) -> Self {
        if rt < 19 { Self::Resume } else { Self::Reload }
    }
}

/// Answers the calls whose answer is a constant; false if it is another one. These costs are promises.
#[inline(always)]
pub(crate) fn answer_quickly(context: &mut Context) -> bool {
    let [x0, x1, x2, x3, x4, x5, x6, ..] = &mut context.x;
    let [a, b, c, d, ..] = x0.to_le_bytes();
    let function = u32::from_le_bytes([a, b, c, d]);
    if let Some(answer) = psci::quick(function) {
        *x0 = answer;
        return true;
    }
    let is_null = function == smccc::VENDOR_HYP_FAST64 && *x1 | *x2 | *x3 | *x4 | *x5 | *x6 == 0;
    if is_null {
        *x0 = Status::Ok.code().cast_unsigned();
        return true;
    }
    // Ours are below 0x200; what lies behind the last call for guests, or the last one of all, does not exist.
    let number = function.wrapping_sub(smccc::VENDOR_HYP_FAST64);
    let is_unknown = function >> 16 == smccc::VENDOR_HYP_FAST64 >> 16
        && number > LAST_FOR_GUESTS
        && !(POLICY_FIRST..=LAST_CALL).contains(&number);
    if is_unknown {
        (*x0, *x1, *x2, *x3) = (Status::NotSupported.code().cast_unsigned(), 0, 0, 0);
    }
    is_unknown
}

/// The highest number of the call table, and the highest one below the policy program's.
const LAST_CALL: u32 = last_below(u32::MAX);
const LAST_FOR_GUESTS: u32 = last_below(POLICY_FIRST);

const fn last_below(bound: u32) -> u32 {
    let (mut rows, mut last) = (shikiri_abi::CALLS, 0);
    while let [row, rest @ ..] = rows {
        let [low, high] = row.number.to_le_bytes();
        let number = u32::from_le_bytes([low, high, 0, 0]);
        if number < bound {
            last = number;
        }
        rows = rest;
    }
    last
}

/// Serves an HVC #0 that has no constant answer. What is frequent goes first.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
pub(crate) fn on_hvc(context: &mut Context, core: &mut CoreLocal) -> Next {
    if talk::send_quickly(context, core) {
        books::compare(core, talk::SEND);
        return Next::Resume;
    }
    any_call(context, core)
}

#[inline(never)]
fn any_call(context: &mut Context, core: &mut CoreLocal) -> Next {
    if message::send_quickly(context, core) {
        books::compare(core, message::SEND);
        return Next::Resume;
    }
    let Some(loaded) = core.loaded else { return Next::Leave };
    call(core, loaded, context)
}

/// Serves one exit of the loaded vCPU that is no HVC #0. What is frequent goes first, each in a function of its own
/// that saves the registers it needs and no more: these costs are promises.
#[inline(always)]
pub(crate) fn on_exit(context: &mut Context, core: &mut CoreLocal, esr: u64) -> Next {
    if exit::is_mmio(esr) {
        // A program in AArch32 may use short and conditional instructions; it does not often talk to the interrupt controller.
        return if exit::is_aarch32(regs::spsr_el2()) {
            any_access(context, core, esr)
        } else if exit::is_store(esr) {
            store(context, core, esr)
        } else {
            load(context, core, esr)
        };
    }
    serve(context, core, esr)
}

/// A load from a device. What the virtual GIC can answer from memory alone goes first.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
fn load(context: &mut Context, core: &mut CoreLocal, esr: u64) -> Next {
    let access = exit::known_mmio(esr, regs::far_el2(), regs::hpfar_el2());
    if let Some(Loaded { live, vcpu }) = core.loaded
        && let Some((frame, offset)) = gic_frame(live, access.ipa)
        && let Some(value) = {
            let mut devices = live.devices.lock_in_place();
            let vgic = devices.vgic(&live.quicks);
            vgic.read_plain(vcpu.index, frame, offset, access.size_log2)
        }
    {
        advance_in_place();
        context.write_x(access.rt, access.extend(value));
        return Next::after_writing(access.rt);
    }
    any_access(context, core, esr)
}

/// A store to a device. SGIs of GICv2, and what changes nothing but the virtual GIC's memory, go first.
#[inline(never)]
#[unsafe(link_section = ".text.hot")]
fn store(context: &mut Context, core: &mut CoreLocal, esr: u64) -> Next {
    let access = exit::known_mmio(esr, regs::far_el2(), regs::hpfar_el2());
    let Some(loaded) = core.loaded else { return any_access(context, core, esr) };
    let live = loaded.live;
    let value = context.read_x(access.rt);
    let Some((frame, offset)) = gic_frame(live, access.ipa) else {
        return any_access(context, core, esr);
    };
    if live.gic == GicVersion::V2
        && let Some(kick) = without_lock(core, loaded, (frame, offset), access.size_log2, value)
    {
        advance_in_place();
        return if kick.is_empty() { Next::Resume } else { kick_others(core, loaded, kick) };
    } else {
        let mut devices = live.devices.lock_in_place();
        let mut vgic = devices.vgic(&live.quicks);
        let is_done = vgic.write_plain(frame, offset, access.size_log2, value);
        drop(devices);
        if !is_done {
            return any_access(context, core, esr);
        }
    }
    advance_in_place();
    Next::Resume
}

/// Kicks those that a store has changed something for.
#[cold]
#[inline(never)]
fn kick_others(core: &CoreLocal, Loaded { live, .. }: Loaded, kick: VcpuSet) -> Next {
    run::kick_vcpus(core.world, live, kick);
    Next::Resume
}

#[inline]
fn without_lock(
    core: &CoreLocal,
    Loaded { live, vcpu }: Loaded,
    (frame, offset): (Frame, u32),
    size_log2: u8,
    value: u64,
) -> Option<VcpuSet> {
    let registers = MappedRegisters(core.world.gich.as_ref()?);
    let here = Here { hw: &registers, vcpu: Some(vcpu.index) };
    shikiri_vgic::write_without_lock(
        &live.quicks.vcpus,
        here,
        frame,
        offset,
        size_log2,
        value,
        |target| run::ring(core.world, live, target),
    )
}

/// A load or store to any device.
#[inline(never)]
fn any_access(context: &mut Context, core: &mut CoreLocal, esr: u64) -> Next {
    if let Some(access) = exit::mmio(esr, regs::far_el2(), regs::hpfar_el2())
        && let Some(loaded) = core.loaded
        && let Some((frame, offset)) = gic_frame(loaded.live, access.ipa)
    {
        return virtual_gic(core, loaded, context, &access, (frame, offset));
    }
    serve(context, core, esr)
}

/// An abort of a load or store without a syndrome, which a device model may serve all the same.
fn without_syndrome(
    context: &mut Context,
    core: &mut CoreLocal,
    (loaded, esr): (Loaded, u64),
    abort: &Abort,
) -> Next {
    let Some(access) = indexed::access(context, loaded.live, esr, abort) else {
        return aborted(core, abort);
    };
    match gic_frame(loaded.live, access.ipa) {
        Some(place) => virtual_gic(core, loaded, context, &access, place),
        None => other_device(core, loaded, context, &access),
    }
}

#[inline(never)]
fn serve(context: &mut Context, core: &mut CoreLocal, esr: u64) -> Next {
    let Some(loaded) = core.loaded else { return Next::Leave };
    let (far, hpfar) = (regs::far_el2(), regs::hpfar_el2());
    report::record(loaded.vcpu, esr, far, hpfar, context.read_x(0));
    let exit = Exit::decode(esr, far, hpfar);
    match exit {
        Exit::Mmio(access) => other_device(core, loaded, context, &access),
        Exit::Sysreg(access) => sysreg::serve(core, loaded, context, &access),
        Exit::Smc(0) => {
            // A trapped SMC has not been executed: its PC is moved on here (Arm ARM D1.3.2).
            advance();
            call(core, loaded, context)
        }
        // SMCCC knows immediate 0 only (DEN 0028, 2.9); HVC's PC has moved on already, SMC's has not.
        Exit::Hvc(_) => not_supported(context),
        Exit::Smc(_) => {
            advance();
            not_supported(context)
        }
        Exit::FpTrap => undefined(core),
        Exit::Wait(kind) => wait(core, kind),
        Exit::Abort(abort) => without_syndrome(context, core, (loaded, esr), &abort),
        Exit::Unexpected { class } if is_hidden_feature(class) => undefined(core),
        // An exception class that this configuration should not give.
        Exit::Unexpected { .. } => fault(core, "unexpected exit"),
    }
}

/// Answers a call that does not exist.
fn not_supported(context: &mut Context) -> Next {
    context.write_x(0, psci::NOT_SUPPORTED);
    Next::Resume
}

/// Moves the guest's PC behind the trapped instruction, where each instruction is a promise: accesses to the interrupt controller,
/// and its SGIs. PSTATE stays as it was: its BTYPE would show if the instruction is the target of an indirect branch and the last one of a
/// page that is not guarded, before one that is; its IT in AArch32, whose programs do not talk to the interrupt controller.
#[inline]
pub(crate) fn advance_in_place() {
    regs::set_elr_el2(regs::elr_el2().wrapping_add(4));
}

/// Moves the guest's PC behind the trapped instruction, and its PSTATE. A program in AArch32 may have executed it.
#[inline]
pub(crate) fn advance() {
    let bytes = exit::instruction_bytes(regs::esr_el2());
    regs::set_elr_el2(regs::elr_el2().wrapping_add(bytes));
    regs::set_spsr_el2(exit::state_behind(regs::spsr_el2()));
}

fn wait(core: &mut CoreLocal, kind: WaitKind) -> Next {
    advance();
    match kind {
        WaitKind::Interrupt => core.leave = Leave::Wait,
        // WFE is a spinning guest that shares its core: others may go first.
        WaitKind::Event => {}
    }
    Next::Leave
}

/// A call by HVC or SMC. Its registers are in the context.
fn call(core: &mut CoreLocal, loaded: Loaded, context: &mut Context) -> Next {
    let [x0, x1, x2, x3, x4, x5, x6, ..] = context.x;
    let [a, b, c, d, ..] = x0.to_le_bytes();
    let function = u32::from_le_bytes([a, b, c, d]);
    if let Some(answer) = psci::quick(function) {
        context.write_x(0, answer);
        return Next::Resume;
    }
    let number = function.wrapping_sub(smccc::VENDOR_HYP_FAST64);
    if number < 0x200 {
        return own_call(core, loaded, context, number, [x1, x2, x3, x4, x5, x6]);
    }
    if is_psci(function) {
        let action = psci::decide(loaded.live, &[x0, x1, x2, x3]);
        return carry_out(core, loaded, context, action);
    }
    if let Some(values) = psci::vendor_query(function) {
        for (register, value) in (0..).zip(values) {
            context.write_x(register, value);
        }
        return Next::Resume;
    }
    context.write_x(0, psci::architecture_call(function, x1));
    Next::Resume
}

/// Whether a function id is in PSCI's ranges (DEN 0022, *function identifiers*).
const fn is_psci(function: u32) -> bool {
    function & !(smccc::SMC64 | 0x1f) == 0x8400_0000
}

/// Carries out what PSCI decided.
fn carry_out(
    core: &mut CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    action: PsciAction,
) -> Next {
    let Loaded { live, .. } = loaded;
    match action {
        PsciAction::Answer(value) => {
            context.write_x(0, value);
            Next::Resume
        }
        PsciAction::CpuOn { target } => {
            context.write_x(0, psci::SUCCESS);
            run::wake(core.world, live.slot, target);
            Next::Resume
        }
        PsciAction::CpuOff => {
            core.leave = Leave::Off;
            Next::Leave
        }
        PsciAction::Standby => {
            context.write_x(0, psci::SUCCESS);
            core.leave = Leave::Wait;
            Next::Leave
        }
        PsciAction::PowerDown(start) => {
            context.write_x(0, psci::SUCCESS);
            core.leave = Leave::Suspend(start);
            Next::Leave
        }
        PsciAction::PartitionOff => end(core, live, EndCause::Off),
        PsciAction::PartitionReset => end(core, live, EndCause::Reset),
    }
}

fn end(core: &CoreLocal, live: &Live, cause: EndCause) -> Next {
    worker::end(core.world, live.slot, cause);
    Next::Leave
}

/// A call of our own service.
fn own_call(
    core: &CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    number: u32,
    x: [u64; 6],
) -> Next {
    if number >= POLICY_FIRST {
        return policy::any_call(core, loaded, context, (number, x));
    }
    let answer = match Call::decode(number, x) {
        Ok(Call::PartitionEnd(code)) => {
            let code = u32::try_from(code).unwrap_or(u32::MAX);
            return end(core, loaded.live, EndCause::Code(code));
        }
        Ok(Call::Request(wanted)) => request::ask(core, loaded, wanted),
        Ok(Call::RequestState) => request::state(core, loaded),
        Ok(Call::RequestCancel) => request::cancel(core, loaded),
        Ok(Call::Talk(call)) => talk::serve(core, loaded, call),
        Ok(Call::Message(call)) => message::serve(core, loaded, call),
        Ok(Call::Shared(call)) => share::serve(core, loaded, call),
        Ok(Call::Object(call)) => object::serve(core, loaded, call),
        Ok(call) => shikiri_core::call::answer(call, loaded.live),
        Err(error) => undecoded(error),
    };
    answer_call(core, context, number, answer)
}

/// The answer to a call that does not exist, or has a bad argument.
pub(super) fn undecoded(error: DecodeError) -> [u64; 4] {
    match error {
        DecodeError::NotSupported => [Status::NotSupported.code().cast_unsigned(), 0, 0, 0],
        DecodeError::Argument(which) => {
            [Status::InvalidParameter.code().cast_unsigned(), u64::from(which), 0, 0]
        }
    }
}

/// Writes `x0` to `x3`.
pub(super) fn answer_call(
    core: &CoreLocal,
    context: &mut Context,
    number: u32,
    answer: [u64; 4],
) -> Next {
    books::compare(core, number);
    for (register, value) in (0..).zip(answer) {
        context.write_x(register, value);
    }
    Next::Resume
}

/// Which frame of the virtual GIC an address lies in, and where.
#[inline]
fn gic_frame(live: &Live, ipa: Ipa) -> Option<(Frame, u32)> {
    let platform = &live.platform;
    let distributor = ipa.0.wrapping_sub(platform.distributor.0);
    if distributor < 0x1_0000 {
        return Some((Frame::Distributor, low_u32(distributor)));
    }
    let offset = ipa.0.wrapping_sub(platform.cpu_interface.0);
    match live.gic {
        GicVersion::V3 => {
            let [index, ..] = (offset >> 17).to_le_bytes();
            (offset >> 17 < live.vcpu_count)
                .then_some((Frame::Redistributor(VcpuIndex(index)), low_u32(offset & 0x1_ffff)))
        }
        // The first page is the hardware's GICV; what is behind the second is empty.
        GicVersion::V2 => (0x1000..0x1_0000)
            .contains(&offset)
            .then_some((Frame::Deactivate, low_u32(offset.wrapping_sub(0x1000)))),
    }
}

#[inline]
const fn low_u32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// An access to the virtual GIC.
#[inline]
fn virtual_gic(
    core: &CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    access: &MmioAccess,
    (frame, offset): (Frame, u32),
) -> Next {
    let Loaded { live, vcpu } = loaded;
    let what = if access.is_write {
        shikiri_vgic::Access::Write(access.truncate(context.read_x(access.rt)))
    } else {
        shikiri_vgic::Access::Read
    };
    let MmioOutcome { value, kick, is_retry } = {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
        live.devices.lock().vgic(&live.quicks).mmio(here, frame, offset, access.size_log2, what)
    };
    if !kick.is_empty() {
        run::kick_vcpus(core.world, live, kick);
    }
    if is_retry { Next::Resume } else { finish_access(context, access, value) }
}

/// Completes a load or store that was served.
#[inline]
fn finish_access(context: &mut Context, access: &MmioAccess, value: u64) -> Next {
    advance();
    if access.moves_base() {
        let base = context.read_x(access.base).wrapping_add_signed(access.step.into());
        context.write_x(access.base, base);
        if access.is_write {
            return Next::after_writing(access.base);
        }
        context.write_x(access.rt, access.extend(value));
        return Next::after_writing(access.base.max(access.rt));
    }
    if access.is_write {
        return Next::Resume;
    }
    context.write_x(access.rt, access.extend(value));
    Next::after_writing(access.rt)
}

/// An access to another device model, to a moderated device, or to nothing.
fn other_device(
    core: &mut CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    access: &MmioAccess,
) -> Next {
    let Loaded { live, .. } = loaded;
    if live.has_console
        && let Some(offset) = access.ipa.offset_from(live.platform.uart)
        && offset < 0x1000
    {
        return uart(core, loaded, context, access, offset);
    }
    if let Some(pa) = core.world.moderated(live, access)
        && let Ok(value) = device::access(pa, access, context.read_x(access.rt))
    {
        return finish_access(context, access, value);
    }
    let kind = if access.is_write { AbortKind::Write } else { AbortKind::Read };
    aborted(core, &Abort { ipa: access.ipa, kind, is_on_walk: false, status: 0x07 })
}

/// The virtual UART.
fn uart(
    core: &mut CoreLocal,
    loaded: Loaded,
    context: &mut Context,
    access: &MmioAccess,
    offset: u64,
) -> Next {
    let Loaded { live, vcpu } = loaded;
    let what = if access.is_write {
        vuart::Access::Write(access.truncate(context.read_x(access.rt)))
    } else {
        vuart::Access::Read
    };
    let (outcome, kick) = {
        let interface = core.interface(live);
        let here = Here { hw: &interface, vcpu: Some(vcpu.index) };
        let mut devices = live.devices.lock();
        let outcome = devices.uart.mmio(&live.slot.port, offset, access.bytes(), what);
        let kick = outcome.line.map(|level| {
            let level = if level { Line::High } else { Line::Low };
            devices.vgic(&live.quicks).set_line(here, live.platform.uart_intid, vcpu.index, level)
        });
        (outcome, kick)
    };
    let next = finish_access(context, access, outcome.value);
    if let Some(kick) = kick {
        run::kick_vcpus(core.world, live, kick);
    }
    match outcome.drain {
        Drain::No => {}
        Drain::Soon => console::tend_soon(core),
        Drain::Now => console::tend(core, Counter.now()),
    }
    if outcome.wants_input {
        console::tend(core, Counter.now());
    }
    next
}

/// A stage-2 abort that nothing serves: the guest gets it as the abort that hardware would give it.
fn aborted(core: &mut CoreLocal, abort: &Abort) -> Next {
    if let Some(Loaded { live, .. }) = core.loaded
        && let Some(work) = live.slot.work.lock().as_ref()
        && work.holdings.has_by_now(&Ram, abort)
    {
        return Next::Resume;
    }
    if inject::abort(abort) {
        return Next::Resume;
    }
    fault(core, "unexpected exit, its exception vector itself aborts")
}

/// The instruction at the guest's PC is undefined for it.
pub(super) fn undefined(core: &mut CoreLocal) -> Next {
    if inject::undefined() {
        return Next::Resume;
    }
    fault(core, "unexpected exit, its exception vector itself is undefined")
}

/// An exit that cannot be served: the partition is reported, and ends.
fn fault(core: &mut CoreLocal, why: &'static str) -> Next {
    core.leave = Leave::Fault(Unserved::now(why));
    Next::Leave
}

/// An SError while the guest ran: the partition is blamed, and ends.
pub(crate) fn on_serror(core: &mut CoreLocal) -> Next {
    core.leave = Leave::Fault(Unserved::now("SError while it ran"));
    Next::Leave
}
