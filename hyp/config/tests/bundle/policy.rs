//! Who makes policy, and what may be handed out: what is written is read, and each rule has its message.

use crate::sample::{device, refusal, system};
use shikiri_abi::Ipa;
use shikiri_config::{
    Bundle, Draft, DraftFault, GicVersion, Policy, PolicyImageSpec, SystemSpec, Unanswered, crc32,
    write,
};

fn policy() -> Policy {
    let mut handout = [None; 8];
    handout[2] = Some(0);
    handout[0] = Some(1_500_000);
    Policy {
        partition: Some(1),
        spare: 62,
        default: Unanswered::Granted,
        answer_ms: 60_000,
        handout,
    }
}

fn image(name: &str, blob: usize) -> PolicyImageSpec {
    PolicyImageSpec { name: name.to_owned(), blob }
}

pub(crate) fn with_policy(change: impl Fn(&mut SystemSpec, &mut Policy)) -> SystemSpec {
    let (mut system, mut policy) = (system(), policy());
    system.policy_images = vec![image("hello", 0), image("tree", 1)];
    change(&mut system, &mut policy);
    system.policy = Some(policy);
    system
}

fn refused(change: impl Fn(&mut SystemSpec, &mut Policy), expected: &str) {
    assert_eq!(refusal(&with_policy(change)), expected);
}

#[test]
fn a_device_has_one_number_wherever_its_regions_stand() {
    let mut spec = system();
    spec.partitions[0].devices.insert(0, device("/two@9030000", 0x0903_0000, 0x1000));
    spec.partitions[0].devices.push(device("/two@9030000", 0x0904_0000, 0x1000));
    let bundle = write(&spec);
    let bundle = Bundle::parse(&bundle, crc32).unwrap();
    let paths: Vec<_> = bundle.partition(0).unwrap().device_paths().collect();
    assert_eq!(paths, ["/two@9030000", "/pl031@9010000"]);
}

#[test]
fn a_draft_gets_a_device_with_all_that_belongs_to_it() {
    let mut spec = system();
    spec.partitions[0].devices.push(device("/two@9030000", 0x0903_0000, 0x1000));
    spec.partitions[0].devices.push(device("/two@9030000", 0x0904_0000, 0x1000));
    spec.partitions[0].devices[1..].iter_mut().for_each(|device| device.is_kept = true);
    let bytes: &'static [u8] = write(&spec).leak();
    let bundle = Bundle::parse(bytes, crc32).unwrap();
    let [a, b] = [0, 1].map(|index| bundle.partition(index).unwrap());
    assert_eq!(a.device_paths().collect::<Vec<_>>(), ["/pl031@9010000", "/two@9030000"]);
    assert_eq!(a.kept_devices().collect::<Vec<_>>(), ["/two@9030000"]);
    assert_eq!(["/pl031@9010000", "/two@9030000"].map(|path| a.keeps_back(path)), [false, true]);
    let mut draft = Draft::new(GicVersion::V3);
    assert!(draft.begin([u64::from_le_bytes(*b"driver\0\0"), 0, 0, 0]));
    let counts = |draft: &Draft| (draft.view().devices().len(), draft.view().interrupts().len());
    assert_eq!(draft.add_device(&a, "/nothing", false), Err(DraftFault::NoDevice));
    assert_eq!(draft.add_device(&b, "/virtio_mmio@a003e00", false), Err(DraftFault::Masters));
    assert_eq!(counts(&draft), (0, 0));
    draft.add_device(&a, "/two@9030000", false).unwrap();
    assert_eq!(draft.view().kept_devices().count(), 0, "it was kept back from its owner only");
    assert_eq!(counts(&draft), (2, 0));
    draft.add_device(&a, "/pl031@9010000", false).unwrap();
    assert_eq!(counts(&draft), (3, 1));
    assert_eq!(draft.view().device_paths().count(), 2);
    let interrupt = draft.view().interrupts().next().map(|it| (it.physical.0, it.path));
    assert_eq!(interrupt, Some((34, "/pl031@9010000")));
    assert_eq!(draft.add_device(&a, "/pl031@9010000", false), Err(DraftFault::Clash), "twice");
    assert_eq!(draft.add_device(&a, "/two@9030000", false), Err(DraftFault::Full));
    assert_eq!(counts(&draft), (3, 1));
    assert_eq!(draft.add_memory(Ipa(0x0901_0000), 4096), Err(DraftFault::Clash));
}

