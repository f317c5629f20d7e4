#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plausch_tests::fuzz::turn::turn(input));
