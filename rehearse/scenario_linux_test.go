package rehearse

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Each mistake that a scenario is for is found in it, for that reason alone, and the program without
// it passes.
func TestScenario_FindsTheMistakeThatItIsFor(t *testing.T) {
	for _, c := range []struct {
		scenario     Scenario
		how          string
		fails, warns []Code
		exit         int
	}{
		{scenario: Lag0, how: "at-once", warns: []Code{ClosedUnderRequest}},
		{scenario: Lag1, how: "at-once", fails: []Code{RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{scenario: Lag1, how: "good"},
		{scenario: Lag5, how: "good", warns: []Code{RefusedEarly}}, // for two seconds it does
		{scenario: SoftEviction, how: "good"},
		{scenario: NodeShutdown, how: "good"},
		{scenario: ForceDelete, how: "good", warns: []Code{TooSlow}, exit: -1}, // it takes two seconds
		{scenario: ForceDelete, how: "at-once"},
		{scenario: LivenessFailure, how: "good"},
		{scenario: SecondSignal, how: "good"},
		{scenario: SecondSignal, how: "twice", fails: []Code{BreaksTwice}, exit: 2},
		{scenario: SecondSignal, how: "hangs", fails: []Code{TooSlow}, exit: -1},
		{scenario: Starting, how: "good"},
		{scenario: Starting, how: "ignores", fails: []Code{NoReaction}, exit: -1},
		{scenario: OutputStuck, how: "good"},
		{scenario: OutputStuck, how: "says", warns: []Code{OutputBlocks}, exit: -1},
		{scenario: OutputStuck, how: "no-handler", exit: exitBySignal},
		{scenario: Frozen, how: "flocks", exit: -1},
		{scenario: Frozen, how: "locks", fails: []Code{NotBack}, exit: -1},
		{scenario: Crash, how: "flocks", exit: 137},
		{scenario: Crash, how: "locks", fails: []Code{NotBack}, exit: 137},
		{scenario: HardEviction, how: "hangs", warns: []Code{TooSlow}, exit: -1},
	} {
		t.Run(string(c.scenario)+" "+c.how, func(t *testing.T) {
			t.Parallel()
			where := freeAddress(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{server, c.how}, Env: []string{"ADDRESS=" + where, "LOCK=" + filepath.Join(t.TempDir(), "lock")}},
				URL:     "http://" + where, SlowURL: "http://" + where + "/slow",
				Grace: 10 * time.Second, Scenarios: []Scenario{c.scenario},
			})
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) || r.ExitCode != c.exit {
				t.Errorf("fails %v, want %v; warns %v, want %v; exit code %d, want %d\n%s", fails, c.fails, warns, c.warns, r.ExitCode, c.exit, describe(r))
			}
		})
	}
}

// A script that waits for something as PID 1 drops the signal, unless it has a trap.
func TestScenario_AStopSignalWhileAScriptWaits(t *testing.T) {
	t.Parallel()
	for script, want := range map[string][]Code{
		`sleep 4; exec "$0" good`:                            {LostEarly},
		`trap 'exit 0' TERM; sleep 4 & wait; exec "$0" good`: nil,
	} {
		r, err := rehearse(t, Config{
			Program:   Container{Command: []string{"/bin/sh", "-c", script, server}, Env: []string{"ADDRESS=" + freeAddress(t)}},
			Scenarios: []Scenario{Starting},
		})
		if err != nil {
			t.Fatal(err)
		}
		if fails, _ := codes(r); !slices.Equal(fails, want) {
			t.Errorf("%s: fails %v, want %v\n%s", script, fails, want, describe(r))
		}
	}
}

// What a scenario leaves behind so that the next one cannot begin is a finding, and no error: what
// was found before would be lost.
func TestScenario_AProgramThatDoesNotComeBackForTheNextOne(t *testing.T) {
	t.Parallel()
	where := freeAddress(t)
	report, err := Do(t.Context(), Config{
		Program: Container{Command: []string{server, "locks", "hangs"}, Env: []string{"ADDRESS=" + where, "LOCK=" + filepath.Join(t.TempDir(), "lock")}},
		URL:     "http://" + where, Grace: time.Second, Scenarios: []Scenario{Delete, Lag0, Lag1},
	})
	if err != nil || len(report.Results) != 3 {
		t.Fatalf("%v, %+v", err, report)
	}
	for i, want := range [][]Code{{TooSlow}, {NotBack}, nil} {
		r := &report.Results[i]
		if fails, _ := codes(r); !slices.Equal(fails, want) || (r.Skipped != "") != (want == nil) {
			t.Errorf("%s fails %v, want %v; skipped %q\n%s", r.Scenario, fails, want, r.Skipped, describe(r))
		}
	}
}

func TestEstimate_IsWhatARehearsalTakesAtMost(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Program: Container{Command: []string{server, "hangs"}}, CutShort: true},
		{Program: Container{Command: []string{server, "hangs"}}, Grace: 3 * time.Second, Scenarios: []Scenario{Delete, Crash}},
		{Program: Container{Command: []string{server, "good"}, PreStop: &Hook{Exec: []string{"sleep", "1"}}}, Grace: 4 * time.Second},
	} {
		most, err := Estimate(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Program.Env = []string{"ADDRESS=" + freeAddress(t)}
		began := time.Now()
		if _, err := Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > most || took < most/3 {
			t.Errorf("%v takes %v, and %v was said", c.Program.Command, took, most)
		}
	}
	if _, err := Estimate(Config{}); err == nil {
		t.Error("nothing is rehearsed in no time")
	}
}

// With the grace of a Docker stop a first verdict takes less than 15 seconds, and all of them less
// than three minutes, whatever the program does.
func TestEstimate_OfQuickAndAll(t *testing.T) {
	program := Container{Command: []string{"server"}}
	quick, err := Estimate(Config{Program: program, CutShort: true})
	if err != nil || quick > 15*time.Second {
		t.Errorf("quick takes %v, %v", quick, err)
	}
	all, err := Estimate(Config{Program: program, Grace: 10 * time.Second, Scenarios: All(), CutShort: true})
	if err != nil || all > 3*time.Minute {
		t.Errorf("all take %v, %v", all, err)
	}
}
