package proc

import (
	"testing"
)

func TestKeeper_ReapsAndKillsOrphansAndLeavesTheOthersTheirExitCodes(t *testing.T) {
	t.Parallel()
	a := play(t, "keeper", "", nil)
	for _, want := range []struct{ begin, rest string }{{"wrong", "0"}, {"killed:", "<nil>"}, {"left", "0 <nil>"},
		{"ran:", "<nil>"}} {
		if got := a.says(want.begin); got != want.rest {
			t.Errorf("%s %s, want %s", want.begin, got, want.rest)
		}
	}
}
