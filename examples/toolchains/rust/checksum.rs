//! c/checksum.c in Rust: an array on the stack of each call, and a vector from the allocator.

/// Fills an array, changes it in a loop, and checks it. Returns 1 if every element has the expected value.
#[no_mangle]
pub extern "C" fn check(seed: i32, rounds: i32) -> i32 {
    let mut a = [0i32; 64];
    for (i, element) in a.iter_mut().enumerate() {
        *element = seed.wrapping_add(i as i32);
    }
    for round in 0..rounds {
        let element = &mut a[(round & 63) as usize];
        unsafe { core::ptr::write_volatile(element, core::ptr::read_volatile(element).wrapping_add(1)) };
    }
    let expected = |i: i32| seed.wrapping_add(i + rounds / 64 + i32::from(i < (rounds & 63)));
    a.iter().enumerate().all(|(i, &element)| element == expected(i as i32)) as i32
}

/// Allocates a vector in every call, and returns the sum of its elements.
#[no_mangle]
pub extern "C" fn sum(count: i32, _unused: i32) -> i32 {
    let numbers: Vec<i32> = (0..count).collect();
    std::hint::black_box(&numbers).iter().sum::<i32>()
}
