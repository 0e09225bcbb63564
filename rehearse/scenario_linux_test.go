package rehearse

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// Each scenario finds the mistake that it is for, for that reason alone, and the program without it
// passes.
func TestScenario_FindsTheMistakeThatItIsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scenario     Scenario
		how          string
		fails, warns []Code
		exit         int
	}{
		{scenario: Rollout, how: "good"},
		{scenario: Rollout, how: "at-once", fails: []Code{RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{scenario: Rollout, how: "flocks", fails: []Code{NotBeside}},
		{scenario: Rollout, how: "cleans", fails: []Code{DisturbsCopy}},
		{scenario: Load, how: "good"},
		{scenario: Load, how: "at-once", fails: []Code{RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{scenario: HookOverrun, how: "hangs", warns: []Code{TooSlow}, exit: 137},
		{scenario: HookOverrun, how: "at-once"},
		{scenario: Lag0, how: "at-once", warns: []Code{ClosedUnderRequest}},
		{scenario: Lag1, how: "at-once", fails: []Code{RefusedEarly}, warns: []Code{ClosedUnderRequest}},
		{scenario: Lag1, how: "good"},
		{scenario: Lag5, how: "good", warns: []Code{RefusedEarly}}, // it accepts for only two seconds
		{scenario: SoftEviction, how: "good"},
		// Its port is closed meanwhile.
		{scenario: SoftEviction, how: "lingers", warns: []Code{RefusedEarly, ClosedUnderRequest}},
		{scenario: NodeShutdown, how: "good"},
		{scenario: OnlyCopy, how: "lingers", warns: []Code{RefusedEarly, ClosedUnderRequest}},
		// It takes four seconds.
		{scenario: ForceDelete, how: "slowly", warns: []Code{TooSlow}, exit: 137},
		{scenario: ForceDelete, how: "at-once"},
		{scenario: LivenessFailure, how: "good"},
		{scenario: SecondSignal, how: "good"},
		{scenario: SecondSignal, how: "twice", fails: []Code{BreaksTwice}, exit: 2},
		{scenario: SecondSignal, how: "hangs", fails: []Code{TooSlow}, exit: 137},
		{scenario: Starting, how: "good"},
		{scenario: Starting, how: "ignores", fails: []Code{NoReaction}, exit: -1},
		{scenario: OutputStuck, how: "good"},
		{scenario: OutputStuck, how: "says", warns: []Code{OutputBlocks}, exit: 137},
		{scenario: OutputStuck, how: "no-handler", exit: exitBySignal},
		{scenario: Frozen, how: "flocks", exit: -1},
		{scenario: Frozen, how: "locks", fails: []Code{NotBack}, exit: -1},
		{scenario: Crash, how: "flocks", exit: 137},
		{scenario: Crash, how: "locks", fails: []Code{NotBack}, exit: 137},
		{scenario: HardEviction, how: "hangs", warns: []Code{TooSlow}, exit: 137},
	} {
		t.Run(string(c.scenario)+" "+c.how, func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			traffic := []Target{{URL: "http://" + where}, {URL: "http://" + where + "/slow", Use: Slow}}
			if c.scenario == ForceDelete || c.scenario == HookOverrun {
				traffic = traffic[:1] // two seconds are left, and slow requests take one of them
			}
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{server, c.how}, Env: []string{"ADDRESS=" + where, "LOCK=" + filepath.Join(t.TempDir(), "lock")}},
				Traffic: traffic,
				Grace:   10 * time.Second, Scenarios: []Scenario{c.scenario},
			})
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			warns = without(warns, c.warns, AnswersLate)
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) || r.ExitCode != c.exit {
				t.Errorf("fails %v, want %v; warns %v, want %v; exit code %d, want %d\n%s", fails, c.fails, warns, c.warns, r.ExitCode, c.exit, describe(r))
			}
		})
	}
}

func TestElsewhere_MovesThePortWhereverItIsGiven(t *testing.T) {
	for _, c := range []struct{ command, env, want string }{
		{"server --port 8080", "A=1", "server --port 9 A=1"},
		{"server --listen=127.0.0.1:8080 --keep 18080 80801", "", "server --listen=127.0.0.1:9 --keep 18080 80801"},
		{"sh -c server_-p8080", "", "sh -c server_-p9"},
		{"server", "ADDRESS=:8080", "server ADDRESS=:9"},
		{"server", "PORT=8080", "server PORT=9"},
		{"8080 --port 8080", "ID=18080", "8080 --port 9 ID=18080"},
		{"server --version 8080.1", "PORTS=8080,1", ""},
		{"server", "", ""},
	} {
		moved := Container{Command: strings.Fields(c.command), Env: strings.Fields(c.env)}
		got := ""
		if moved.move("8080", "9") {
			got = strings.Join(append(moved.Command, moved.Env...), " ")
		}
		if got != c.want {
			t.Errorf("%s with %s: %q, want %q", c.command, c.env, got, c.want)
		}
	}
}

