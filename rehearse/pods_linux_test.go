package rehearse

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// probedProgram is the program of testdata/probed with its probes, each of which runs once a
// second.
func probedProgram(t *testing.T, how, where string) Container {
	t.Helper()
	port := portOf(t, where)
	return Container{
		Command: []string{probedServer, how}, Env: []string{"ADDRESS=" + where},
		Readiness: &Probe{HTTPGet: &HTTPGet{Port: port, Path: "/readyz"}, Period: time.Second, FailureThreshold: 1},
		Liveness:  &Probe{HTTPGet: &HTTPGet{Port: port, Path: "/livez"}, Period: 200 * time.Millisecond, FailureThreshold: 10},
	}
}

// besideIt is a sidecar.
func besideIt(name, how string) Container {
	return Container{Name: name, Command: []string{probedServer, how}, Env: []string{"ADDRESS="}}
}

// podMistakes are mistakes in a pod, each together with its correction.
var podMistakes = []struct {
	name, how    string
	change       func(*Config)
	fails, warns []Code
}{
	{name: "nothing wrong", how: "good"},
	{name: "stays ready", how: "stays ready", warns: []Code{StaysReady}},
	{name: "dead while stopping", how: "dead while stopping", warns: []Code{DeadWhileStopping}},
	{name: "not alive", how: "not alive", fails: []Code{NotAlive}, change: func(c *Config) {
		c.Program.Startup = &Probe{TCP: c.Program.Readiness.HTTPGet.Port, FailureThreshold: 30}
		c.Program.Liveness.Period, c.Program.Liveness.FailureThreshold = 100*time.Millisecond, 2
	}},
	{name: "loses readiness", how: "busy", warns: []Code{LosesReadiness}, change: func(c *Config) { c.Program.Readiness.Period = 100 * time.Millisecond }},
	{name: "starts too slowly for liveness", how: "slow start", fails: []Code{StartsTooSlowly}},
	{name: "starts slowly, and startup waits", how: "slow start", change: func(c *Config) {
		c.Program.Startup = &Probe{TCP: c.Program.Readiness.HTTPGet.Port, Period: time.Second, FailureThreshold: 30}
	}},
	{name: "starts too slowly for startup", how: "slow start", fails: []Code{StartsTooSlowly}, change: func(c *Config) {
		c.Program.Startup = &Probe{TCP: c.Program.Readiness.HTTPGet.Port, Period: time.Second, FailureThreshold: 2}
	}},
	{name: "the hook is not there", how: "good", fails: []Code{HookFails}, change: func(c *Config) {
		c.Program.PreStop = &Hook{Exec: []string{"/no/such/command"}}
	}},
	{name: "the hook fails", how: "good", fails: []Code{HookFails}, change: func(c *Config) { c.Program.PreStop = hook("exit 7").PreStop }},
	{name: "the hook asks nobody", how: "good", fails: []Code{HookFails}, change: func(c *Config) {
		c.Program.PreStop = &Hook{HTTPGet: &HTTPGet{Port: 1}} // nobody listens there
	}},
	{name: "the hook asks for what is not there", how: "good", change: func(c *Config) {
		c.Program.PreStop = &Hook{HTTPGet: &HTTPGet{Port: c.Program.Readiness.HTTPGet.Port, Path: "/none"}}
	}},
	{name: "the hook sleeps for no time", how: "good", change: func(c *Config) { c.Program.PreStop = &Hook{Sleep: new(time.Duration)} }},
	// Two seconds are not enough for it.
	{name: "the hook overruns", how: "slow end", fails: []Code{TooSlow, HookOverruns}, change: func(c *Config) {
		c.Program.PreStop, c.Grace = &Hook{Sleep: duration(30 * time.Second)}, 3*time.Second
	}},
	{name: "the hook leaves a second", how: "slow end", fails: []Code{TooSlow, HookOverruns}, change: func(c *Config) {
		c.Program.PreStop, c.Grace = &Hook{Sleep: duration(3 * time.Second)}, 4*time.Second
	}},
	{name: "probes write while nobody reads the program's output", how: "good", change: func(c *Config) {
		c.Program.Readiness = &Probe{Exec: []string{"echo", "ready"}, Period: time.Second}
		c.Scenarios = []Scenario{OutputStuck}
	}},
	{name: "sidecars in their order", how: "good", change: func(c *Config) {
		c.Sidecars = []Container{besideIt("one", "good"), besideIt("two", "good")}
	}},
	{name: "a sidecar ends by itself", how: "good", fails: []Code{SidecarGone}, change: func(c *Config) {
		c.Sidecars = []Container{besideIt("one", "ends")}
	}},
	{name: "a sidecar's hook ends it", how: "good", fails: []Code{SidecarGone}, change: func(c *Config) {
		c.Sidecars = []Container{besideIt("one", "good")}
		c.Sidecars[0].PreStop = hook("kill -USR1 1; sleep 0.1").PreStop
	}},
	{name: "sidecars in a quick rehearsal", how: "good", warns: []Code{SidecarKilled}, change: func(c *Config) {
		c.Sidecars, c.Grace, c.CutShort = []Container{besideIt("one", "deaf"), besideIt("two", "good")}, 0, true
	}},
	{name: "sidecars crash and come back", how: "good", change: func(c *Config) {
		c.Sidecars, c.Scenarios = []Container{besideIt("one", "good"), besideIt("two", "good")}, []Scenario{SidecarCrash}
	}},
	{name: "a sidecar crashes and does not come back", how: "good", fails: []Code{NotBack}, change: func(c *Config) {
		c.Sidecars, c.Scenarios = []Container{besideIt("one", "good")}, []Scenario{SidecarCrash}
		c.Sidecars[0].Command = []string{"/bin/sh", "-c", `mkdir lock && exec "$0" good`, probedServer}
		c.Sidecars[0].Dir = c.Program.Dir
	}},
	{name: "a sidecar is deaf", how: "good", fails: []Code{SidecarKilled}, change: func(c *Config) {
		c.Sidecars, c.Grace = []Container{besideIt("one", "deaf")}, 4*time.Second
	}},
}

