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
	if fails, _ := codes(&report.Results[0]); !slices.Equal(fails, []Code{TooSlow, NotBack}) {
		t.Errorf("fails %v\n%s", fails, describe(&report.Results[0]))
	}
	for _, r := range report.Results[1:] {
		if r.Skipped == "" || len(r.Findings)+len(r.Passed) > 0 {
			t.Errorf("%+v was not skipped", r)
		}
	}
}
