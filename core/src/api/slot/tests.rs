//! That slots never change, and are spread evenly.

use super::*;

#[test]
fn a_slot_never_changes() {
    for (namespace, target, slot) in [
        ("default", "web", "04"),
        ("default", "app-00001", "0a"),
        ("default", "app-00002", "17"),
        ("shop", "checkout", "be"),
        ("kube-system", "coredns", "e7"),
        ("a", "b", "f2"),
        ("", "", "23"),
    ] {
        assert_eq!(Slot::of(namespace, target).to_string(), slot, "{namespace}/{target}");
    }
}

#[test]
fn numbered_names_are_spread_evenly() {
    for layout in [8, 16, 32].map(|shards| Layout::new(shards).unwrap()) {
        let mut counts = vec![0_u32; layout.shards().into()];
        for number in 0..10_000 {
            let namespace = ["default", "shop", "team-a", "team-b"][number % 4];
            counts[usize::from(layout.shard_of(Slot::of(namespace, &format!("app-{number:05}"))))] += 1;
        }
        let most = f64::from(*counts.iter().max().unwrap());
        let mean = 10_000.0 / f64::from(layout.shards());
        assert!(most / mean <= 1.25, "{counts:?}");
    }
}

#[test]
fn a_slot_is_read_as_it_is_written() {
    for byte in 0..=u8::MAX {
        assert_eq!(Slot(byte).to_string().parse(), Ok(Slot(byte)));
    }
    assert_eq!(Slot(10).to_string(), "0a");
}

#[test]
fn nothing_else_is_a_slot() {
    for text in ["", "7", "+f", "-1", "0A", "FF", "100", "0ff", " 0a", "0x", "zz", "é"] {
        assert_eq!(text.parse::<Slot>(), Err(Error::Slot(text.to_owned())));
    }
    assert_eq!(
        Error::Slot("0A".to_owned()).to_string(),
        "slot \"0A\": must be two lowercase hexadecimal digits, such as 0a"
    );
}

#[test]
fn shards_are_a_power_of_two() {
    let accepted: Vec<u16> = (0..=u16::MAX).filter(|&shards| Layout::new(shards).is_ok()).collect();
    assert_eq!(accepted, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(
        Layout::new(33).unwrap_err().to_string(),
        "--shards 33: must be a power of two between 1 and 256, such as 32"
    );
    assert_eq!(Layout::new(32), Ok(Layout::DEFAULT));
}

#[test]
fn each_slot_is_in_exactly_the_shard_that_lists_it() {
    for layout in (0..=8).map(|exponent| Layout::new(1 << exponent).unwrap()) {
        for slot in (0..=u8::MAX).map(Slot) {
            let listing: Vec<u16> = (0..layout.shards())
                .filter(|&shard| layout.slots(shard).contains(&slot))
                .collect();
            assert_eq!(listing, [layout.shard_of(slot)], "{layout:?}");
        }
    }
}

#[test]
fn a_shard_that_does_not_exist_has_no_slots() {
    for layout in (0..=8).map(|exponent| Layout::new(1 << exponent).unwrap()) {
        for shard in [layout.shards(), 256, 257, u16::MAX] {
            assert!(layout.slots(shard).is_empty(), "{layout:?} {shard}");
        }
    }
}

#[test]
fn a_selector_lists_the_slots_of_a_shard() {
    let label = "kanary.k8s-operators.dev/slot";
    assert_eq!(
        Layout::DEFAULT.selector([0]),
        format!("{label} in (00,01,02,03,04,05,06,07)")
    );
    assert_eq!(
        Layout::DEFAULT.selector([31]),
        format!("{label} in (f8,f9,fa,fb,fc,fd,fe,ff)")
    );
    assert_eq!(Layout::new(256).unwrap().selector([171]), format!("{label} in (ab)"));
    let quarters = Layout::new(64).unwrap();
    assert_eq!(
        quarters.selector([9, 2]),
        format!("{label} in (08,09,0a,0b,24,25,26,27)")
    );
    assert_eq!(quarters.selector(0..64), label);
}

#[test]
fn the_rest_is_what_no_shard_selects() {
    let rest = Layout::rest_selector();
    let all_but_one = Layout::new(256).unwrap().selector(0..255);
    assert_eq!(rest.replace(",ff)", ")"), all_but_one.replace(" in ", " notin "));
    assert_eq!(rest.matches(',').count(), 255);
}