#[test]
fn a_draft_keeps_back_what_it_is_said_to_whatever_the_owner_does() {
    let mut spec = system();
    let devices = &mut spec.partitions[0].devices;
    devices.push(device("/two@9030000", 0x0903_0000, 0x1000));
    devices.push(device("/two@9030000", 0x0904_0000, 0x1000));
    devices.push(device("/large@a0000000", 0x1_a000_0000, 0x40_1000));
    devices[1].is_kept = true;
    devices[2].is_kept = true;
    let bytes: &'static [u8] = write(&spec).leak();
    let a = Bundle::parse(bytes, crc32).unwrap().partition(0).unwrap();
    let mut draft = Draft::new(GicVersion::V3);
    assert!(draft.begin([u64::from_le_bytes(*b"driver\0\0"), 0, 0, 0]));
    draft.add_device(&a, "/two@9030000", false).unwrap();
    draft.add_device(&a, "/pl031@9010000", true).unwrap();
    assert_eq!(draft.view().kept_devices().collect::<Vec<_>>(), ["/pl031@9010000"]);
    assert!(!draft.view().keeps_back("/two@9030000"));
    assert_eq!(draft.view().interrupts().len(), 1, "it is its own from the start");
    // In one step so much cannot be given.
    let large = "/large@a0000000";
    assert_eq!(draft.add_device(&a, large, true), Err(DraftFault::Value));
    assert_eq!(draft.view().devices().len(), 3);
    draft.add_device(&a, large, false).unwrap();
    assert!(draft.begin([u64::from_le_bytes(*b"driver\0\0"), 0, 0, 0]));
    draft.add_device(&a, "/two@9030000", true).unwrap();
    draft.add_device(&a, "/pl031@9010000", true).unwrap();
    let kept: Vec<_> = draft.view().kept_devices().collect();
    assert_eq!(kept, ["/two@9030000", "/pl031@9010000"], "by the order in which they came");
}

#[test]
fn a_policy_is_read_as_it_was_written() {
    let bytes = write(&with_policy(|_, _| {}));
    let bundle = Bundle::parse(&bytes, crc32).unwrap();
    assert_eq!(bundle.policy(), Some(policy()));
    let images: Vec<_> =
        bundle.policy_images().map(|image| (image.name.to_owned(), image.blob)).collect();
    assert_eq!(images, [("hello".to_owned(), 0), ("tree".to_owned(), 1)]);
}

#[test]
fn a_system_without_a_policy_has_none_and_a_policy_may_have_no_holder() {
    let bytes = write(&system());
    assert_eq!(Bundle::parse(&bytes, crc32).unwrap().policy(), None);
    let bytes = write(&with_policy(|_, policy| policy.partition = None));
    assert_eq!(Bundle::parse(&bytes, crc32).unwrap().policy().unwrap().partition, None);
}

#[test]
fn what_a_policy_names_is_there() {
    refused(|_, policy| policy.partition = Some(2), "no partition there for the policy: 0x2");
    refused(|_, policy| policy.spare = 63, "more spare places than there are: 0x3f");
    refused(|s, _| s.policy_images[1].blob = 2, "no blob of policy image number: 0x1");
    refused(
        |s, _| s.policy_images[1].name = "hello".to_owned(),
        "an earlier one has the name of policy image number: 0x1",
    );
    refused(
        |s, _| s.policy_images[0].name = "hel lo".to_owned(),
        "bundle inconsistent: policy image without a name, or an unknown flag",
    );
    refused(
        |s, _| s.policy_images = (0..65).map(|at| image(&format!("i{at}"), 0)).collect(),
        "bundle inconsistent: too many policy images",
    );
}

#[test]
fn an_answer_has_a_time() {
    refused(|_, policy| policy.answer_ms = 0, "time for an answer out of range: 0x0");
    refused(|_, policy| policy.answer_ms = 60_001, "time for an answer out of range: 0xea61");
}

#[test]
fn images_belong_to_a_policy() {
    let mut system = system();
    system.policy_images = vec![image("hello", 0)];
    assert_eq!(refusal(&system), "bundle inconsistent: policy images without a policy");
}
