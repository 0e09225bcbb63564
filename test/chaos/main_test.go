//go:build linux

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommand_RefusesALineThatMakesNoSense(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"-store sqlite", "name it with -driver"},
		{"-driver x -store mysql", `no store is called "mysql": use -store sqlite or -store postgres`},
		{"-driver x -faults kill,flood", "no kind of faults is called flood; there are kill, term,"},
		{"-driver x -duration 0s", "are more than 0"},
		{"-driver x rest", `["rest"]: everything is said with flags`},
		{"-driver x -nonsense", "flag provided but not defined: -nonsense"},
	} {
		var out, complaints bytes.Buffer
		code := command(strings.Fields(c.args), &out, &complaints)
		if code != codeUsage || !strings.Contains(complaints.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q; want %q", c.args, code, complaints.String(), c.want)
		}
	}
}

func TestCommand_SaysSoWhenTheDriverCannotDoItsWork(t *testing.T) {
	code, out := exitCode(t, "-driver", "/bin/false")
	if code != codeFailed || !strings.Contains(out, "false setup: exit status 1") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestKinds_ThoseOfAStoreAndThoseThatWereAskedFor(t *testing.T) {
	names := func(store string, asked ...string) string {
		kinds, err := kindsFor(store, asked)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, k := range kinds {
			names = append(names, k.name)
		}
		return " " + strings.Join(names, " ") + " "
	}
	for _, name := range []string{"kill", "sqlite-locked"} {
		if all := names(sqlite); !strings.Contains(all, " "+name+" ") {
			t.Errorf("%s is not among those of SQLite: %s", name, all)
		}
	}
	for _, name := range []string{"net-cut", "pg-restart-fast", "clock-back"} {
		if all := names(sqlite); strings.Contains(all, " "+name+" ") {
			t.Errorf("%s is among those of SQLite: %s", name, all)
		}
	}
	if got := names(postgres, "kill", "clock-back"); got != " kill clock-back " {
		t.Errorf("asked for two and got %s", got)
	}
}

// A kind needs a sentence that explains it, and a fault of the store a considered duration.
func TestKinds_EachIsExplainedAndKnownByOneName(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range allKinds() {
		if k.what == "" || seen[k.name] || k.do == nil || k.timing == nil {
			t.Errorf("%+v", k)
		}
		seen[k.name] = true
	}
	for name := range storeTimes {
		if !seen[name] {
			t.Errorf("storeTimes has %s, which is no kind", name)
		}
	}
	for _, name := range append(reachable, clocks...) {
		if !seen[name] {
			t.Errorf("%s is no kind", name)
		}
	}
}

func TestSupervisor_RunsAgainAndShrinksWhatFails(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: a schedule is shrunk, which takes some runs")
	}
	dir := t.TempDir()
	code, out := exitCode(t, "-duration", "2s", "-faults", "kill,stop", "-break", "ended", "-again", "2", "-shrink", "2m", "-dir", dir)
	if code != codeBroken || !strings.Contains(out, "in 2 of 2 runs with these faults") || !strings.Contains(out, "\n0 of ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if faults, err := readSchedule(filepath.Join(dir, "shrunk.json")); err != nil || len(faults) != 0 {
		t.Errorf("%v, %v", faults, err)
	}
}