// Each mistake in a pod is found, for that reason alone, and the pod without it passes.
func TestPod_FindsEachMistakeAndNoOther(t *testing.T) {
	t.Parallel()
	for _, c := range podMistakes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			config := Config{Program: probedProgram(t, c.how, where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second}
			config.Program.Dir = t.TempDir()
			if c.change != nil {
				c.change(&config)
			}
			r := rehearsed(t, config)
			fails, warns := codes(r)
			slices.Sort(fails)
			if !slices.Equal(fails, c.fails) || !slices.Equal(warns, c.warns) {
				t.Errorf("fails %v, want %v; warns %v, want %v\n%s", fails, c.fails, warns, c.warns, describe(r))
			}
		})
	}
}

// rehearsed returns the result of the one scenario of a configuration.
func rehearsed(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := rehearse(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// times are the times of the events with a name and the beginning of their detail, in seconds.
func times(r *Result, what, detail string) (at []float64) {
	for _, e := range r.Events {
		if e.What == what && strings.HasPrefix(e.Detail, detail) {
			at = append(at, e.At.Seconds())
		}
	}
	return at
}

// near checks that something happened once, at a given time after something else. It may be late:
// a busy machine runs a process when it can.
func near(t *testing.T, r *Result, what string, at []float64, since []float64, want float64) {
	t.Helper()
	if len(at) != 1 || len(since) != 1 || at[0]-since[0] < want-0.05 || at[0]-since[0] > want+0.9 {
		t.Errorf("%s: at %v, want it %.2f s after %v\n%s", what, at, want, since, describe(r))
	}
}

// untilKilled checks the seconds that a stop signal leaves of a grace period of ten seconds, the
// whole seconds of each wait before it subtracted, and returns them. The waits are known by the
// times of events, to a tenth of a second.
func untilKilled(t *testing.T, r *Result, container string, waits ...float64) (left float64) {
	t.Helper()
	least, most := 10.0, 10.0
	for _, wait := range waits {
		least -= math.Floor(wait + 0.1)
		most -= max(math.Floor(wait-0.1), 0)
	}
	least, most = max(least, minimumGrace), max(most, minimumGrace)
	for _, e := range r.Events {
		rest, is := strings.CutPrefix(e.Detail, container+"SIGTERM, and ")
		if e.What != "stop signal" || !is {
			continue
		}
		d, err := time.ParseDuration(strings.TrimSuffix(rest, " until SIGKILL"))
		if err != nil || d.Seconds() < least || d.Seconds() > most {
			t.Errorf("%sSIGKILL comes %v after the signal (%v), want between %v and %v s after waits of %.2f\n%s", container, d, err, least, most, waits, describe(r))
		}
		return d.Seconds()
	}
	t.Fatalf("%sno stop signal\n%s", container, describe(r))
	return 0
}

// Hooks of all containers begin at once. A sidecar's stop signal waits for the program and for
// every later sidecar, and the whole seconds of that wait are subtracted from its grace period.
func TestPod_SidecarsStopInTheirOrder(t *testing.T) {
	t.Parallel()
	where := freeport.Address(t)
	c := Config{Program: probedProgram(t, "good", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second}
	c.Sidecars = []Container{besideIt("one", "good"), besideIt("two", "deaf"), besideIt("three", "good")}
	c.Sidecars[2].PreStop = hook("sleep 2.5").PreStop
	c.Program.PreStop = hook("sleep 1.2").PreStop
	r := rehearsed(t, c)
	deleted := times(r, "deleted", "")
	hook, hooked := times(r, "preStop", "/bin/sh -c sleep 1.2"), times(r, "preStop ended", "after")
	near(t, r, "the program's hook", hook, deleted, 0)
	near(t, r, "the end of the program's hook", hooked, hook, 1.2)
	near(t, r, "the signal", times(r, "stop signal", "SIGTERM"), hooked, 0)
	exited := times(r, "exited", "exit code 0")
	hookOfThree, hookedThree := times(r, "preStop", "sidecar three"), times(r, "preStop ended", "sidecar three")
	near(t, r, "a sidecar's hook", hookOfThree, deleted, 0)
	near(t, r, "the end of a sidecar's hook", hookedThree, hookOfThree, 2.5)
	if len(exited) != 1 || len(hookedThree) != 1 {
		t.Fatalf("the program's end %v, that of the sidecar's hook %v\n%s", exited, hookedThree, describe(r))
	}
	three, two, one := times(r, "stop signal", "sidecar three"), times(r, "stop signal", "sidecar two"), times(r, "stop signal", "sidecar one")
	near(t, r, "three", three, []float64{max(exited[0], hookedThree[0])}, 0)
	exitedThree := times(r, "exited", "sidecar three")
	near(t, r, "two", two, exitedThree, 0)
	// Its turn did not come in time.
	near(t, r, "one", one, deleted, 10)
	if t.Failed() {
		return
	}
	untilKilled(t, r, "", hooked[0]-hook[0])
	untilKilled(t, r, "sidecar three: ", hookedThree[0]-hookOfThree[0], max(exited[0]-hookedThree[0], 0))
	left := untilKilled(t, r, "sidecar two: ", two[0]-deleted[0])
	near(t, r, "two is killed", times(r, "SIGKILL", "sidecar two"), two, left)
	untilKilled(t, r, "sidecar one: ", one[0]-deleted[0])
}

// A pod that was stopped is started again with its sidecars, and in their order, even if their turn
// to be stopped has not come.
func TestPod_IsStartedAgainWithItsSidecars(t *testing.T) {
	t.Parallel()
	where := freeport.Address(t)
	c := Config{Program: probedProgram(t, "good", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second, Scenarios: []Scenario{Frozen}}
	c.Sidecars = []Container{besideIt("one", "good"), besideIt("two", "good")}
	r := rehearsed(t, c)
	var again []string
	for _, e := range r.Events {
		if e.What == "started again" {
			again = append(again, e.Detail)
		}
	}
	if want := []string{"sidecar one", "sidecar two", probedServer + " good"}; !slices.Equal(again, want) || !slices.Contains(r.Passed, NotBack) {
		t.Errorf("%q was started again, want %q\n%s", again, want, describe(r))
	}
}

// A hook that overruns is not ended: the signal is sent when the grace period is over, and two
// seconds are left.
func TestPod_AHookThatOverrunsGoesOn(t *testing.T) {
	t.Parallel()
	where, mark := freeport.Address(t), filepath.Join(t.TempDir(), "mark")
	c := Config{Program: probedProgram(t, "deaf", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 2 * time.Second}
	c.Program.PreStop = hook("sleep 3; echo it went on > " + mark).PreStop
	c.Program.Command = []string{"/bin/sh", "-c", `trap : TERM; "$0" good & wait; wait; sleep 60`, probedServer}
	r := rehearsed(t, c)
	near(t, r, "the signal", times(r, "stop signal", "SIGTERM, and 2s"), times(r, "deleted", ""), 2)
	near(t, r, "SIGKILL", times(r, "SIGKILL", ""), times(r, "stop signal", ""), 2)
	if text, err := os.ReadFile(mark); err != nil {
		t.Errorf("the hook was ended: %q, %v\n%s", text, err, describe(r))
	}
}

// The commands of hooks and probes run in the container: its PID 1 is the program, and they have
// its directory and its environment.
func TestPod_CommandsRunInTheContainer(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("sharePIDs %v", shared), func(t *testing.T) {
			t.Parallel()
			where, dir := freeport.Address(t), t.TempDir()
			c := Config{Program: probedProgram(t, "good", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second, sharePIDs: shared}
			c.Program.Dir, c.Program.Env = dir, append(c.Program.Env, "WHERE=inside")
			c.Program.Readiness = &Probe{Exec: []string{"/bin/sh", "-c", `echo "$WHERE" >> ready`}, Period: time.Second}
			c.Program.PreStop = hook(`tr '\0' ' ' < /proc/1/cmdline > hook`).PreStop
			r := rehearsed(t, c)
			ready, readyErr := os.ReadFile(filepath.Join(dir, "ready"))
			first, hookErr := os.ReadFile(filepath.Join(dir, "hook"))
			if readyErr != nil || hookErr != nil || !strings.HasPrefix(string(ready), "inside\n") {
				t.Errorf("%q, %v, %v\n%s", ready, readyErr, hookErr, describe(r))
			}
			if isIt := string(first) == probedServer+" good "; isIt == shared {
				t.Errorf("PID 1 is %q\n%s", first, describe(r))
			}
		})
	}
}

func TestPod_HooksByHTTPComeFromTheKubelet(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Why")
	}))
	defer other.Close()
	where := freeport.Address(t)
	c := Config{Program: probedProgram(t, "good", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second}
	c.Program.PreStop = &Hook{HTTPGet: &HTTPGet{Port: portOf(t, other.URL), Path: "/drain", Header: http.Header{"X-Why": {"stop"}}}}
	if _, err := rehearse(t, c); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "GET /drain stop" {
		t.Errorf("%q", got)
	}
}

func TestPod_WhatCannotBeIsAnErrorThatSaysWhy(t *testing.T) {
	t.Parallel()
	program := func(change func(*Container)) Config {
		c := Container{Command: []string{server, "good"}}
		change(&c)
		return Config{Program: c}
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{program(func(c *Container) { c.PreStop = new(Hook) }), "one of them, and not 0"},
		{program(func(c *Container) { c.PreStop = &Hook{Exec: []string{"true"}, Sleep: new(time.Duration)} }), "one of them, and not 2"},
		{program(func(c *Container) { c.PreStop = &Hook{Sleep: duration(-1)} }), "less than no time"},
		{program(func(c *Container) { c.PreStop = &Hook{HTTPGet: &HTTPGet{Port: 80, Host: "203.0.113.1"}} }), "not this machine's loopback"},
		{program(func(c *Container) { c.PreStop = &Hook{HTTPGet: &HTTPGet{Port: 80, Scheme: "ftp"}} }), "http or https"},
		{program(func(c *Container) { c.Readiness = new(Probe) }), "readiness probe of the program: it is a command"},
		{program(func(c *Container) { c.Liveness = &Probe{TCP: 70000} }), "70000 is no port"},
		{program(func(c *Container) { c.Liveness = &Probe{TCP: 80, SuccessThreshold: 2} }), "success threshold must be 1"},
		{program(func(c *Container) { c.Startup = &Probe{GRPC: new(GRPC)} }), "0 is no port"},
		{program(func(c *Container) { c.Readiness = &Probe{TCP: 80, Grace: duration(time.Second)} }), "no grace of its own"},
		{program(func(c *Container) { c.Liveness = &Probe{TCP: 80, Grace: new(time.Duration)} }), "a second at least"},
		{program(func(c *Container) { c.Liveness = &Probe{TCP: 80, Period: -time.Second} }), "negative"},
		{Config{Program: Container{Command: []string{server, "good"}}, Sidecars: []Container{{}}}, "sidecar 1 has no command"},
		{Config{Program: Container{Command: []string{server, "good"}}, Sidecars: []Container{{Command: []string{"/no/such/program"}}}}, "(sidecar 1)"},
		{Config{Program: Container{Command: []string{server, "good"}}, Sidecars: []Container{{Name: "proxy", Command: []string{"sleep", "60"}, Startup: &Probe{TCP: 1}}}, Ready: time.Second}, "the sidecar proxy was not ready after 1s: its startup probe says dial tcp 127.0.0.1:1: connect: connection refused"},
		{Config{Program: Container{Command: []string{server, "good"}}, Sidecars: []Container{{Name: "proxy", Command: []string{"/bin/sh", "-c", "exit 3"}, Readiness: &Probe{TCP: 1}}}}, "the sidecar proxy ended by itself after"},
		{Config{Program: Container{Command: []string{server, "good"}, Readiness: &Probe{TCP: 1}}, Ready: time.Second}, "the program was not ready after 1s: its readiness probe says dial tcp"},
	} {
		c.config.Program.Env = []string{"ADDRESS=127.0.0.1:0"}
		r, err := Do(t.Context(), c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "after -") {
			t.Errorf("%+v: %v, %v; want an error with %q", c.config.Program, r, err, c.want)
		}
	}
}

// The endpoint follows readiness, with the lag, until the pod is deleted.
func TestPod_ReadinessTakesTheEndpointAwayAndBringsItBack(t *testing.T) {
	t.Parallel()
	where := freeport.Address(t)
	c := Config{Program: probedProgram(t, "busy", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second, EndpointLag: 100 * time.Millisecond}
	c.Program.Readiness.Period = 50 * time.Millisecond
	r := rehearsed(t, c)
	lost, back := times(r, "readiness", "fails: GET /readyz 503"), times(r, "readiness", "passes")
	gone := times(r, "endpoint gone", "")
	if len(lost) != 2 || len(back) != 2 || len(gone) != 2 {
		t.Fatal(describe(r))
	}
	near(t, r, "endpoint gone", gone[:1], lost[:1], 0.1)
	near(t, r, "endpoint back", times(r, "endpoint back", ""), back[1:], 0.1)
	near(t, r, "endpoint gone for good", gone[1:], times(r, "deleted", ""), 0.1)
}

// If no deletion removes the endpoint, readiness does so, provided that the kubelet still probes
// it: after a failed probe, in a deletion of the only copy, and not in the kubelet's own evictions.
func TestPod_ReadinessDecidesWhereNothingIsDeleted(t *testing.T) {
	t.Parallel()
	for scenario, asked := range map[Scenario]bool{LivenessFailure: true, OnlyCopy: true, SoftEviction: false, NodeShutdown: false} {
		t.Run(string(scenario), func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			c := Config{Program: probedProgram(t, "good", where), Traffic: []Target{{URL: "http://" + where}}, Grace: 10 * time.Second, EndpointLag: 100 * time.Millisecond, Scenarios: []Scenario{scenario}}
			c.Program.Readiness.Period = 100 * time.Millisecond
			r := rehearsed(t, c)
			exited, gone := times(r, "exited", ""), times(r, "endpoint gone", "")
			if unready := times(r, "readiness", "fails: GET /readyz 503"); len(exited) != 1 || (len(unready) == 1) != asked {
				t.Fatal(describe(r))
			}
			if asked {
				near(t, r, "endpoint gone", gone, times(r, "stop signal", ""), 0.1)
			} else if len(gone) > 0 && gone[0] < exited[0] {
				t.Errorf("the endpoint went before the program\n%s", describe(r))
			}
		})
	}
}
