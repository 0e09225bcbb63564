package task

import "testing"

func TestBackoff_DoublesUpToItsLimit(t *testing.T) {
	f := doubling(1, 100)
	for n, want := range map[int]int{1: 1, 2: 2, 5: 16, 8: 100, 1000000: 100} {
		if got := f(n); int(got) != want {
			t.Errorf("after %d failures %d, want %d", n, got, want)
		}
	}
}
