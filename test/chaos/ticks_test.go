//go:build linux

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

func TestLearn_ADriverSaysWhatItsLibraryCanDo(t *testing.T) {
	for _, kinds := range [][]kind{{{name: "kill"}}, {{name: "kill"}, {name: clockForward}}} {
		rec, err := newRecord(filepath.Join(t.TempDir(), "history.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		r := &run{rec: rec, load: new(load), kinds: kinds}
		if err := r.learn([]byte(wire.CanRecord + "\n" + wire.CanSchedule + "\n")); err != nil {
			t.Fatal(err)
		}
		if err := rec.close(); err != nil {
			t.Fatal(err)
		}
		set := slices.ContainsFunc(r.environ, func(v string) bool { return strings.HasPrefix(v, wire.EnvSchedules+"=[{") })
		if can := r.load.plans.can; !can[wire.CanRecord] || can[wire.CanIterate] || set != (len(kinds) == 1) {
			t.Errorf("with %d kinds of faults: %v, %v", len(kinds), can, r.environ)
		}
	}
}
