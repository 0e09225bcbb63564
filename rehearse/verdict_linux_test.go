package rehearse

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// The findings must not depend on what else the machine does: with one busy loop running for each
// processor, the same program has the same findings in every run.
func TestVerdict_IsTheSameInEveryRunBesideBusyLoops(t *testing.T) {
	if testing.Short() {
		t.Log("make test-full: twenty runs of each program alongside busy loops")
		return
	}
	const runs = 20
	t.Parallel()
	for range runtime.NumCPU() {
		ctx, cancel := context.WithCancel(context.Background())
		loop := exec.CommandContext(ctx, "/bin/sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cancel(); _ = loop.Wait() })
	}
	for _, c := range []struct {
		how      string
		scenario Scenario
		want     string
	}{
		{"good", Delete, "[] []"},
		{"at-once", Delete, "[LC104] [LC105]"},
		{"exits", Delete, "[LC103 LC104] [LC105]"},
		{"ignores", Delete, "[LC101] []"},
		{"hangs", Delete, "[LC102] []"},
		{"errors", Delete, "[LC108] [LC105]"},
		{"good", Rollout, "[] []"},
		{"good", SoftEviction, "[] []"},
		{"good", Starting, "[] []"},
		{"twice", SecondSignal, "[LC123] []"},
		{"says", OutputStuck, "[] [LC124]"},
		{"locks", Crash, "[LC121] []"},
	} {
		t.Run(fmt.Sprintf("%s %s", c.scenario, c.how), func(t *testing.T) {
			t.Parallel()
			for range runs {
				where := freeport.Address(t)
				r, err := rehearse(t, Config{
					Program: Container{Command: []string{server, c.how}, Env: []string{"ADDRESS=" + where, "LOCK=" + filepath.Join(t.TempDir(), "lock")}},
					Traffic: []Target{{URL: "http://" + where}, {URL: "http://" + where + "/slow", Use: Slow}},
					Grace:   6 * time.Second, Scenarios: []Scenario{c.scenario},
				})
				if err != nil {
					t.Error(err)
					continue
				}
				fails, warns := codes(r)
				slices.Sort(fails)
				if got := fmt.Sprint(fails, warns); got != c.want {
					t.Errorf("%s, want %s\n%s", got, c.want, describe(r))
				}
			}
		})
	}
}
