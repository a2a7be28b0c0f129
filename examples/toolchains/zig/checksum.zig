//! c/checksum.c in Zig: an array on the stack of each call.

/// Fills an array, changes it in a loop, and checks it. Returns 1 if every element has the expected value.
export fn check(seed: i32, rounds: i32) i32 {
    var a: [64]i32 = undefined;
    const p: *volatile [64]i32 = &a;
    for (0..64) |i| p[i] = seed +% @as(i32, @intCast(i));
    var round: i32 = 0;
    while (round < rounds) : (round += 1) p[@intCast(round & 63)] +%= 1;
    for (0..64) |i| {
        const index: i32 = @intCast(i);
        const added = @divTrunc(rounds, 64) + @as(i32, if (index < (rounds & 63)) 1 else 0);
        if (p[i] != seed +% index +% added) return 0;
    }
    return 1;
}
