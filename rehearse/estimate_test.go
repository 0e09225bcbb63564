package rehearse

import (
	"testing"
	"time"
)

func TestEstimate_AddsUpWhatScenariosTakeAtMost(t *testing.T) {
	program := Container{Command: []string{"server"}}
	hooked := program
	hooked.PreStop = &Hook{Sleep: new(5 * time.Second)}
	busy := program
	busy.PreStop = &Hook{Exec: []string{"drain"}}
	// The start, the traffic before the stop, the time of the slow requests, and the dump of the
	// goroutines at the end.
	const around = usualStart + steady + slowLead + dumpPatience
	for _, c := range []struct {
		name   string
		config Config
		want   time.Duration
	}{
		{"the whole grace", Config{Program: program}, around + 30*time.Second},
		{"quick", Config{Program: program, CutShort: true}, around + 10400*time.Millisecond},
		{"a hook that sleeps", Config{Program: hooked, Grace: 8 * time.Second}, around + 5*time.Second + 8*time.Second},
		{"a hook of which nothing is known", Config{Program: busy, Grace: 8 * time.Second}, around + 8*time.Second + 8*time.Second},
		{"the lag is longer", Config{Program: program, Grace: 2 * time.Second, EndpointLag: 15 * time.Second}, around + 15*time.Second},
		{"a kill and a start", Config{Program: program, Scenarios: []Scenario{Crash}}, 2*usualStart + time.Second + dumpPatience},
		{"a frozen program, which is not awaited", Config{Program: program, Scenarios: []Scenario{Frozen}}, 2*usualStart + time.Second + noReaction + slowLead + dumpPatience},
		{"no sidecars", Config{Program: program, Scenarios: []Scenario{SidecarOrder}}, dumpPatience},
	} {
		if got, err := Estimate(c.config); got != c.want || err != nil {
			t.Errorf("%s: %v, want %v (%v)", c.name, got, c.want, err)
		}
	}
	if _, err := Estimate(Config{}); err == nil {
		t.Error("nothing is rehearsed in no time")
	}
}

// With the grace period of docker stop a first verdict takes less than 15 seconds, and all
// scenarios less than three minutes, whatever the program does.
func TestEstimate_OfQuickAndAll(t *testing.T) {
	program := Container{Command: []string{"server"}}
	quick, err := Estimate(Config{Program: program, CutShort: true})
	if err != nil || quick > 15*time.Second {
		t.Errorf("quick takes %v, %v", quick, err)
	}
	all, err := Estimate(Config{Program: program, Grace: 10 * time.Second, Scenarios: All()})
	if err != nil || all > 3*time.Minute {
		t.Errorf("all take %v, %v", all, err)
	}
}
