// Calls another module while its own stack is in use.

__attribute__((import_module("checksum"), import_name("check"))) int inner(int seed, int rounds);

__attribute__((export_name("check"))) int check(int seed, int rounds) {
  volatile int a[64];
  for (int i = 0; i < 64; i++) a[i] = seed * 3 + i;
  for (int call = 0; call < 3; call++) {
    if (!inner(seed + call, rounds)) return 0;
    for (int round = 0; round < rounds; round++) a[round & 63] += 1;
  }
  for (int i = 0; i < 64; i++) {
    int added = 3 * (rounds / 64 + (i < (rounds & 63)));
    if (a[i] != seed * 3 + i + added) return 0;
  }
  return 1;
}
