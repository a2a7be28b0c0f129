// Allocates slices and strings with the garbage collector of TinyGo.
package main

import "runtime"

// The slices of recent calls, which the collector must not free.
var kept [8][]int32

// Appends to a slice and to a string, and checks both. Returns 1 if every element has the expected value, also in slices of recent calls.
//
//go:wasmexport check
func check(seed, count int32) int32 {
	numbers := make([]int32, 0, 1)
	text := ""
	for i := int32(0); i < count; i++ {
		numbers = append(numbers, seed+i)
		text += string(rune('a' + i&15))
	}
	for i, number := range numbers {
		if number != seed+int32(i) || text[i] != 'a'+byte(i&15) {
			return 0
		}
	}
	kept[seed&7] = numbers
	for _, numbers := range kept {
		for i, number := range numbers {
			if number != numbers[0]+int32(i) {
				return 0
			}
		}
	}
	return 1
}

// Returns the size of the heap in bytes.
//
//go:wasmexport heap
func heap(_ int32) int32 {
	var statistics runtime.MemStats
	runtime.ReadMemStats(&statistics)
	return int32(statistics.HeapSys)
}

func main() {}
