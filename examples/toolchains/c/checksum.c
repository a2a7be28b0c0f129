// Each function uses an array on its C stack. A device must keep the stacks of its threads apart.

static volatile unsigned table[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};

// Fills an array, changes it in a loop, and checks it. Returns 1 if every element has the expected value.
__attribute__((export_name("check"))) int check(int seed, int rounds) {
  volatile int a[64];
  for (int i = 0; i < 64; i++) a[i] = seed + i;
  for (int round = 0; round < rounds; round++) a[round & 63] += 1;
  for (int i = 0; i < 64; i++) {
    int added = rounds / 64 + (i < (rounds & 63));
    if (a[i] != seed + i + added) return 0;
  }
  return 1;
}

// A leaf function: its array is below the stack pointer, in the red zone, and the function does not move the pointer.
__attribute__((export_name("leaf"))) int leaf(int seed, int rounds) {
  volatile int a[8];
  for (int i = 0; i < 8; i++) a[i] = seed;
  for (int round = 0; round < rounds; round++) a[round & 7] ^= seed + round;
  int sum = 0;
  for (int round = 0; round < rounds; round++) a[round & 7] ^= seed + round;
  for (int i = 0; i < 8; i++) sum += a[i] == seed;
  return sum == 8;
}

// Uses 4 KiB of stack until it is interrupted.
__attribute__((export_name("spin"))) int spin(int seed, int rounds) {
  volatile int a[1024];
  for (int i = 0; i < 1024; i++) a[i] = seed;
  for (int round = 0; round < rounds; round++) a[round & 1023] = seed + round;
  return a[seed & 1023];
}

// Returns 1 if the static data is unchanged.
__attribute__((export_name("intact"))) int intact(int unused) {
  return table[0] == 0x11111111 && table[1] == 0x22222222 && table[2] == 0x33333333 && table[3] == 0x44444444;
}