// A copy of a program with a port for probes needs that port too.
func TestElsewhere_MovesEveryPortAtWhichTheProgramListens(t *testing.T) {
	at := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	first := Container{Command: []string{"server", "--listen=:8080", "--probes=:8081", "--database=:5432"}}
	moved, targets, err := elsewhere(&first, []*target{loopbackTarget("http", "127.0.0.1:8080")}, []netip.AddrPort{at(8080), at(8081), at(40404)})
	if err != nil {
		t.Fatal(err)
	}
	changed := func(i int) bool { return moved.Command[i] != first.Command[i] }
	if !changed(1) || !changed(2) || changed(3) || moved.Command[1] != "--listen=:"+targets[0].url.Port() {
		t.Errorf("%q, clients of %s", moved.Command, targets[0])
	}
}

// A scenario that cannot be rehearsed with a program is skipped, with the reason, and the others go
// on.
func TestScenario_WhatCannotBeRehearsedIsSkipped(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"no clients":        {Program: Container{Command: []string{"sleep", "60"}}, Scenarios: []Scenario{Rollout, Crash}},
		"another port":      {Program: Container{Command: []string{server, "good"}, Env: []string{"ADDRESS=127.0.0.1:0"}}, Scenarios: []Scenario{Rollout, Crash}},
		"a stream open":     {Program: Container{Command: []string{server, "good"}, Env: []string{"ADDRESS=127.0.0.1:0"}}, Scenarios: []Scenario{OpenStreams, Crash}},
		"has no sidecars":   {Program: Container{Command: []string{server, "good"}, Env: []string{"ADDRESS=127.0.0.1:0"}}, Scenarios: []Scenario{SidecarOrder, Crash}},
		"to something else": {Program: Container{Command: []string{"/bin/sh", "-c", "exec sleep 60 >/dev/null 2>&1"}}, Scenarios: []Scenario{OutputStuck, Crash}},
	} {
		report, err := Do(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		first, second := &report.Results[0], &report.Results[1]
		if !strings.Contains(first.Skipped, want) || len(first.Findings)+len(first.Passed) > 0 || !first.OK() || second.Skipped != "" || !slices.Contains(second.Passed, NotBack) {
			t.Errorf("%s was skipped for %q, want %q; then %+v", first.Scenario, first.Skipped, want, second)
		}
	}
}

func TestScenario_OpenStreamsAreEndedOrCutOff(t *testing.T) {
	t.Parallel()
	program, err := talker()
	if err != nil {
		t.Fatal(program, err)
	}
	for how, want := range map[string][]Code{"good": nil, "cuts-streams": {StreamCut}} {
		where := freeport.Address(t)
		r, err := rehearse(t, Config{
			Program:   Container{Command: []string{program, how}, Env: []string{"ADDRESS=" + where, "TCP_ADDRESS=" + freeport.Address(t)}},
			Traffic:   []Target{{URL: "http://" + where}, {URL: "http://" + where + "/events", Use: Stream}, {URL: "ws://" + where + "/ws"}},
			Scenarios: []Scenario{OpenStreams}, Grace: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		if fails, warns := codes(r); !slices.Equal(fails, want) || len(warns) > 0 || r.Skipped != "" {
			t.Errorf("%s fails %v, want %v; warns %v\n%s", how, fails, want, warns, describe(r))
		}
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
			Program:   Container{Command: []string{"/bin/sh", "-c", script, server}, Env: []string{"ADDRESS=" + freeport.Address(t)}},
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

// If a scenario leaves something behind that keeps the next one from beginning, that is a finding
// and not an error: otherwise the earlier findings would be lost.
func TestScenario_AProgramThatDoesNotComeBackForTheNextOne(t *testing.T) {
	t.Parallel()
	where := freeport.Address(t)
	report, err := Do(t.Context(), Config{
		Program: Container{Command: []string{server, "locks", "hangs"}, Env: []string{"ADDRESS=" + where, "LOCK=" + filepath.Join(t.TempDir(), "lock")}},
		Traffic: []Target{{URL: "http://" + where}}, Grace: time.Second, Scenarios: []Scenario{Delete, Lag0, Lag1},
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
