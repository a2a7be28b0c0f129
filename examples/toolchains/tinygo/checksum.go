// c/checksum.c in Go: an array on the stack of each call.
package main

// Fills an array, changes it in a loop, and checks it. Returns 1 if every element has the expected value.
//
//go:wasmexport check
func check(seed, rounds int32) int32 {
	var a [64]int32
	for i := range a {
		a[i] = seed + int32(i)
	}
	for round := int32(0); round < rounds; round++ {
		a[round&63]++
	}
	for i := range a {
		added := rounds / 64
		if int32(i) < rounds&63 {
			added++
		}
		if a[i] != seed+int32(i)+added {
			return 0
		}
	}
	return 1
}

func main() {}
