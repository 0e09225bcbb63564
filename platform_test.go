package lastcall

import (
	"strings"
	"testing"
)

func TestTerminationLog_IsCutBetweenLinesAndSaysSo(t *testing.T) {
	if got := shorten("short\n", 4096); got != "short\n" {
		t.Errorf("%q", got)
	}
	exact := strings.Repeat("x", 4096)
	if got := shorten(exact, 4096); got != exact {
		t.Errorf("%d bytes", len(got))
	}
	long := strings.Repeat("one line of the report\n", 1000)
	got := shorten(long, 4096)
	if len(got) > 4096 || len(got) < 4000 || !strings.HasSuffix(got, "of the report\n... the log has the rest\n") {
		t.Errorf("%d bytes, which end in %q", len(got), got[len(got)-60:])
	}
}
