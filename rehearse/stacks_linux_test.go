package rehearse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// A Go program that hangs is made to report where, and the result has the place of each goroutine,
// grouped.
func TestStacks_NameTheGoroutinesThatStayed(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		r, err := rehearse(t, Config{Program: Container{Command: []string{server, "hangs"}, Env: []string{"ADDRESS=" + freeport.Address(t)}}, Grace: time.Second, sharePIDs: group})
		if err != nil {
			t.Fatal(err)
		}
		at := func(function string) int {
			return slices.IndexFunc(r.Stacks, func(s Stack) bool { return strings.HasPrefix(s.Frames[0], function+" ") })
		}
		consumers, first := at("main.consume"), at("main.main")
		if consumers < 0 || first < 0 {
			t.Fatalf("no main.consume or no main.main in %+v\n%s", r.Stacks, describe(r))
		}
		if s := r.Stacks[consumers]; s.Count != 3 || s.State != "chan receive" || s.CreatedBy != "main.main" || !strings.Contains(s.Frames[0], "testdata/server/main.go:") {
			t.Errorf("%+v", s)
		}
		if s := r.Stacks[first]; s.Count != 1 || s.State != "select (no cases)" {
			t.Errorf("%+v", s)
		}
		for _, s := range r.Stacks {
			if strings.HasPrefix(s.Frames[0], "runtime.") || strings.Contains(s.Frames[0], "os/signal.") {
				t.Errorf("%+v is of the runtime", s)
			}
		}
		if fails, _ := codes(r); !slices.Equal(fails, []Code{TooSlow}) || r.ExitCode != 137 {
			t.Errorf("fails %v with exit code %d: that it was asked is no end of its own", fails, r.ExitCode)
		}
	}
}

// A program that handles SIGQUIT itself writes nothing, and has no stacks.
func TestStacks_OfAProgramThatDoesNotSay(t *testing.T) {
	t.Parallel()
	r, err := rehearse(t, Config{Program: Container{Command: []string{server, "quits"}, Env: []string{"ADDRESS=" + freeport.Address(t)}}, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Stacks) != 0 {
		t.Errorf("%+v", r.Stacks)
	}
}

func TestGoroutines_AnyText(t *testing.T) {
	for _, text := range []string{
		"", "goroutine ", "goroutine 1 [", "goroutine 1 [running]:", "goroutine 1 [running]:\nmain.main()", "x goroutine 1 [running]:\nmain.f()\n\t/a.go:1 +0x1",
		"goroutine 1 [running]:\n\n\n", "goroutine 1 gp=0x1 m=nil [sleep, 3 minutes]:\nruntime.gopark()\n\t/x.go:1\nrax 0x0",
	} {
		if got := goroutines(text); len(got) != 0 {
			t.Errorf("%q: %+v", text, got)
		}
	}
	got := goroutines("SIGQUIT: quit\n\ngoroutine 7 [chan send, 2 minutes]:\nruntime.gopark(0x1)\n\t/go/proc.go:1 +0x1\nmain.(*worker).run(0xc0, {0x1, 0x2})\n\t/src/w.go:7 +0x1d fp=0x1\ncreated by main.start in goroutine 1\n\t/src/m.go:3 +0x1\n\nrax    0x0\n")
	want := Stack{Count: 1, State: "chan send", Frames: []string{"main.(*worker).run /src/w.go:7"}, CreatedBy: "main.start"}
	if len(got) != 1 || got[0].Frames[0] != want.Frames[0] || got[0].State != want.State || got[0].CreatedBy != want.CreatedBy {
		t.Errorf("%+v, want %+v", got, want)
	}
}
